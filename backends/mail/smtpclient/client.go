// Package smtpclient speaks SMTP (RFC 5321, RFC 6409) and LMTP (RFC 2033) as a client, for
// a store that takes mail in or sends it that way, and for relaying. It knows neither stores nor the
// gateway: its replies and errors are what the protocol has, and become theirs at their edge.
//
//	client, err := smtpclient.Dial(ctx, "tcp", "store.example:24", smtpclient.Options{LMTP: true, Hello: "gate.example"})
//	defer client.Close()
//	outcomes, err := client.Send(ctx, smtpclient.Envelope{…}, content)
//
// How a connection is secured is one value, [TLS]: not at all, where the server offers it, always, or
// always with a certificate that is verified.
//
// Commands are pipelined where the server allows it (RFC 2920), content goes in chunks where
// it takes them (RFC 3030), and every wait ends with the context. What the server answers
// becomes an outcome for each recipient; a connection lost after the end of the content is
// an [UncertainError]. Recipients that a server does not take in one transaction get further
// ones (RFC 5321 §4.5.3.1.10).
package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// Options for one connection.
type Options struct {
	LMTP  bool
	Hello string // what we call ourselves
	// TLS is how the connection is secured; the zero value: not at all.
	TLS TLS
	// Auth logs in after the greeting; nil: not.
	Auth func(ctx context.Context, mechanisms []string) (sasl.Client, error)
	// Timeouts bound each wait [those of RFC 5321 §4.5.3.2].
	Timeouts Timeouts
	// Dial opens connections, for who knows more of the address than its name, or connects from an address of
	// its own; nil: as [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TempDir is where content is kept that a further transaction has to send again; empty:
	// the system's folder for temporary files.
	TempDir string
	// NotHello refuses a server that calls itself by our own name: the message would come
	// back to us (RFC 5321 §6.3). The error is a [*LoopError].
	NotHello bool
}

// Client is a connection, and those that follow it where a server ends one between two
// transactions. It is used by one goroutine at a time.
type Client struct {
	options          Options
	network, address string
	in               *bufio.Reader
	out              *bufio.Writer
	called           string            // the server's name for itself; empty: it has none
	extensions       map[string]string // EHLO keyword, upper case → parameters
	state            *tls.ConnectionState
	inClear          bool  // TLS has failed, and the policy lets us do without
	broken           error // the connection cannot be used any more
	transactions     int   // begun on this connection
	spent            bool  // no further transaction is begun on this connection
	fits             int   // recipients that fitted into a transaction; 0: not known

	mu          sync.Mutex // the context's end comes from another goroutine
	conn        net.Conn
	interrupted bool // nothing is waited for any more
	calls       int  // to during: what is left of an earlier one interrupts nothing
}

// Dial connects, up to and with the login. Failures of the login are a [*ReplyError].
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	o.Timeouts = o.Timeouts.orDefault()
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	c := &Client{options: o, network: network, address: address}
	defer c.during(ctx)()
	err := o.check()
	if err == nil {
		err = c.connect(ctx)
	}
	if err != nil {
		return nil, c.reason(ctx, err)
	}
	return c, nil
}

// connect opens a connection, up to and with the login.
func (c *Client) connect(ctx context.Context) error {
	err := c.open(ctx)
	if err != nil && c.withoutTLS(err) {
		err = c.open(ctx)
	}
	return err
}

func (c *Client) open(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.use(conn)
	c.broken, c.transactions, c.spent, c.state = nil, 0, false, nil
	if err := c.begin(ctx); err != nil {
		_ = c.conn.Close()
		_ = c.lost(err)
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return nil
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeouts.Connect)
	defer cancel()
	return c.options.Dial(ctx, c.network, c.address)
}

// reconnect follows a connection with another one.
func (c *Client) reconnect(ctx context.Context) error {
	_ = c.Close()
	return c.connect(ctx)
}

// use makes a connection the one that deadlines are set on.
func (c *Client) use(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	if c.interrupted {
		_ = conn.SetDeadline(past)
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// during makes every wait end with the context until the returned function is called.
func (c *Client) during(ctx context.Context) func() {
	c.mu.Lock()
	c.interrupted = false
	c.calls++
	call := c.calls
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls != call {
			return
		}
		c.interrupted = true
		if c.conn != nil {
			_ = c.conn.SetDeadline(past)
		}
	})
	return func() { stop() }
}

// within bounds what is read and written next.
func (c *Client) within(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		_ = c.conn.SetDeadline(time.Now().Add(timeout))
	}
}

// reason puts the context's reason before the error that it caused.
func (c *Client) reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

func (c *Client) begin(ctx context.Context) error {
	if c.options.TLS.Implicit {
		if err := c.handshake(ctx, c.options.Timeouts.Greeting); err != nil {
			return err
		}
	}
	c.buffers()
	if err := c.greeting(); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.upgrade(ctx); err != nil {
		return err
	}
	if c.options.Auth == nil {
		return nil
	}
	return c.authenticate(ctx)
}

func (c *Client) buffers() {
	c.in, c.out = bufio.NewReaderSize(c.conn, replyLine), bufio.NewWriterSize(c.conn, 64<<10)
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
	if err := c.loop(r.Lines[0]); err != nil {
		return err
	}
	c.called, _, _ = strings.Cut(r.Lines[0], " ")
	c.extensions = make(map[string]string)
	for _, line := range r.Lines[1:] {
		c.offered(line)
	}
	return nil
}

// offered notes one line of the answer to EHLO. AUTH comes in several lines, and, QUIRK, as
// "AUTH=LOGIN", which is what servers wrote before RFC 2554 and still do beside the other form.
func (c *Client) offered(line string) {
	keyword, parameters, _ := strings.Cut(strings.TrimSpace(line), " ")
	keyword = strings.ToUpper(keyword)
	if mechanism, old := strings.CutPrefix(keyword, "AUTH="); old {
		keyword, parameters = "AUTH", mechanism+" "+parameters
	}
	if before, ok := c.extensions[keyword]; ok {
		parameters = before + " " + parameters
	}
	c.extensions[keyword] = parameters
}

func (c *Client) greeting() error {
	r, err := c.expectWithin(220, c.options.Timeouts.Greeting)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	return c.loop(r.Lines[0])
}

// loop refuses a server that is ourselves: its greeting, and its answer to EHLO, begin with its
// name (RFC 5321 §4.2, §4.1.1.1).
func (c *Client) loop(line string) error {
	name, _, _ := strings.Cut(line, " ")
	if c.options.NotHello && strings.EqualFold(strings.TrimSuffix(name, "."), c.options.Hello) {
		return &LoopError{Name: name}
	}
	return nil
}

// Server is the name of the server as RFC 3464 §2.3.5 wants it: the host that was connected to or, where
// that was named by its address, what the server calls itself (RFC 5321 §4.1.1.1).
func (c *Client) Server() string {
	host, _, err := net.SplitHostPort(c.address)
	if err == nil && net.ParseIP(host) == nil {
		return host
	}
	if name, err := address.Domain(c.called); err == nil {
		return name
	}
	if err == nil {
		return "[" + host + "]"
	}
	return "localhost" // a unix socket's
}

// Extension says whether the server offers an extension, and with which parameters.
func (c *Client) Extension(keyword string) (parameters string, ok bool) {
	parameters, ok = c.extensions[keyword]
	return parameters, ok
}

// goodbye is how long the answer to QUIT may take.
const goodbye = 2 * time.Second

// Close says QUIT, without waiting long for the answer, and ends the connection.
func (c *Client) Close() error {
	if c.broken == nil {
		if c.send("QUIT") == nil && c.flushWithin(goodbye) == nil {
			_, _ = c.expectWithin(221, goodbye)
		}
	}
	return c.conn.Close()
}

// Alive says whether the connection can be used for another message.
func (c *Client) Alive() bool { return c.broken == nil }

// command sends one command and takes its reply; want 0 takes any.
func (c *Client) command(want int, format string, args ...any) (Reply, error) {
	return c.commandWithin(c.options.Timeouts.Command, want, format, args...)
}

func (c *Client) commandWithin(timeout time.Duration, want int, format string, args ...any) (Reply, error) {
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
	r, err := c.expectWithin(want, timeout)
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

func (c *Client) flush() error { return c.flushWithin(c.options.Timeouts.Command) }

func (c *Client) flushWithin(timeout time.Duration) error {
	c.within(timeout)
	return c.lost(c.out.Flush())
}

func (c *Client) lost(err error) error {
	if err != nil && c.broken == nil {
		c.broken = err
	}
	return err
}

// expectWithin takes one reply off the connection.
func (c *Client) expectWithin(want int, timeout time.Duration) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	c.within(timeout)
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
