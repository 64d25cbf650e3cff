// Package smtpclient speaks SMTP (RFC 5321, RFC 6409) and LMTP (RFC 2033) as a client, for
// backends whose store takes mail in or sends it that way.
//
//	client, err := smtpclient.Dial(ctx, "tcp", "store.example:24", smtpclient.Options{LMTP: true, Hello: "gate.example"})
//	defer client.Close()
//	verdicts, err := client.Send(ctx, smtpclient.Envelope{…}, content)
//
// Commands are pipelined where the server allows it (RFC 2920), content goes in chunks where
// it takes them (RFC 3030), and every wait ends with the context. What the server answers
// becomes a verdict for each recipient; a connection lost after the end of the content is
// [backends.Uncertain].
package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
)

// TLS says how a connection is secured.
type TLS uint8

// The ways. StartTLS is required, not tried: a server that does not offer it is refused.
const (
	NoTLS TLS = iota
	StartTLS
	ImplicitTLS
)

// Options for one connection.
type Options struct {
	LMTP  bool
	Hello string // what we call ourselves
	TLS   TLS
	// Config is used when TLS is not NoTLS.
	Config *tls.Config
	// Auth logs in after the greeting; nil: not.
	Auth func(mechanisms []string) (sasl.Client, error)
	// Timeout bounds each wait for a reply (RFC 5321 §4.5.3.2); the reply to the end of the
	// content may take four times as long. 0: five minutes.
	Timeout time.Duration
}

// Client is one connection. It is used by one goroutine at a time.
type Client struct {
	options    Options
	conn       net.Conn
	in         *bufio.Reader
	out        *bufio.Writer
	extensions map[string]string // EHLO keyword, upper case → parameters
	broken     error             // the connection cannot be used any more
}

// limits on what a server may say.
const (
	replyLine  = 4 << 10
	replyLines = 200
)

// Dial connects, up to and with the login. Failures of the login are a [*ReplyError].
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	dialing, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(dialing, network, address)
	if err != nil {
		return nil, err
	}
	c := &Client{options: o, conn: conn}
	defer c.during(ctx)()
	if err := c.begin(dialing); err != nil {
		_ = c.conn.Close()
		return nil, fmt.Errorf("%s: %w", address, c.reason(ctx, err))
	}
	return c, nil
}

// during makes the connection end with the context until the returned function is called.
func (c *Client) during(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
}

// reason puts the context's reason before the error that it caused.
func (c *Client) reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

func (c *Client) begin(ctx context.Context) error {
	if c.options.TLS == ImplicitTLS {
		if err := c.secure(ctx); err != nil {
			return err
		}
	}
	c.buffers()
	if _, err := c.expect(220); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.hello(); err != nil {
		return err
	}
	if c.options.TLS == StartTLS {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	if c.options.Auth == nil {
		return nil
	}
	return c.authenticate()
}

func (c *Client) secure(ctx context.Context) error {
	secured := tls.Client(c.conn, c.options.Config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	c.conn = secured
	return nil
}

func (c *Client) buffers() {
	c.in, c.out = bufio.NewReaderSize(c.conn, replyLine), bufio.NewWriterSize(c.conn, 64<<10)
}

// startTLS secures the connection and forgets all that was said before (RFC 3207 §4.2).
func (c *Client) startTLS(ctx context.Context) error {
	if _, ok := c.extensions["STARTTLS"]; !ok {
		return errors.New("the server does not offer STARTTLS")
	}
	if _, err := c.command(220, "STARTTLS"); err != nil {
		return err
	}
	if c.in.Buffered() > 0 {
		return errors.New("the server sent something before TLS")
	}
	if err := c.secure(ctx); err != nil {
		return err
	}
	c.buffers()
	return c.hello()
}

func (c *Client) hello() error {
	verb := "EHLO"
	if c.options.LMTP {
		verb = "LHLO"
	}
	r, err := c.command(250, "%s %s", verb, c.options.Hello)
	var refused *ReplyError
	if errors.As(err, &refused) && refused.Code/100 == 5 && !c.options.LMTP {
		r, err = c.command(250, "HELO %s", c.options.Hello)
	}
	if err != nil {
		return err
	}
	c.extensions = make(map[string]string)
	for _, line := range r.Lines[1:] {
		keyword, parameters, _ := strings.Cut(line, " ")
		c.extensions[strings.ToUpper(keyword)] = parameters
	}
	return nil
}

// Extension says whether the server offers an extension, and with which parameters.
func (c *Client) Extension(keyword string) (parameters string, ok bool) {
	parameters, ok = c.extensions[keyword]
	return parameters, ok
}

// authenticate conducts a SASL exchange (RFC 4954 §4).
func (c *Client) authenticate() error {
	mechanism, err := c.options.Auth(strings.Fields(strings.ToUpper(c.extensions["AUTH"])))
	if err != nil {
		return err
	}
	name, initial, err := mechanism.Start()
	if err != nil {
		return err
	}
	line := "AUTH " + name
	if initial != nil {
		line += " " + encode(initial)
	}
	for {
		r, err := c.command(0, "%s", line)
		switch {
		case err != nil:
			return err
		case r.Code == 235:
			return nil
		case r.Code != 334:
			return &ReplyError{Reply: r, Command: "AUTH"}
		}
		challenge, err := base64.StdEncoding.DecodeString(r.Lines[0])
		if err != nil {
			return fmt.Errorf("AUTH: the challenge is not base64: %w", err)
		}
		response, err := mechanism.Next(challenge)
		if err != nil {
			line = "*"
			continue
		}
		line = encode(response)
		if line == "=" {
			line = "" // an empty response is an empty line but for the initial one
		}
	}
}

func encode(response []byte) string {
	if len(response) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(response)
}

// Close says QUIT, without waiting long for the answer, and ends the connection.
func (c *Client) Close() error {
	if c.broken == nil {
		_ = c.conn.SetDeadline(time.Now().Add(2 * time.Second))
		_, _ = c.command(221, "QUIT")
	}
	return c.conn.Close()
}

// Alive says whether the connection can be used for another message.
func (c *Client) Alive() bool { return c.broken == nil }

// Reply is what a server answered.
type Reply struct {
	Code  int
	Lines []string // without code and separator
}

// ReplyError is a reply that was not the one that was hoped for.
type ReplyError struct {
	Reply
	Command string
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("%s: %d %s", e.Command, e.Code, strings.Join(e.Lines, " / "))
}

// command sends one command and takes its reply; want 0 takes any.
func (c *Client) command(want int, format string, args ...any) (Reply, error) {
	verb, _, _ := strings.Cut(format, " ")
	if verb == "%s" {
		verb = "AUTH" // its lines hold secrets
	}
	if err := c.send(format, args...); err != nil {
		return Reply{}, err
	}
	if err := c.flush(); err != nil {
		return Reply{}, err
	}
	r, err := c.expect(want)
	var refused *ReplyError
	if errors.As(err, &refused) {
		refused.Command = verb
	}
	return r, err
}

func (c *Client) send(format string, args ...any) error {
	if c.broken != nil {
		return c.broken
	}
	line := fmt.Sprintf(format, args...)
	if strings.ContainsAny(line, "\r\n\x00") {
		return fmt.Errorf("a command would hold a line end")
	}
	_, err := c.out.WriteString(line + "\r\n")
	return c.lost(err)
}

func (c *Client) flush() error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.options.Timeout))
	return c.lost(c.out.Flush())
}

func (c *Client) lost(err error) error {
	if err != nil && c.broken == nil {
		c.broken = err
	}
	return err
}

// expect takes one reply off the connection.
func (c *Client) expect(want int) (Reply, error) {
	return c.expectWithin(want, c.options.Timeout)
}

func (c *Client) expectWithin(want int, timeout time.Duration) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(timeout))
	r, err := readReply(c.in)
	if err != nil {
		return r, c.lost(err)
	}
	if r.Code == 421 { // the server goes (RFC 5321 §3.8)
		c.broken = &ReplyError{Reply: r, Command: "the server closes"}
	}
	if want != 0 && r.Code != want {
		return r, &ReplyError{Reply: r, Command: "reply"}
	}
	return r, nil
}

// readReply reads a reply of one or several lines (RFC 5321 §4.2.1).
func readReply(in *bufio.Reader) (Reply, error) {
	var r Reply
	for len(r.Lines) < replyLines {
		raw, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return r, errors.New("the server's reply line is too long")
		}
		if err != nil {
			return r, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return r, fmt.Errorf("this is not a reply: %q", line[:min(len(line), 40)])
		}
		code, err := strconv.Atoi(line[:3])
		if err != nil || code < 200 || code > 599 || len(r.Lines) > 0 && code != r.Code {
			return r, fmt.Errorf("this is not a reply: %q", line[:min(len(line), 40)])
		}
		r.Code = code
		r.Lines = append(r.Lines, line[min(4, len(line)):])
		if len(line) == 3 || line[3] == ' ' {
			return r, nil
		}
	}
	return r, errors.New("the server's reply has too many lines")
}

// Plain is an Auth that logs in with PLAIN, or with LOGIN where the server has only that.
func Plain(actAs, user, password string) func([]string) (sasl.Client, error) {
	return func(mechanisms []string) (sasl.Client, error) {
		switch {
		case slices.Contains(mechanisms, sasl.Plain):
			return sasl.NewPlainClient(actAs, user, password), nil
		case slices.Contains(mechanisms, sasl.Login) && (actAs == "" || actAs == user):
			return sasl.NewLoginClient(user, password), nil
		}
		return nil, fmt.Errorf("the server offers AUTH %v: neither PLAIN nor LOGIN fits", mechanisms)
	}
}
