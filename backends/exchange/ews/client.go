package ews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// Client asks one server, for one user. Its methods may be called from several goroutines at once: each request is a reply's
// own, and connections are Config.Transport's.
type Client struct {
	config Config

	mu      sync.Mutex
	version Version // that requests name
	told    bool    // the server has said which it has
	replied bool    // it has answered a request with a reply of this protocol
}

// New makes a client. The server is not asked.
func New(c Config) (*Client, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	client := &Client{config: c, version: c.Version, told: c.Version != ""}
	if !client.told {
		client.version = Exchange2007SP1
	}
	return client, nil
}

// Has says whether requests name a version of the schema that is as new as this one. It is not known before the first reply.
func (c *Client) Has(v Version) bool {
	return rank(c.current()) >= rank(v)
}

func (c *Client) current() Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

func rank(v Version) int {
	for i, one := range versions {
		if one == v {
			return i
		}
	}
	return 0
}

// learn takes note of what the server says that it is.
func (c *Client) learn(b build) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replied = true
	if !c.told && b.major > 0 {
		c.version, c.told = b.version(), true
	}
}

// operation is one request.
type operation struct {
	name string // of its element
	body string // the element; with content, what stands before that
	// content is base64 that goes into the body, behind which comes tail.
	content *upload
	tail    string
	// once says that it must not be done twice.
	once bool
	// bulk says that the reply has as many octets as messages have.
	bulk bool
}

const (
	soapSpace     = "http://schemas.xmlsoap.org/soap/envelope/"
	typesSpace    = "http://schemas.microsoft.com/exchange/services/2006/types"
	messagesSpace = "http://schemas.microsoft.com/exchange/services/2006/messages"
	errorsSpace   = "http://schemas.microsoft.com/exchange/services/2006/errors"
)

// envelope is what stands before and behind the body of a request, SOAP 1.1 §4.
func (c *Client) envelope() (head, tail string) {
	head = `<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<soap:Envelope xmlns:soap="` + soapSpace + `" xmlns:t="` + typesSpace + `" xmlns:m="` + messagesSpace + `">` + "\n" +
		`<soap:Header><t:RequestServerVersion Version="` + string(c.current()) + `"/>`
	if c.config.Impersonate != "" {
		head += `<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>` + escape(c.config.Impersonate) +
			`</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>`
	}
	return head + "</soap:Header>\n<soap:Body>", "</soap:Body>\n</soap:Envelope>\n"
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escape makes a text part of XML. Characters that XML does not have (XML 1.0 §2.2) become U+FFFD.
func escape(text string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return 0xFFFD
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd")))
}

// do sends a request, and reads its reply up to the first response message. A server that does not know the version that was named is
// asked once more, in the oldest.
func (c *Client) do(ctx context.Context, o operation) (*reply, error) {
	r, err := c.send(ctx, o)
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != InvalidServerVersion && refused.Code != IncorrectSchema || c.current() == Exchange2007SP1 {
		return r, err
	}
	c.mu.Lock()
	c.version, c.told = Exchange2007SP1, true
	c.mu.Unlock()
	return c.send(ctx, o)
}

// simpleMost is how many octets a reply has that is not bulk.
const simpleMost = 64 << 20

// send sends a request once.
func (c *Client) send(ctx context.Context, o operation) (*reply, error) {
	e := newExchange(ctx, c.config.Timeout)
	if !o.bulk && o.content == nil {
		e.within(c.config.Most)
	}
	response, err := e.post(c, o)
	if err != nil {
		defer e.end()
		return nil, c.noAnswer(e, o, err)
	}
	e.body = response.Body
	if !speaks(response) {
		defer e.end()
		return nil, c.refused(e, o, response)
	}
	body := io.Reader(e)
	if !o.bulk {
		body = &limited{e, simpleMost}
	}
	r := &reply{operation: o, client: c, exchange: e, x: newScanner(body)}
	err = r.begin()
	if response.StatusCode == http.StatusInternalServerError {
		e.hangUp()
		if err == nil {
			err = r.lacks("a fault, which the status speaks of")
		}
	}
	if err != nil {
		defer r.Close()
		return nil, r.failed(err)
	}
	return r, nil
}

// speaks says whether a response is one of this protocol: a fault has the status 500 (SOAP 1.1 §6.2).
func speaks(r *http.Response) bool {
	kind := r.Header.Get("Content-Type")
	xml := strings.HasPrefix(kind, "text/xml") || strings.HasPrefix(kind, "application/soap+xml")
	return r.StatusCode == http.StatusOK || r.StatusCode == http.StatusInternalServerError && xml
}

// limited fails where a reply goes on for too long.
type limited struct {
	io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, wrongXML("it has more than %d octets", int64(simpleMost))
	}
	n, err := l.Reader.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// unknown is the kind of a failure after which it is not known whether the server has done what was asked.
func (o operation) unknown() backends.Kind {
	if o.once {
		return backends.Uncertain
	}
	return backends.Temporary
}

// outcome is what a response message says before what it brings, MS-OXWSCDATA §2.2.4.43 (ResponseMessageType).
type outcome struct {
	failure *backends.Failure // nil: success
	code    Code
}

// reply is a reply that is being read.
type reply struct {
	operation operation
	client    *Client
	exchange  *exchange
	x         *scanner
	inside    int  // depth of the response messages' parent
	waiting   bool // the element that was begun last was not looked at yet
	over      bool // nothing of it is left
}

// lacks is the failure of a reply that does not have what it must have.
func (r *reply) lacks(what string) error {
	return backends.Fail(r.operation.unknown(), "%s: %w %s", r.operation.name, errLacking, what)
}

var errLacking = errors.New("the reply of the server lacks")

// failed is the failure of a reply that could not be read on.
func (r *reply) failed(err error) error {
	if f := (*backends.Failure)(nil); errors.As(err, &f) {
		return f
	}
	return r.client.noAnswer(r.exchange, r.operation, err)
}

// Close gives up what was not read of the reply.
func (r *reply) Close() {
	if !r.over {
		r.exchange.hangUp()
	}
	r.exchange.end()
}

// child goes to the next child of the element that is open at a depth; false: there is none any more.
func (r *reply) child(depth int) (bool, error) {
	if waiting := r.waiting; waiting && r.x.depth() == depth+1 {
		r.waiting = false
		return true, nil
	}
	r.waiting = false
	if err := r.x.leave(depth); err != nil || r.x.depth() < depth { // it has ended already
		return false, err
	}
	begins, err := r.x.next()
	return begins, ended(err)
}

// begin reads up to the response messages. A fault is a failure.
func (r *reply) begin() error {
	if begins, err := r.child(0); err != nil || !begins || r.x.name != (name{soapSpace, "Envelope"}) {
		return errors.Join(err, ifNot(err, r.lacks("the SOAP envelope")))
	}
	for {
		begins, err := r.child(1)
		if err != nil {
			return err
		}
		switch {
		case !begins:
			return r.lacks("the SOAP body")
		case r.x.name == name{soapSpace, "Header"}:
			if err := r.header(); err != nil {
				return err
			}
		case r.x.name == name{soapSpace, "Body"}:
			return r.bodyBegins()
		}
	}
}

// ifNot returns an error where there is no other.
func ifNot(other, err error) error {
	if other != nil {
		return nil
	}
	return err
}

// header reads what the server says that it is.
func (r *reply) header() error {
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil || !begins {
			return err
		}
		if r.x.name != (name{typesSpace, "ServerVersionInfo"}) {
			continue
		}
		var b build
		for key, to := range map[string]*int{"MajorVersion": &b.major, "MinorVersion": &b.minor, "MajorBuildNumber": &b.number} {
			_, _ = fmt.Sscan(r.x.attr(key), to)
		}
		r.client.learn(b)
	}
}

// bodyBegins reads up to the first response message.
func (r *reply) bodyBegins() error {
	begins, err := r.child(r.x.depth())
	switch {
	case err != nil:
		return err
	case begins && r.x.name == name{soapSpace, "Fault"}:
		return r.fault()
	case !begins || r.x.name != (name{messagesSpace, r.operation.name + "Response"}):
		return r.lacks("its response")
	}
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		switch {
		case err != nil:
			return err
		case !begins:
			return r.lacks("its response messages")
		case r.x.name == name{messagesSpace, "ResponseMessages"}:
			r.inside = r.x.depth()
			return nil
		}
	}
}

// textMost is how much of a server's text is taken.
const textMost = 4 << 10

// fault reads a fault, MS-OXWSCDATA §2.2.3 and SOAP 1.1 §4.4. QUIRK: servers that are not Microsoft's tell the code
// as the faultcode alone, and some of them with the status 200.
func (r *reply) fault() error {
	e := &Error{Operation: r.operation.name}
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil {
			return err
		}
		if !begins {
			break
		}
		switch r.x.name.local {
		case "faultcode":
			text, err := r.short()
			if err != nil {
				return err
			}
			if _, local, found := strings.Cut(text, ":"); found {
				text = local
			}
			if e.Code == "" {
				e.Code = Code(text)
			}
		case "faultstring":
			if e.Text, err = r.short(); err != nil {
				return err
			}
		case "detail":
			if err := r.detail(e); err != nil {
				return err
			}
		}
	}
	r.finish()
	f := e.failure()
	if strings.HasPrefix(string(e.Code), "Error") {
		r.client.learn(build{})
		return f
	}
	// A fault without a code says no more than that it has not worked.
	return backends.Fail(r.operation.unknown(), "%w", e)
}

// detail reads what a fault tells in words of this protocol.
func (r *reply) detail(e *Error) error {
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil || !begins {
			return err
		}
		switch r.x.name.local {
		case "ResponseCode":
			text, err := r.short()
			if err != nil {
				return err
			}
			e.Code = Code(text)
		case "MessageXml":
			if err := r.values(e); err != nil {
				return err
			}
		}
	}
}

// short reads a text of the server that people may see. What is too long is cut.
func (r *reply) short() (string, error) {
	depth := r.x.depth() - 1
	octets, err := io.ReadAll(io.LimitReader(r.x.stream(), textMost))
	if err == nil {
		err = r.x.leave(depth)
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(octets), "\ufffd")), " "), err
}

// finish reads what is behind the response messages, which has to be there: a reply that was cut off is none.
func (r *reply) finish() {
	if err := r.x.leave(0); err != nil {
		return
	}
	for {
		if _, err := r.x.next(); err != nil {
			r.over = err == io.EOF
			return
		}
	}
}
