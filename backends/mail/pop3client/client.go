// Package pop3client is POP3 as a client (RFC 1939), strict where a mistake would cost mail:
//
//	c, err := pop3client.Dial(ctx, "pop.provider.example:995", pop3client.Options{Security: pop3client.Implicit, TLS: config})
//	err = c.Login(ctx, pop3client.Login{User: "office", Password: "secret"})
//	list, err := c.List(ctx, 100_000)
//	octets, err := c.Retrieve(ctx, list[0].Number, 50<<20, buffer) // an error: what was written is not the message
//	err = c.Delete(ctx, list[0].Number)
//	err = c.Quit(ctx) // nil: what was deleted is gone; otherwise nobody knows
//	c.Close()
//
// A message is whole, or Retrieve fails: only CRLF.CRLF ends it. A server may take Options.Timeout for each read, and
// over it all has to keep up a slowest speed, so that one that drips is given up ([ErrStalled]). Whatever it sends is
// bounded. After an error that is no [*ReplyError] the connection is of no more use.
//
// A client belongs to one goroutine. The context of a call ends its waiting, and with it the connection.
package pop3client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Security is how a connection is secured.
type Security uint8

// The ways to secure a connection. Nothing is sent in clear where TLS is asked for.
const (
	Implicit Security = iota // TLS from the first octet, port 995 (RFC 8314 §3.3)
	STLS                     // TLS by the command, port 110 (RFC 2595 §4)
	Clear                    // none: the password and all mail can be read on the way
)

// Options are how a server is reached.
type Options struct {
	Security Security
	// TLS says which certificates are taken, and for which name.
	TLS *tls.Config
	// Timeout is how long the server may be silent: a minute where it is zero. RFC 1939 §3 has servers wait for ten.
	Timeout time.Duration
	// Slowest is how many octets a second a server has to send once Timeout has passed; 256 where it is zero.
	Slowest int
}

// Bounds of what a server may send.
const (
	lineMost       = 8 << 10  // octets of a reply's line: RFC 2449 §4 has 512, and servers have more in AUTH
	capabilityMost = 1000     // lines of CAPA
	listLineMost   = 1 << 10  // octets of a line of LIST and UIDL
	contentBuffer  = 32 << 10 // octets that are read at once
)

// ErrStalled says that the server sends, and so slowly that it would never end.
var ErrStalled = errors.New("the server sends too slowly")

// ErrTooLarge says that a message has more octets than were allowed. The connection is of no more use: the rest of
// the message is on it.
var ErrTooLarge = errors.New("the message is larger than is allowed")

// ErrNoTLS says that TLS is asked for, and the server does not offer it.
var ErrNoTLS = errors.New("the server does not offer STLS: nothing is sent in clear")

// ReplyError is a -ERR.
type ReplyError struct {
	Command string
	// Code is the response code in upper case (RFC 2449 §8), such as AUTH, IN-USE or SYS/TEMP; empty: none.
	Code string
	// Text is the server's, without the code: one line of printable text.
	Text string
}

// Error implements error.
func (e *ReplyError) Error() string {
	if e.Code != "" {
		return fmt.Sprintf("the server answers %s with -ERR [%s] %s", e.Command, e.Code, e.Text)
	}
	return fmt.Sprintf("the server answers %s with -ERR %s", e.Command, e.Text)
}

// ProtocolError is something that is no POP3.
type ProtocolError struct{ Text string }

// Error implements error.
func (e *ProtocolError) Error() string { return "the server does not speak POP3: " + e.Text }

// Client is a connection to a server.
type Client struct {
	options Options
	address string
	raw     net.Conn // below TLS
	conn    net.Conn
	in      *bufio.Reader
	loose   bool // the server ends lines with LF alone
	capa    map[string][]string
	asked   bool // for capa
	broken  error
	meter   meter
}

// Dial connects, reads the greeting, and has the connection secured.
func Dial(ctx context.Context, address string, o Options) (*Client, error) {
	o = o.withDefaults()
	dialing, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(dialing, "tcp", address)
	if err != nil {
		return nil, err
	}
	return over(ctx, conn, address, o)
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Slowest <= 0 {
		o.Slowest = 256
	}
	return o
}

// over makes a client of a connection.
func over(ctx context.Context, conn net.Conn, address string, o Options) (*Client, error) {
	c := &Client{options: o, address: address, raw: conn, conn: conn}
	if err := c.greet(ctx); err != nil {
		_ = c.Close() // nothing was said on it
		return nil, err
	}
	return c, nil
}

// greet reads the greeting, and secures the connection before or behind it.
func (c *Client) greet(ctx context.Context) error {
	if c.options.Security == Implicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	c.buffer()
	defer c.during(ctx)()
	line, err := c.firstLine()
	if err != nil {
		return c.breaks(err)
	}
	if _, err := answer("the connection", line); err != nil {
		return c.breaks(err) // RFC 1939 §3: the server has closed it
	}
	if c.options.Security == STLS {
		return c.startTLS(ctx)
	}
	return nil
}

// startTLS secures the connection, and forgets all that was said before (RFC 2595 §4).
func (c *Client) startTLS(ctx context.Context) error {
	_, err := c.command("STLS")
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w (%w)", ErrNoTLS, err)
	}
	if err != nil {
		return err
	}
	if c.in.Buffered() > 0 {
		return c.breaks(&ProtocolError{"something was sent before TLS"})
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.buffer()
	c.asked, c.capa = false, nil
	return nil
}

func (c *Client) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	secured := tls.Client(c.conn, c.options.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		return c.breaks(err)
	}
	c.conn = secured
	return nil
}

func (c *Client) buffer() { c.in = bufio.NewReaderSize(&c.meter, contentBuffer); c.meter.conn = c.conn }

// during has the connection end with the context of a call. What it returns is called when the call is over.
func (c *Client) during(ctx context.Context) (over func()) {
	c.meter.begin(c.options)
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	c.meter.ctx = ctx
	return func() { stop() }
}

// breaks notes that the connection is of no more use.
func (c *Client) breaks(err error) error {
	if ctx := c.meter.ctx; ctx != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the server has ended the connection before its answer was complete: %w", err)
	}
	if c.broken == nil {
		c.broken = err
	}
	return err
}

// Capabilities asks what the server can do (RFC 2449 §5): by names in upper case, with their parameters. One that knows no
// CAPA can nothing of it.
func (c *Client) Capabilities(ctx context.Context) (map[string][]string, error) {
	defer c.during(ctx)()
	return c.capabilities()
}

func (c *Client) capabilities() (map[string][]string, error) {
	if c.asked {
		return c.capa, nil
	}
	found := make(map[string][]string)
	err := c.lines(capabilityMost, func(line string) error {
		if words := strings.Fields(strings.ToUpper(line)); len(words) > 0 {
			found[words[0]] = append(found[words[0]], words[1:]...)
		}
		return nil
	}, "CAPA")
	if refused := (*ReplyError)(nil); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	c.capa, c.asked = found, true
	return found, nil
}

// Quit ends the session. Only if it returns nil the server has deleted what was marked (RFC 1939 §6).
func (c *Client) Quit(ctx context.Context) error {
	defer c.during(ctx)()
	_, err := c.command("QUIT")
	c.broken = errors.New("the session is over")
	return errors.Join(err, c.conn.Close())
}

// Close ends the connection. Nothing is deleted that Quit has not had deleted.
func (c *Client) Close() error {
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// command sends a command, and reads its reply.
func (c *Client) command(format string, args ...any) (text string, err error) {
	return c.secret(strings.Fields(format)[0], fmt.Sprintf(format, args...))
}

// secret is command with a line that stands in no error.
func (c *Client) secret(name, line string) (text string, err error) {
	if c.broken != nil {
		return "", c.broken
	}
	if strings.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("%s: a line end or a null character in it cannot be sent", name)
	}
	if err := c.meter.write([]byte(line + "\r\n")); err != nil {
		return "", c.breaks(err)
	}
	reply, err := c.line(lineMost)
	if err != nil {
		return "", c.breaks(err)
	}
	text, err = answer(name, reply)
	if wrong := (*ProtocolError)(nil); errors.As(err, &wrong) {
		return "", c.breaks(err)
	}
	return text, err
}
