package mapihttp

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// caller sends requests, one after another.
type caller struct {
	config   Config
	target   *url.URL
	http     *http.Client
	instance string // a GUID, which is the client's and each request's (MS-OXCMAPIHTTP §2.2.3.2.1, §2.2.3.3.2)
	requests int
}

func newCaller(c Config, target *url.URL) *caller {
	never := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a request is for this server alone
	return &caller{config: c, target: target, http: &http.Client{Transport: c.Transport, CheckRedirect: never}, instance: newGUID()}
}

func newGUID() string {
	var g [16]byte
	_, _ = rand.Read(g[:]) // it does not fail
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", g[:4], g[4:6], g[6:8], g[8:10], g[10:])
}

// close ends the connections that are idle.
func (c *caller) close() { c.http.CloseIdleConnections() }

// call is one request.
type call struct {
	kind    string // X-RequestType
	body    []byte
	cookies *cookies
	// once says that it must not be taken for undone when it is not known whether the server has done it.
	once bool
	// success is the ErrorCode of a request that has succeeded.
	success uint32
}

// do sends a request, and returns what its reply has behind the meta-tags. MS-OXCMAPIHTTP §3.1.5.
func (c *caller) do(ctx context.Context, r call) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.config.Timeout, func() { cancel(ErrSilent) })
	defer silence.Stop()
	all := time.AfterFunc(c.config.Most, func() { cancel(errSlow) })
	defer all.Stop()
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, c.noAnswer(ctx, r, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, c.refused(r, response)
	}
	reply, err := c.read(r, response, moving{response.Body, silence, c.config.Timeout})
	if err != nil {
		return nil, c.noAnswer(ctx, r, err)
	}
	return reply, nil
}

// moving is a reply that has to go on in time.
type moving struct {
	io.Reader
	silence *time.Timer
	after   time.Duration
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.silence.Reset(m.after)
	}
	return n, err
}

// read reads a reply that HTTP says is one.
func (c *caller) read(r call, response *http.Response, body io.Reader) ([]byte, error) {
	if err := r.cookies.take(response.Cookies()); err != nil {
		return nil, err
	}
	code, err := responseCode(response.Header.Get("X-ResponseCode"))
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, newResponseError(r, code, false, body)
	}
	reply, err := readMeta(body)
	if err != nil {
		return nil, err
	}
	if later := reply.header.Get("X-ResponseCode"); later != "" {
		if code, err = responseCode(later); err != nil {
			return nil, err
		}
	}
	if code != 0 {
		return nil, newResponseError(r, code, true, bytes.NewReader(reply.body))
	}
	return reply.body, nil
}

func (c *caller) send(ctx context.Context, r call) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	c.requests++
	for name, value := range map[string]string{
		"Content-Type": "application/mapi-http", "Accept": "application/mapi-http",
		"X-RequestType": r.kind, "X-RequestId": c.instance + ":" + strconv.Itoa(c.requests), "X-ClientInfo": c.instance + ":1",
		"X-ClientApplication": c.config.Application, "User-Agent": c.config.Application,
	} {
		request.Header.Set(name, value)
	}
	r.cookies.send(request)
	return c.http.Do(request)
}

// responseMost is how much of the text of a refusal is read.
const responseMost = 4 << 10

// ResponseError is a reply whose X-ResponseCode is not 0, MS-OXCMAPIHTTP §2.2.3.3.3.
//
// QUIRK: servers that are not Microsoft's number them differently, so that the number tells people something, and
// programs that the request has failed.
type ResponseError struct {
	Request string
	Code    uint32
	Text    string
	late    bool // it came behind the meta-tags: the server had begun with the request
}

func newResponseError(r call, code uint64, late bool, body io.Reader) error {
	text, _ := io.ReadAll(io.LimitReader(body, responseMost))
	return &ResponseError{r.kind, uint32(code), strings.Join(strings.Fields(string(text)), " "), late}
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("%s: X-ResponseCode %d: %.300q", e.Request, e.Code, e.Text)
}
