package signin

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
)

// body is that of a request, which may have to be sent more than once.
type body struct {
	request *http.Request
	used    atomic.Bool
}

func newBody(r *http.Request) *body { return &body{request: r} }

// attach gives an attempt the body.
func (b *body) attach(attempt *http.Request) error {
	r := b.request
	switch {
	case r.Body == nil || r.Body == http.NoBody:
	case r.GetBody != nil:
		again, err := r.GetBody()
		if err != nil {
			return backends.Fail(backends.Temporary, "the request cannot be read to be sent: %w", err)
		}
		attempt.Body = again
	case !b.used.Load():
		attempt.Body = &held{b}
	default:
		return backends.Fail(backends.Temporary, "the server wants another login, and the request cannot be sent a second time")
	}
	return nil
}

// detach leaves the body out of an attempt.
func detach(attempt *http.Request) {
	attempt.Body, attempt.GetBody, attempt.ContentLength, attempt.TransferEncoding = http.NoBody, nil, 0, nil
}

// done closes the body if no attempt has.
func (b *body) done() {
	if b.request.Body != nil && b.used.CompareAndSwap(false, true) {
		_ = b.request.Body.Close()
	}
}

// held is a body whose Close does nothing until something was read of it.
type held struct{ of *body }

func (h *held) Read(p []byte) (int, error) {
	h.of.used.Store(true)
	return h.of.request.Body.Read(p)
}

func (h *held) Close() error {
	if h.of.used.Load() {
		return h.of.request.Body.Close()
	}
	return nil
}

// reply is the body of a response, at whose end the connection is free.
type reply struct {
	io.ReadCloser
	ended func()
}

func (r *reply) Close() error {
	err := r.ReadCloser.Close()
	r.ended()
	return err
}
