package pop3_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// mailbox is the smallest backend there is: one user, one message, both in memory.
type mailbox struct{ text string }

func (m mailbox) NewSession(context.Context, pop3.Conn) (pop3.Session, error) { return m, nil }

func (m mailbox) Password(_ context.Context, user string, password []byte) (*pop3.Login, error) {
	if user != "lysis" || string(password) != "open sesame" {
		return nil, &pop3.Error{Code: "AUTH", Text: "invalid user name or password"}
	}
	return &pop3.Login{Maildrop: drop(m)}, nil
}

func (m mailbox) Mechanisms() []string { return nil }
func (m mailbox) Close()               {}

func (m mailbox) Authenticate(context.Context, string) (sasl.Exchange[pop3.Login], error) {
	return nil, &pop3.Error{Text: "not here"}
}

type drop struct{ text string }

func (d drop) Len() int                                 { return 1 }
func (d drop) Size(context.Context, int) (int64, error) { return int64(len(d.text)), nil }
func (d drop) UIDL(int) string                          { return "only-one" }
func (d drop) Update(context.Context, []int) error      { return nil }
func (d drop) Close() error                             { return nil }

func (d drop) Open(context.Context, int, int) (pop3.Content, error) {
	return message{strings.NewReader(d.text)}, nil
}

// message knows its size: that of a [strings.Reader] which has not been read yet.
type message struct{ *strings.Reader }

func (message) Close() error { return nil }

func Example() {
	server := &pop3.Server{
		Backend:      mailbox{"Subject: hello\r\n\r\n.hidden dot\r\n"},
		InsecureAuth: true, // an example needs no certificate
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(context.Background(), l) }()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "USER lysis\r\nPASS open sesame\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fmt.Println(lines.Text())
	}

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := <-served; err != nil {
		log.Fatal(err)
	}
	// Output:
	// +OK POP3 server ready
	// +OK send PASS
	// +OK maildrop has 1 messages
	// +OK 31 octets
	// Subject: hello
	//
	// ..hidden dot
	// .
	// +OK message 1 deleted
	// +OK POP3 server signing off
}
