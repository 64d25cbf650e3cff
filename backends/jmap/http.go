package jmap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// newHTTP follows redirects only where they stay on the same server: they carry the credential. The transport
// has its own copy of the configuration, since it writes into it.
func newHTTP(config *tls.Config, set settings) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4 * set.Requests,
			IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: time.Duration(set.Timeout), TLSHandshakeTimeout: 15 * time.Second,
			DialContext:        (&net.Dialer{Timeout: min(30*time.Second, time.Duration(set.Timeout))}).DialContext,
			DisableCompression: true, Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Scheme != via[0].URL.Scheme || !sameHost(r.URL, via[0].URL.Host) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// exchange is one HTTP request.
type exchange struct {
	what    string // for the log: "download"
	method  string
	target  *url.URL
	kind    string               // Content-Type
	size    int64                // octets of the content
	content func() io.ReadCloser // gives it, from its start each time; nil: none
	again   bool                 // doing it twice does no harm
}

// do sends a request. An answer that is not 2xx becomes a failure.
func (s *Store) do(ctx context.Context, c backends.Credential, e exchange) (*http.Response, error) {
	if !s.settings.trusts(e.target) {
		return nil, backends.Fail(backends.Temporary, "%s: the server names %s://%s, which is neither the server itself nor among \"hosts\": it is not given the password",
			e.what, e.target.Scheme, e.target.Host)
	}
	request, err := http.NewRequestWithContext(ctx, e.method, e.target.String(), nil)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%s: %w", e.what, hideURL(err))
	}
	if e.content != nil {
		request.Body, request.ContentLength = e.content(), e.size
		request.GetBody = func() (io.ReadCloser, error) { return e.content(), nil }
		request.Header.Set("Content-Type", e.kind)
	}
	if e.again {
		// The server may close a connection just as it is used again: net/http repeats what has
		// this field, and does not send it.
		request.Header["Idempotency-Key"] = nil
	}
	s.authorize(request, c)
	response, err := s.http.Do(request)
	if err != nil {
		return nil, s.noAnswer(ctx, e, err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, httpFailure(e, response)
}

// authorize presents the credential: RFC 7617, RFC 6750.
func (s *Store) authorize(request *http.Request, c backends.Credential) {
	switch {
	case c.Kind == backends.CredentialToken, c.Kind == backends.CredentialPassword && s.settings.Auth == "bearer":
		request.Header.Set("Authorization", "Bearer "+string(c.Secret))
	case c.Kind == backends.CredentialPassword:
		request.SetBasicAuth(s.loginName(c.User), string(c.Secret))
	}
}

func (s *Store) loginName(user string) string {
	if at := strings.LastIndexByte(user, '@'); at > 0 && s.settings.Username == "local" {
		return user[:at]
	}
	return user
}

// errNoAnswer marks failures after which it is not known whether the server did what it was asked.
var errNoAnswer = errors.New("no answer")

// unanswered is a failure that may have been a success.
func unanswered(what string, err error) *backends.Failure {
	return backends.Fail(backends.Temporary, "%s: %w", what, errors.Join(errNoAnswer, err)).WithCode("4.4.2")
}

// uncertain makes Uncertain of a failure after which it is not known what the server has done.
func uncertain(err error) *backends.Failure {
	if errors.Is(err, errNoAnswer) {
		return backends.Fail(backends.Uncertain, "%w", err)
	}
	return backends.AsFailure(err)
}

// noAnswer is the failure of a request that got none.
func (s *Store) noAnswer(ctx context.Context, e exchange, err error) error {
	err = hideURL(err)
	var dial *net.OpError
	if cause := context.Cause(ctx); cause != nil {
		return unanswered(e.what, cause)
	}
	failed := remote.ConnectFailure(e.target.Host, `"url"`, err)
	if backends.AsFailure(failed).Code == "4.7.5" || errors.As(err, &dial) && dial.Op == "dial" {
		return failed
	}
	return unanswered(e.what, err)
}

// hideURL takes the URL out of an error: it may hold names that are nobody else's business.
func hideURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// problem is what a JMAP server says of a request that it refuses (RFC 7807, RFC 8620 §3.6.1).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Limit  string `json:"limit"`
}

const problemPrefix = "urn:ietf:params:jmap:error:"

// problemMost is how much of the text of a refusal is read.
const problemMost = 4 << 10

// httpFailure makes a failure of an answer that is not 2xx.
func httpFailure(e exchange, r *http.Response) *backends.Failure {
	text, _ := io.ReadAll(io.LimitReader(r.Body, problemMost))
	var p problem
	said := strings.TrimSpace(string(text))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(text, &p) == nil {
		said = strings.Join(strings.Fields(p.Type+" "+p.Limit+" "+p.Title+" "+p.Detail), " ")
	}
	f := backends.Fail(httpKind(r.StatusCode, p), "%s: %s %.300q", e.what, r.Status, said)
	if r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusGone {
		f = backends.Fail(f.Kind, "%w: %s", errMissing, f.Detail)
	}
	if r.StatusCode/100 == 5 && f.Kind == backends.Temporary && r.StatusCode != http.StatusServiceUnavailable {
		f = unanswered(e.what, f) // a proxy's word, or a server's that fell over the request
	}
	return f.After(remote.RetryAfter(r.Header.Get("Retry-After")))
}

// errMissing marks a 404: who asked knows what it means.
var errMissing = errors.New("the server says that there is no such thing")

func httpKind(status int, p problem) backends.Kind {
	switch status {
	case http.StatusUnauthorized:
		return backends.BadCredentials
	case http.StatusForbidden:
		return backends.Permanent
	case http.StatusTooManyRequests:
		return backends.Throttled
	case http.StatusRequestEntityTooLarge:
		return backends.TooLarge
	case http.StatusInsufficientStorage:
		return backends.OverQuota
	}
	switch kind, _ := strings.CutPrefix(p.Type, problemPrefix); {
	case kind == "unknownCapability":
		return backends.Unsupported
	case kind == "limit" && p.Limit == "maxSizeUpload":
		return backends.TooLarge
	case kind == "limit":
		return backends.Throttled
	}
	return backends.Temporary
}

// watch ends a transfer in which nothing moves for too long.
type watch struct {
	timer *time.Timer
	after time.Duration
}

var errStalled = backends.Fail(backends.Temporary, "the server has not moved for too long").WithCode("4.4.1")

func newWatch(after time.Duration, end context.CancelCauseFunc) *watch {
	w := &watch{time.AfterFunc(after, func() { end(errStalled) }), after}
	w.timer.Stop()
	return w
}

func (w *watch) start() { w.timer.Reset(w.after) }
func (w *watch) stop()  { w.timer.Stop() }

// outgoing is a content on its way to a server, which has to take what it is given in time. What
// comes after the content is bounded by ResponseHeaderTimeout.
type outgoing struct {
	io.Reader
	watch *watch
}

func (o outgoing) Read(p []byte) (int, error) {
	o.watch.stop()
	n, err := o.Reader.Read(p)
	if err == nil {
		o.watch.start()
	}
	return n, err
}

func (o outgoing) Close() error {
	o.watch.stop()
	return nil
}
