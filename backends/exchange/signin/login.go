package signin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
)

// Login is a credential with its connections. It is an [http.RoundTripper].
type Login struct {
	server     *Server
	credential Credential

	proof *proof
	turns chan struct{} // has a value for each connection that there may still be

	mu      sync.Mutex
	free    []*lane
	closing bool // connections are ended when they become free
}

var _ http.RoundTripper = (*Login)(nil)

// proof is what is known of a credential.
type proof struct {
	first   chan struct{} // has a value while nobody tries a credential that was never right
	proven  atomic.Bool
	refused atomic.Pointer[backends.Failure] // what every request fails with after the credential was refused
	wrong   atomic.Bool                      // it was refused because the password is wrong, as far as anybody can tell

	tickets  chan struct{} // has a value while nobody gets a ticket
	ticket   *kerberos.Ticket
	noTicket atomic.Bool // Kerberos is not to be had for this credential
	each     atomic.Bool // the server wants a ticket with each request, not once for a connection
}

// Login makes a login. Nothing is sent before its first request.
func (s *Server) Login(c Credential) *Login {
	p := &proof{first: make(chan struct{}, 1), tickets: make(chan struct{}, 1)}
	p.first <- struct{}{}
	p.tickets <- struct{}{}
	return newLogin(s, c, p)
}

// Again makes another login of the same credential, with connections of its own. What is found out of the credential by one of them
// counts for all: that it was refused, above all.
func (l *Login) Again() *Login { return newLogin(l.server, l.credential, l.proof) }

func newLogin(s *Server, c Credential, p *proof) *Login {
	l := &Login{server: s, credential: c, proof: p, turns: make(chan struct{}, s.config.Connections)}
	for range s.config.Connections {
		l.turns <- struct{}{}
	}
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

// roundTrip sends a request by a lane.
func (l *Login) roundTrip(lane *lane, r *http.Request, b *body) (response *http.Response, err error) {
	err = l.present(r.Context(), func() error {
		response, err = lane.do(r, b)
		return err
	})
	return response, err
}

// present does what presents the credential: alone as long as it was not right once, and not at all after it was refused.
func (l *Login) present(ctx context.Context, something func() error) error {
	if !l.proof.proven.Load() {
		if err := take(ctx, l.proof.first); err != nil {
			return err
		}
		defer func() { l.proof.first <- struct{}{} }()
	}
	if f := l.proof.refused.Load(); f != nil {
		return f
	}
	if l.proof.proven.Load() {
		return something()
	}
	end, err := l.server.config.Lockout.begin(ctx, l.credential)
	if err != nil {
		return err
	}
	err = something()
	end(l.outcome())
	return err
}

// Try does what presents the credential to the server in another way than by HTTP, and is guarded as a request is. The credential
// is right if nothing fails, and wrong if that fails as bad credentials.
func (l *Login) Try(ctx context.Context, something func() error) error {
	return l.present(ctx, func() error { return l.judge(something()) })
}

// judge notes what the credential has come to.
func (l *Login) judge(err error) error {
	switch kind := backends.KindOf(err); kind {
	case 0:
		l.right()
	case backends.BadCredentials:
		return l.turnDown(backends.AsFailure(err))
	case backends.AccountDisabled, backends.PasswordExpired:
		return l.refuse(backends.AsFailure(err))
	}
	return err
}

// outcome is what became of the first attempt with a credential.
func (l *Login) outcome() outcome {
	switch {
	case l.proof.wrong.Load():
		return turnedDown
	case l.proof.proven.Load():
		return taken
	}
	return undecided
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
func (l *Login) right() { l.proof.proven.Store(true) }

// turnDown notes that the password is wrong.
func (l *Login) turnDown(f *backends.Failure) error {
	l.proof.wrong.Store(true)
	return l.refuse(f)
}

// refuse notes that the credential was refused: it is not sent again.
func (l *Login) refuse(f *backends.Failure) error {
	l.proof.refused.Store(f)
	return f
}
