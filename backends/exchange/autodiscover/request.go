package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// answerMost bounds an answer, in octets.
const answerMost = 1 << 20

// request is a question to a server.
type request struct {
	method, kind string // kind is the Content-Type
	body         string
	fields       map[string]string
	plain        bool // without a credential
}

// send asks a URL, and follows what HTTP leads to. What is returned is the body of a success, and the URL that it is of.
func (s *search) send(ctx context.Context, where *url.URL, address string, r request) ([]byte, *url.URL, error) {
	for {
		body, next, err := s.sendOnce(ctx, where, r)
		if err != nil || next == "" {
			return body, where, err
		}
		if err = s.follow(where.Host); err != nil {
			return nil, nil, err
		}
		to, err := where.Parse(next)
		if err != nil {
			return nil, nil, backends.Fail(backends.Temporary, "%s leads to %.300q, which is no URL", where.Host, next)
		}
		if where, err = s.enter(to.String(), address); err != nil {
			return nil, nil, err
		}
	}
}

// sendOnce asks a URL. next is where it leads; empty: nowhere else.
func (s *search) sendOnce(ctx context.Context, where *url.URL, r request) (body []byte, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	transport := s.Plain
	if !r.plain {
		if transport, err = s.SignIn("https://" + where.Host); err != nil {
			return nil, "", err
		}
		if closer, is := transport.(interface{ CloseIdleConnections() }); is {
			defer closer.CloseIdleConnections()
		}
	}
	question, err := http.NewRequestWithContext(ctx, r.method, where.String(), strings.NewReader(r.body))
	if err != nil {
		return nil, "", backends.Fail(backends.Permanent, "%s: %w", where.Host, err)
	}
	for name, value := range r.fields {
		question.Header.Set(name, value)
	}
	if r.kind != "" {
		question.Header.Set("Content-Type", r.kind)
	}
	question.Header.Set("User-Agent", "Dipylon")
	response, err := transport.RoundTrip(question)
	if err != nil {
		if f := (*backends.Failure)(nil); errors.As(err, &f) {
			return nil, "", err
		}
		return nil, "", remote.ConnectFailure(where.Host, `"autodiscover"`, err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read as far as it is of use
	body, err = io.ReadAll(io.LimitReader(response.Body, answerMost+1))
	switch {
	case err != nil:
		return nil, "", backends.Fail(backends.Temporary, "%s: %w", where.Host, err)
	case len(body) > answerMost:
		return nil, "", backends.Fail(backends.Temporary, "%s: an answer of more than %d octets", where.Host, answerMost)
	}
	return s.status(where, response, body)
}

// status looks at what HTTP says of an answer.
func (s *search) status(where *url.URL, response *http.Response, body []byte) ([]byte, string, error) {
	fail := func(kind backends.Kind, format string, args ...any) ([]byte, string, error) {
		return nil, "", backends.Fail(kind, "%s%s: %w", where.Host, where.Path, fmt.Errorf(format, args...))
	}
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return body, "", nil
	case code == http.StatusMovedPermanently, code == http.StatusFound, code == http.StatusTemporaryRedirect, code == http.StatusPermanentRedirect:
		next := response.Header.Get("Location")
		if next == "" {
			return fail(backends.Temporary, "a redirection without a place")
		}
		return nil, next, nil
	case code == http.StatusUnauthorized:
		return fail(backends.BadCredentials, "the login was refused")
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusGone, code == http.StatusBadRequest, code == http.StatusNotImplemented:
		return fail(backends.Unsupported, "%w: %s", errNotHere, response.Status)
	case code == http.StatusServiceUnavailable, code == http.StatusTooManyRequests:
		return fail(backends.Throttled, "%s", response.Status)
	}
	return fail(backends.Temporary, "%s", response.Status)
}
