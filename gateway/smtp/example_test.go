package smtp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// printer takes every mail for one mailbox, and prints it.
type printer struct{ mailbox string }

func (p printer) NewSession(context.Context, smtp.Conn) (smtp.Session, error) {
	return printerSession{p}, nil
}

type printerSession struct{ printer }

func (printerSession) Mechanisms() []string { return nil }

func (printerSession) Authenticate(context.Context, string) (sasl.Exchange[sasl.Accepted], error) {
	return nil, &smtp.Error{Code: 504, Enhanced: "5.5.4", Text: "no such mechanism"}
}

func (printerSession) Mail(_ context.Context, reversePath address.Path, _ smtp.MailOptions) error {
	fmt.Println("from", reversePath)
	return nil
}

func (s printerSession) Rcpt(_ context.Context, recipient address.Path, _ smtp.RcptOptions) error {
	if recipient.String() != s.mailbox {
		return &smtp.Error{Code: 550, Enhanced: "5.1.1", Text: "there is no such mailbox"}
	}
	fmt.Println("to", recipient)
	return nil
}

func (printerSession) Data(_ context.Context, _ string, body io.Reader) (string, error) {
	// Nothing is kept before the reader has given io.EOF.
	message, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	fmt.Println(len(message) > 0)
	return "Ok", nil
}

func (printerSession) Reset() {}
func (printerSession) Close() {}

func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &smtp.Server{Backend: printer{"c@mx.example"}, Hostname: "mx.example"}
	served := make(chan error)
	go func() { served <- server.Serve(context.Background(), listener) }()

	err = netsmtp.SendMail(listener.Addr().String(), nil, "a@b.example", []string{"c@mx.example"}, []byte("Subject: x\r\n\r\nhello\r\n"))
	fmt.Println("sent:", err)
	err = netsmtp.SendMail(listener.Addr().String(), nil, "a@b.example", []string{"d@mx.example"}, []byte("hello\r\n"))
	fmt.Println("refused:", err != nil)

	fmt.Println(server.Shutdown(context.Background()), <-served)
	// Output:
	// from a@b.example
	// to c@mx.example
	// true
	// sent: <nil>
	// from a@b.example
	// refused: true
	// <nil> <nil>
}
