package maildrop

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/routing"
)

// Options are what a Backend is made of. Log, Router and Guard are needed; the rest has
// defaults, given in brackets.
type Options struct {
	Log    zerolog.Logger
	Router *routing.Router
	Guard  *login.Guard
	// Locks are shared by everything that opens maildrops [a MemoryLocks of its own].
	Locks Locks
	// Folder is the folder that is served, with "/" between its parts [the inbox].
	Folder string
	// Rendering is the form in which stores that render are asked for messages.
	Rendering backends.Rendering
	// Disposal is what becomes of deleted messages.
	Disposal backends.Disposal
	// PlaintextLogin lets passwords pass over connections without TLS [no].
	PlaintextLogin bool
	// Hostname stands in notices about messages that cannot be rendered ["localhost"].
	Hostname string
	// MessagesMost bounds a folder: each message costs some 100 octets of memory while a
	// session is open [1,000,000].
	MessagesMost int
	// Ahead bounds the octets that all sessions hold of messages not asked for yet [64 MiB],
	// AheadPerSession those of one session [4 MiB]; below zero: nothing is read ahead.
	Ahead           *Budget
	AheadPerSession int64
}

// Backend opens maildrops for the POP3 engine. It implements [pop3.Backend].
type Backend struct{ o Options }

// New makes a backend; one serves all listeners.
func New(o Options) *Backend {
	if o.Locks == nil {
		o.Locks = &MemoryLocks{}
	}
	if o.Ahead == nil {
		o.Ahead = NewBudget(64 << 20)
	}
	if o.AheadPerSession == 0 {
		o.AheadPerSession = 4 << 20
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.MessagesMost == 0 {
		o.MessagesMost = 1_000_000
	}
	return &Backend{o: o}
}

// NewSession implements [pop3.Backend].
func (b *Backend) NewSession(_ context.Context, conn pop3.Conn) (pop3.Session, error) {
	return &session{o: &b.o, conn: conn, log: b.o.Log.With().Str("session", conn.ID).Logger()}, nil
}

// session is a connection that has not logged in, or whose maildrop the engine has.
type session struct {
	o    *Options
	conn pop3.Conn
	log  zerolog.Logger
	utf8 bool // the client takes UTF-8 in headers
}

// errNoTLS refuses a password that everybody on the way can read.
var errNoTLS = &pop3.Error{Text: "say STLS first: passwords are taken over TLS only"}

func (s *session) tls() bool { return s.conn.TLS != nil && s.conn.TLS() != nil }

func (s *session) mayLogin() bool { return s.tls() || s.o.PlaintextLogin }

func (s *session) peer() backends.Peer {
	p := backends.Peer{Protocol: "pop3", TLS: s.tls(), Session: s.conn.ID}
	if s.conn.Remote != nil {
		p.Address = s.conn.Remote.String()
	}
	return p
}

// Mechanisms implements [pop3.Session].
func (s *session) Mechanisms() []string {
	if !s.mayLogin() {
		return nil
	}
	return login.Mechanisms()
}

// Password implements [pop3.Session].
func (s *session) Password(ctx context.Context, user string, password []byte) (pop3.Maildrop, error) {
	if !s.mayLogin() {
		return nil, errNoTLS
	}
	drop, err := s.login(ctx, &login.Proof{User: user, Password: password})
	if err != nil {
		return nil, replies.POP3(err)
	}
	return drop, nil
}

// Authenticate implements [pop3.Session].
func (s *session) Authenticate(_ context.Context, mechanism string) (pop3.Exchange, error) {
	if !s.mayLogin() {
		return nil, errNoTLS
	}
	inner, err := login.NewExchange(mechanism)
	if err != nil {
		return nil, &pop3.Error{Text: "no such mechanism", Err: err}
	}
	return &exchange{session: s, inner: inner}, nil
}

// EnableUTF8 implements [pop3.UTF8Session]: messages go out as they are, signatures and all, UTF-8
// in their headers or not. Without it, those that have some get another header (RFC 6856 §2).
func (s *session) EnableUTF8(context.Context) error {
	s.utf8 = true
	return nil
}

// Close implements [pop3.Session]: all that a session holds is its maildrop's.
func (s *session) Close() {}

// exchange ends a SASL exchange with an open maildrop.
type exchange struct {
	session *session
	inner   login.Exchange
}

func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, pop3.Maildrop, error) {
	challenge, proof, err := e.inner.Next(response)
	if err != nil {
		return nil, nil, &pop3.Error{Code: "AUTH", Text: "the response is malformed", Err: err}
	}
	if proof == nil {
		return challenge, nil, nil
	}
	drop, err := e.session.login(ctx, proof)
	if err != nil {
		return nil, nil, replies.POP3(err)
	}
	return nil, drop, nil
}

// login proves who the client is and opens the maildrop in one call to the store; then it
// takes the lock, for which the account's id has to be known, and the list.
func (s *session) login(ctx context.Context, proof *login.Proof) (*drop, error) {
	name, ok := login.ParseName(proof.User)
	var store *routing.Store
	if ok {
		store = s.o.Router.Table().StoreForLogin(name)
	}
	attempt := login.Attempt{Peer: s.peer(), Name: name}
	if store != nil {
		attempt.Store = store.Name
	}
	var opened backends.Maildrop
	err := s.o.Guard.Do(ctx, attempt, func(ctx context.Context) (err error) {
		if store == nil {
			return login.WrongCredentials("no store has such names")
		}
		opened, err = s.open(ctx, store, proof.Credential(name.String(), attempt.Peer))
		return err
	})
	if err != nil {
		return nil, err
	}
	d := &drop{o: s.o, store: store, inner: opened, utf8: s.utf8, log: s.log.With().Str("store", store.Name).Str("account", opened.Account().ID).Logger()}
	if err := d.prepare(ctx); err != nil {
		// The store's maildrop and perhaps the lock are held already.
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (s *session) open(ctx context.Context, store *routing.Store, credential backends.Credential) (backends.Maildrop, error) {
	reader, ok := store.Backend.(backends.Reader)
	if !ok {
		return nil, backends.Fail(backends.Unsupported, "store %s has no mailboxes to read", store.Name)
	}
	return reader.Open(ctx, backends.OpenRequest{Credential: credential, Folder: s.o.Folder})
}
