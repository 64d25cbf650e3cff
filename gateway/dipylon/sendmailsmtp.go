package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/backends/pickup"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// speak speaks SMTP on the standard input and output: each message goes into the outbox.
func (s *sendmail) speak(ctx context.Context, box maildir.Outbox, in io.Reader, out io.Writer) error {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	commands, fromUser := net.Pipe()
	replies, toUser := net.Pipe()
	var talking sync.WaitGroup
	talking.Go(func() { _, _ = io.Copy(out, toUser) }) // its end is the session's
	go func() {                                        // who reads the standard input cannot be called off: the process ends
		_, _ = io.Copy(fromUser, smtpLines(in))
		_ = fromUser.Close()
	}()
	server := &smtp.Server{
		Hostname: name, Backend: outboxBackend{box}, AllowEarlyTalkers: true, BareNewlines: smtp.NormaliseBareNewlines, HideClient: true,
		Quirks: smtp.DefaultQuirks, Log: zerolog.Nop(),
	}
	err = server.Serve(ctx, &oneConn{conn: stdio{replies, commands}})
	talking.Wait()
	return err
}

// smtpLines has lines end with CRLF. A program of the machine may end its own with LF, and so the first one tells.
func smtpLines(in io.Reader) io.Reader {
	all := bufio.NewReader(in)
	line, _ := all.ReadSlice('\n') // what has failed fails again
	begun := io.MultiReader(strings.NewReader(string(line)), all)
	if bytes.HasSuffix(line, []byte("\r\n")) {
		return begun
	}
	return crlf.NewReader(begun)
}

// stdio is a connection whose other side may have said all, and still wants to hear.
type stdio struct {
	net.Conn // of the replies
	commands net.Conn
}

// Read implements [net.Conn].
func (s stdio) Read(p []byte) (int, error) { return s.commands.Read(p) }

// SetReadDeadline implements [net.Conn]. There is none any more where all has been said.
func (s stdio) SetReadDeadline(t time.Time) error {
	_ = s.commands.SetReadDeadline(t)
	return nil
}

// SetDeadline implements [net.Conn].
func (s stdio) SetDeadline(t time.Time) error {
	return errors.Join(s.SetWriteDeadline(t), s.SetReadDeadline(t))
}

// Close implements [net.Conn].
func (s stdio) Close() error { return errors.Join(s.Conn.Close(), s.commands.Close()) }

// oneConn is a listener with one connection. It ends with that.
type oneConn struct {
	conn net.Conn
	once sync.Once
}

// Accept implements [net.Listener].
func (o *oneConn) Accept() (conn net.Conn, err error) {
	err = net.ErrClosed
	o.once.Do(func() { conn, err = o.conn, nil })
	return conn, err
}

// Close implements [net.Listener].
func (o *oneConn) Close() error { return nil }

// Addr implements [net.Listener].
func (o *oneConn) Addr() net.Addr { return o.conn.LocalAddr() }

// outboxBackend takes mail for an outbox.
type outboxBackend struct{ box maildir.Outbox }

// NewSession implements [smtp.Backend].
func (b outboxBackend) NewSession(context.Context, smtp.Conn) (smtp.Session, error) {
	return &outboxSession{box: b.box}, nil
}

type outboxSession struct {
	box maildir.Outbox
	e   pickup.Envelope
}

// Notifies implements [smtp.Notifies]: the gateway reports.
func (s *outboxSession) Notifies() bool { return true }

// Mechanisms implements [smtp.Session].
func (s *outboxSession) Mechanisms() []string { return nil }

// Authenticate implements [smtp.Session].
func (s *outboxSession) Authenticate(context.Context, string) (sasl.Exchange[sasl.Accepted], error) {
	return nil, &smtp.Error{Code: 502, Enhanced: "5.5.1", Text: "command not implemented: the user of the process is known"}
}

// Mail implements [smtp.Session].
func (s *outboxSession) Mail(_ context.Context, reversePath address.Path, o smtp.MailOptions) error {
	from := reversePath.String()
	s.e = pickup.Envelope{Sender: &from, Return: backends.Return(o.Return), ID: o.EnvelopeID}
	return nil
}

// Rcpt implements [smtp.Session].
func (s *outboxSession) Rcpt(_ context.Context, to address.Path, o smtp.RcptOptions) error {
	text := to.String()
	if to.IsPostmaster() {
		text += "@" + s.box.Domain
	}
	s.e.Recipients = append(s.e.Recipients, backends.Recipient{Address: text, Notify: backends.Notify(o.Notify), OriginalRecipient: o.OriginalRecipient})
	return nil
}

// Data implements [smtp.Session].
func (s *outboxSession) Data(_ context.Context, _ string, body io.Reader) (string, error) {
	b, err := buffer.Fill(buffer.Options{}, body)
	if err != nil {
		return "", err
	}
	defer b.Discard() //nolint:errcheck // a temporary file goes with the process
	if err := s.box.Drop(s.e, b.Reader()); err != nil {
		reply := &smtp.Error{Code: 451, Enhanced: "4.3.0", Text: "the message cannot be written into the outbox now", Err: err}
		if errors.Is(err, fs.ErrPermission) {
			reply.Code, reply.Enhanced, reply.Text = 550, "5.7.1", "the outbox may not be written to"
		}
		return "", reply
	}
	return "Ok: the gateway sends it", nil
}

// Reset implements [smtp.Session].
func (s *outboxSession) Reset() { s.e = pickup.Envelope{} }

// Close implements [smtp.Session].
func (s *outboxSession) Close() {}
