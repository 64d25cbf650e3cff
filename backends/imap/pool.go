package imap

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// proof is a keyed hash of a credential: what lets a second session of the same user take a
// kept connection over without the password being kept.
type proof [sha256.Size]byte

// connections are the connections of one store: those in use are counted, those between two
// sessions are kept for a short while, as POP3 clients that send, too, come back at once.
type connections struct {
	settings pool
	key      [32]byte
	total    chan struct{} // one token for each open connection

	mu     sync.Mutex
	inUse  map[string]*account
	open   map[*client]struct{}
	kept   map[proof]*connection
	keep   bool // connections for later
	closed bool

	logins, reused uint64 // connections that were opened and logged in, and that were taken over
}

func newConnections(settings pool) *connections {
	p := &connections{
		settings: settings,
		total:    make(chan struct{}, settings.Total),
		inUse:    make(map[string]*account),
		open:     make(map[*client]struct{}),
		kept:     make(map[proof]*connection),
		keep:     true,
	}
	_, _ = rand.Read(p.key[:]) // never fails, see crypto/rand
	return p
}

func (p *connections) proofOf(c backends.Credential) proof {
	mac := hmac.New(sha256.New, p.key[:])
	for _, part := range []string{c.Kind.String(), c.User, c.ActAs, string(c.Secret)} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return proof(mac.Sum(nil))
}

// acquire gives a connection that is logged in with the credential.
func (s *Store) acquire(ctx context.Context, c backends.Credential) (*connection, error) {
	p := s.pool
	proof := p.proofOf(c)
	user := fold.Lower(s.loginName(c)) // connections are counted for each mailbox
	if kept, err := p.reserve(ctx, user, proof); err != nil || kept != nil {
		return s.checked(ctx, c, kept, err)
	}
	return s.fresh(ctx, c, user, proof)
}

// checked gives a kept connection once it has answered a NOOP, and a fresh one if it does not.
func (s *Store) checked(ctx context.Context, c backends.Credential, kept *connection, err error) (*connection, error) {
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	if _, err := call(ctx, kept.client, func() (struct{}, error) { return struct{}{}, kept.client.Noop().Wait() }); err == nil {
		return kept, nil
	}
	s.pool.discard(kept.client)
	return s.fresh(ctx, c, kept.user, kept.proof)
}

func (s *Store) fresh(ctx context.Context, c backends.Credential, user string, proof proof) (*connection, error) {
	p := s.pool
	select {
	case p.total <- struct{}{}:
	default:
		if !p.evict() {
			p.unreserve(user)
			return nil, backends.Fail(backends.Throttled, "all %d connections to the server are in use", p.settings.Total).After(5 * time.Second)
		}
		// The evicted connection's token is ours now.
	}
	client, err := s.connectAs(ctx, c)
	if err != nil {
		s.paces.answered(fold.Lower(mailboxOf(c)), err)
		<-p.total
		p.unreserve(user)
		return nil, err
	}
	p.opened(client)
	p.supersede(user, c.Kind, proof)
	return &connection{client: client, user: user, proof: proof, kind: c.Kind, since: time.Now()}, nil
}

// supersede closes the kept connections of a user's other credentials of the same kind: one that has
// just been good may be a changed password. Those in use are not kept when they come back.
func (p *connections) supersede(user string, kind backends.CredentialKind, proof proof) {
	p.mu.Lock()
	p.inUse[user].newest[kind] = proof // the caller has a place
	var old []*connection
	for each, c := range p.kept {
		if c.user == user && c.kind == kind && each != proof {
			old = append(old, c)
			delete(p.kept, each)
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		p.discard(c.client)
	}
}

// opened notes a connection, for close to find.
func (p *connections) opened(client *client) {
	p.mu.Lock()
	p.open[client] = struct{}{}
	p.logins++
	closed := p.closed
	p.mu.Unlock()
	if closed {
		client.end(errStoreClosed)
	}
}

var errStoreClosed = errors.New("the store is closed")

// account is an account with connections in use.
type account struct {
	places chan struct{} // one token for each
	refs   int           // who holds a place or waits for one
	// newest is, of each kind, the credential that was found good last, since somebody has had a place.
	newest map[backends.CredentialKind]proof
}

func newAccount(places int) *account {
	return &account{places: make(chan struct{}, places), newest: make(map[backends.CredentialKind]proof)}
}

// superseded says whether another credential of the kind was found good since the connection was
// opened with its own.
func (a *account) superseded(c *connection) bool {
	newest, known := a.newest[c.kind]
	return known && newest != c.proof
}

// waitForPlace is how long somebody waits for one of the account's connections.
const waitForPlace = 10 * time.Second

// reserve takes one of the account's places, and a kept connection where there is one.
func (p *connections) reserve(ctx context.Context, user string, proof proof) (*connection, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, backends.Fail(backends.Temporary, "%w", errStoreClosed)
	}
	a := p.inUse[user]
	if a == nil {
		a = newAccount(p.settings.PerAccount)
		p.inUse[user] = a
	}
	a.refs++
	p.mu.Unlock()
	if err := a.wait(ctx); err != nil {
		p.forget(user, a)
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.kept[proof]
	delete(p.kept, proof)
	if kept != nil {
		p.reused++
	}
	return kept, nil
}

func (a *account) wait(ctx context.Context) error {
	timeout := time.NewTimer(waitForPlace)
	defer timeout.Stop()
	select {
	case a.places <- struct{}{}:
		return nil
	case <-timeout.C:
		return backends.Fail(backends.Throttled, "all %d connections of the account are in use", cap(a.places)).After(waitForPlace)
	case <-ctx.Done():
		return backends.Fail(backends.Temporary, "wait for a connection of the account: %w", context.Cause(ctx))
	}
}

// unreserve gives a place back.
func (p *connections) unreserve(user string) {
	p.mu.Lock()
	a := p.inUse[user]
	p.mu.Unlock()
	<-a.places
	p.forget(user, a)
}

func (p *connections) forget(user string, a *account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.refs--; a.refs == 0 {
		delete(p.inUse, user)
	}
}

// evict closes one kept connection, whose place the caller takes.
func (p *connections) evict() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for proof, c := range p.kept {
		delete(p.kept, proof)
		delete(p.open, c.client)
		_ = c.client.Close()
		return true
	}
	return false
}

// release takes a connection back. One that is healthy and has no mailbox selected any more
// is kept for the next session of the same credential, until it is too old.
func (p *connections) release(c *connection, healthy bool) {
	defer p.unreserve(c.user)
	p.mu.Lock()
	_, taken := p.kept[c.proof]
	life := min(time.Duration(p.settings.Keep), time.Duration(p.settings.Age)-time.Since(c.since))
	keep := healthy && !c.selected && p.keep && !p.closed && !taken && life > 0 && !p.inUse[c.user].superseded(c)
	if keep {
		p.kept[c.proof] = c
		time.AfterFunc(life, func() { p.expire(c) })
	}
	p.mu.Unlock()
	if !keep {
		p.discard(c.client)
	}
}

// expire closes a connection that nobody has taken over. One that was taken and came back
// in the meantime gets no second life by it: it is closed a little early.
func (p *connections) expire(c *connection) {
	p.mu.Lock()
	mine := p.kept[c.proof] == c
	if mine {
		delete(p.kept, c.proof)
	}
	p.mu.Unlock()
	if mine {
		p.discard(c.client)
	}
}

func (p *connections) discard(client *client) {
	_ = client.Close()
	p.mu.Lock()
	delete(p.open, client)
	p.mu.Unlock()
	<-p.total
}

// Metrics implements [backends.Meter].
func (s *Store) Metrics() []backends.Metric {
	p := s.pool
	if p == nil { // not configured
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(s.copying.metrics(), []backends.Metric{
		{Name: "connections", Help: "Connections to the server.", Kind: backends.MetricGauge, Value: float64(len(p.open))},
		{Name: "kept_connections", Help: "Connections that wait for the next session.", Kind: backends.MetricGauge, Value: float64(len(p.kept))},
		{Name: "logins", Help: "Connections that were opened and logged in.", Kind: backends.MetricCounter, Value: float64(p.logins)},
		{Name: "reused_connections", Help: "Sessions that took a kept connection over.", Kind: backends.MetricCounter, Value: float64(p.reused)},
	}...)
}

// Drain implements [backends.Drainer]: servers allow few connections of one user, and the process that
// has taken over needs them.
func (s *Store) Drain() {
	s.copying.drain()
	s.pool.keepNone()
}

// keepNone closes what is kept, and keeps nothing from now on.
func (p *connections) keepNone() {
	p.mu.Lock()
	p.keep = false
	kept := p.kept
	p.kept = make(map[proof]*connection)
	p.mu.Unlock()
	for _, c := range kept {
		p.discard(c.client)
	}
}

// close ends all connections. Those in use are closed under their sessions, which fail.
func (p *connections) close() {
	p.mu.Lock()
	p.closed = true
	open := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	p.keepNone()
	for _, client := range open {
		client.end(errStoreClosed)
	}
}
