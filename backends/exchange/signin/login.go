package signin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
)

// Login is a credential with its connections. It is an [http.RoundTripper].
type Login struct {
	server     *Server
	credential Credential

	// turns has a value for each connection that there may be, first one for a credential that was never right.
	turns  chan struct{}
	first  chan struct{}
	proven atomic.Bool
	// refused is what every request fails with after the credential was refused.
	refused atomic.Pointer[backends.Failure]

	mu      sync.Mutex
	free    []*lane
	closing bool // connections are ended when they become free
}

var _ http.RoundTripper = (*Login)(nil)

// Login makes a login. Nothing is sent before its first request.
func (s *Server) Login(c Credential) *Login {
	l := &Login{server: s, credential: c, turns: make(chan struct{}, s.config.Connections), first: make(chan struct{}, 1)}
	for range s.config.Connections {
		l.turns <- struct{}{}
	}
	l.first <- struct{}{}
	return l
}

// RoundTrip implements [http.RoundTripper]. The connection is free for another request when the body of the response is closed.
func (l *Login) RoundTrip(r *http.Request) (*http.Response, error) {
	b := newBody(r)
	defer b.done()
	if r.URL.Scheme != "https" || hostOf(r.URL) != l.server.host {
		return nil, backends.Fail(backends.Permanent, "a credential for %s is sent there over TLS, and nowhere else", l.server.host)
	}
	if err := take(r.Context(), l.turns); err != nil {
		return nil, err
	}
	lane := l.lane()
	response, err := l.roundTrip(lane, r, b)
	if err != nil {
		lane.close()
		l.put(lane)
		return nil, err
	}
	response.Request = r
	response.Body = &reply{ReadCloser: response.Body, ended: sync.OnceFunc(func() {
		if response.StatusCode/100 == 5 || response.StatusCode == http.StatusUnauthorized {
			lane.close() // a connection that has answered so is not used again
		}
		l.put(lane)
	})}
	return response, nil
}

// roundTrip sends a request by a lane, alone as long as the credential was not right once.
func (l *Login) roundTrip(lane *lane, r *http.Request, b *body) (*http.Response, error) {
	if !l.proven.Load() {
		if err := take(r.Context(), l.first); err != nil {
			return nil, err
		}
		defer func() { l.first <- struct{}{} }()
	}
	if f := l.refused.Load(); f != nil {
		return nil, f
	}
	return lane.do(r, b)
}

// take waits for a turn.
func take(ctx context.Context, turns chan struct{}) error {
	select {
	case <-turns:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", context.Cause(ctx))
	}
}

// lane takes a free lane, or makes one.
func (l *Login) lane() *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = false
	if n := len(l.free); n > 0 { // the one that was used last
		one := l.free[n-1]
		l.free = l.free[:n-1]
		return one
	}
	return newLane(l)
}

// put gives a lane back.
func (l *Login) put(one *lane) {
	l.mu.Lock()
	if l.closing {
		one.close()
	} else {
		l.free = append(l.free, one)
	}
	l.mu.Unlock()
	l.turns <- struct{}{}
}

// CloseIdleConnections ends the connections that no request is under way on, and the others when theirs is over. The login can be
// used afterwards.
func (l *Login) CloseIdleConnections() {
	l.mu.Lock()
	free := l.free
	l.free, l.closing = nil, true
	l.mu.Unlock()
	for _, one := range free {
		one.close()
	}
}

// right notes that the server has taken the credential.
func (l *Login) right() { l.proven.Store(true) }

// refuse notes that the server has refused the credential: it is not sent again.
func (l *Login) refuse(f *backends.Failure) error {
	l.refused.Store(f)
	return f
}
