package ews

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

var (
	errSilent = errors.New("the server has sent nothing, or taken nothing, for too long")
	errSlow   = errors.New("the server has not finished for too long")
)

// exchange is a request and its reply, as octets. Whatever does not move for too long ends it.
type exchange struct {
	ctx    context.Context //nolint:containedctx // the request's, which covers the reply
	cancel context.CancelCauseFunc
	timer  *time.Timer
	after  time.Duration
	all    *time.Timer // for all of it; nil: it may take as long as messages do
	body   io.ReadCloser

	mu         sync.Mutex
	connection net.Conn // that it goes by; nil: it was not sent
}

func newExchange(ctx context.Context, after time.Duration) *exchange {
	e := &exchange{after: after}
	ctx, e.cancel = context.WithCancelCause(ctx)
	e.timer = time.AfterFunc(after, func() { e.cancel(errSilent) })
	e.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.connection = info.Conn
	}})
	return e
}

// within bounds how long all of it may take.
func (e *exchange) within(most time.Duration) {
	e.all = time.AfterFunc(most, func() { e.cancel(errSlow) })
}

// moves says that something has moved.
func (e *exchange) moves() { e.timer.Reset(e.after) }

// Read reads the reply. The time that a reader takes is not the server's.
func (e *exchange) Read(p []byte) (int, error) {
	e.moves()
	n, err := e.body.Read(p)
	e.timer.Stop()
	return n, err
}

// sent says whether something of the request may have gone out.
func (e *exchange) sent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.connection != nil
}

// hangUp ends the connection: nothing else is asked by it.
func (e *exchange) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.connection != nil {
		_ = e.connection.Close()
	}
}

// end is called when nothing more is read.
func (e *exchange) end() {
	e.timer.Stop()
	if e.all != nil {
		e.all.Stop()
	}
	if e.body != nil {
		_ = e.body.Close()
	}
	e.cancel(nil)
}

// upload is octets that are sent as base64.
type upload struct {
	open func() io.Reader // gives them from the start, each time
	size int64
}

// post sends a request.
func (e *exchange) post(c *Client, o operation) (*http.Response, error) {
	head, tail := c.envelope()
	head, tail = head+o.body, o.tail+tail
	size := int64(len(head) + len(tail))
	body := func() io.Reader { return strings.NewReader(head + tail) }
	if o.content != nil {
		size += (o.content.size + 2) / 3 * 4
		body = func() io.Reader {
			return io.MultiReader(strings.NewReader(head), &encoder{src: o.content.open(), left: o.content.size}, strings.NewReader(tail))
		}
	}
	closer := func() (io.ReadCloser, error) { return io.NopCloser(&moving{body(), e}), nil }
	request, err := http.NewRequestWithContext(e.ctx, http.MethodPost, c.config.URL, nil)
	if err != nil {
		return nil, err
	}
	request.Body, _ = closer()
	request.GetBody, request.ContentLength = closer, size
	for field, value := range map[string]string{
		"Content-Type": "text/xml; charset=utf-8", "Accept": "text/xml", "User-Agent": c.config.Agent, "X-AnchorMailbox": c.config.Anchor,
	} {
		if value != "" {
			request.Header.Set(field, value)
		}
	}
	if !o.once {
		// The server may close a connection just as it is used again: net/http repeats what has this field, and does not send it.
		request.Header["Idempotency-Key"] = nil
	}
	return c.config.Transport.RoundTrip(request)
}

// moving is a request that the server takes.
type moving struct {
	io.Reader
	e *exchange
}

func (m *moving) Read(p []byte) (int, error) {
	m.e.moves()
	return m.Reader.Read(p)
}

// encoder gives base64 of octets without line ends (RFC 4648 §4).
type encoder struct {
	src   io.Reader
	left  int64 // octets that there must be
	plain [3 << 10]byte
	coded [4 << 10]byte
	ready []byte
	err   error
}

var errLength = errors.New("the message has not as many octets as was said")

// Read implements [io.Reader].
func (e *encoder) Read(p []byte) (int, error) {
	if len(e.ready) == 0 && e.err == nil {
		e.fill()
	}
	n := copy(p, e.ready)
	if e.ready = e.ready[n:]; n > 0 {
		return n, nil
	}
	return 0, e.err
}

func (e *encoder) fill() {
	n, err := io.ReadFull(e.src, e.plain[:min(int64(len(e.plain)), e.left)])
	e.left -= int64(n)
	switch {
	case err != nil && e.left+int64(n) > 0:
		e.err = errors.Join(errLength, err)
		return
	case e.left == 0:
		e.err = io.EOF
	}
	base64.StdEncoding.Encode(e.coded[:], e.plain[:n])
	e.ready = e.coded[:base64.StdEncoding.EncodedLen(n)]
}

// noAnswer is the failure of a request whose reply did not come to its end.
func (c *Client) noAnswer(e *exchange, o operation, err error) error {
	e.hangUp()
	if f := (*backends.Failure)(nil); errors.As(err, &f) {
		return f
	}
	if cause := context.Cause(e.ctx); cause != nil {
		err = cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL
	}
	if !e.sent() {
		return remote.ConnectFailure(c.host(), `"url"`, err)
	}
	return backends.Fail(o.unknown(), "%s at %s: %w", o.name, c.host(), err).WithCode("4.4.2")
}

func (c *Client) host() string {
	u, err := url.Parse(c.config.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// refused is the failure of a response that is none of this protocol.
func (c *Client) refused(e *exchange, o operation, response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(e, textMost))
	e.hangUp() // a connection that has answered so is not used again
	said := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "\ufffd")), " ")
	fail := func(kind backends.Kind, advice string) error {
		return backends.Fail(kind, "%s at %s: %s %s %.300q", o.name, c.host(), response.Status, advice, said).
			After(remote.RetryAfter(response.Header.Get("Retry-After")))
	}
	c.mu.Lock()
	replied := c.replied
	c.mu.Unlock()
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return unauthorized(fail, response.Header.Values("WWW-Authenticate"))
	case http.StatusForbidden:
		return fail(backends.Permanent, "(may the account use EWS?)")
	case http.StatusNotFound, http.StatusRequestEntityTooLarge:
		// IIS says 404 (404.13) of a request that has more octets than maxAllowedContentLength.
		if o.content != nil && (replied || response.StatusCode != http.StatusNotFound) {
			return fail(backends.TooLarge, "(the message has more octets than the server takes by EWS)")
		}
		return fail(backends.Unsupported, `(is EWS there, and "url" right?)`)
	case http.StatusMethodNotAllowed:
		return fail(backends.Unsupported, `(is EWS there, and "url" right?)`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return fail(backends.Throttled, "")
	}
	switch response.StatusCode / 100 {
	case 3:
		return fail(backends.Temporary, `(is "url" right? The server leads elsewhere, where nobody follows with a password)`)
	case 5:
		return fail(o.unknown(), "")
	}
	return fail(backends.Temporary, "")
}

// unauthorized is the failure of a request that was refused for who asks. A server that does not offer what the login was made with, and one that
// offers nothing, has not looked at it.
func unauthorized(fail func(backends.Kind, string) error, challenges []string) error {
	if len(challenges) == 0 {
		return fail(backends.Temporary, "(the server refuses the login and names no way to log in)")
	}
	return fail(backends.BadCredentials, "")
}
