package maildrop

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/replies"
)

// Options are the settings of a [Backend]. Log and Authenticator are required; the others have
// defaults, given in brackets.
type Options struct {
	Log zerolog.Logger
	// Protocol is the listener's, for the log of logins: "pop3s" where TLS comes first ["pop3"].
	Protocol string
	// Authenticator is where clients log in. One is shared by all listeners.
	Authenticator *login.Authenticator
	// Locks are shared by everything that opens maildrops [a folder.MemoryLocks of its own].
	Locks folder.Locks
	// LockWait is how long a login waits for the lock of a session before it: many a client hangs up
	// without QUIT and comes back before the gateway has seen the end [it does not wait].
	LockWait time.Duration
	// Index is what is remembered of messages from one session to the next [nothing].
	Index *index.Index
	// Measuring bounds the reading of messages only to learn their sizes [one of its own].
	Measuring *Measuring
	// Folder is the folder that is served when a login name does not ask for one, with "/" between
	// its parts [the inbox].
	Folder string
	// Policies are the mailboxes' [policy.Default for each].
	Policies *policy.Current
	// Sessions counts those of accounts; it is shared by everything that opens maildrops [one of
	// its own].
	Sessions *policy.Sessions
	// PlaintextLogin allows logins over connections without TLS (RFC 2595 §2.3) [no].
	PlaintextLogin bool
	// Devices are the machines among those who log in [there are none].
	Devices *devices.Registry
	// Legacy lets devices that are of the old kind come without TLS, or with one older than 1.2, which the listener offers
	// then [no].
	Legacy bool
	// Hostname is the sender's domain in notices about messages that cannot be rendered ["localhost"].
	Hostname string
	// Retention remembers deleted messages that policies keep for a time [none: under such a policy
	// QUIT fails, and nothing is removed].
	Retention *folder.Retention
	// Keys say by what key a folder is remembered [each folder's identity is its key].
	Keys *folder.Keys
	// Quarantine remembers messages that their stores cannot give [each session for itself].
	Quarantine *folder.Quarantine
	// MessagesMost bounds a folder: each message costs some 100 octets of memory while a
	// session is open, and its id and its unique-id [1,000,000].
	MessagesMost int
	// ListMost bounds the octets of the ids and unique-ids of one session [64 MiB], Lists those of
	// all sessions together [256 MiB]. A session's first listFree octets do not count: the number
	// of connections bounds those, and ordinary sessions go on beside a store whose ids are
	// enormous.
	ListMost int64
	Lists    *Budget
	// Ahead bounds the octets that all sessions hold of messages not asked for yet [64 MiB],
	// AheadPerSession those of one session [4 MiB]; below zero: nothing is read ahead.
	Ahead           *Budget
	AheadPerSession int64
	// LoginDelay is how long a maildrop cannot be opened again after a login (RFC 2449 §6.5) [0 s];
	// each folder counts by itself. Openings are shared by everything that opens maildrops [a
	// folder.MemoryOpenings of its own].
	LoginDelay time.Duration
	Openings   folder.Openings
	// Winmail opens TNEF for mailboxes whose policy says so [it stays as it is].
	Winmail *content.Winmail
	Now     func() time.Time // [time.Now]
}

// Backend opens maildrops for the POP3 engine. It implements [pop3.Backend].
type Backend struct{ o Options }

// New makes a backend; one serves all listeners.
func New(o Options) *Backend {
	if o.Locks == nil {
		o.Locks = &folder.MemoryLocks{}
	}
	if o.Openings == nil {
		o.Openings = &folder.MemoryOpenings{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Measuring == nil {
		o.Measuring = &Measuring{}
	}
	if o.Sessions == nil {
		o.Sessions = &policy.Sessions{}
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
	if o.ListMost == 0 {
		o.ListMost = 64 << 20
	}
	if o.Lists == nil {
		o.Lists = NewBudget(256 << 20)
	}
	return &Backend{o: o}
}

// NewSession implements [pop3.Backend].
func (b *Backend) NewSession(_ context.Context, conn pop3.Conn) (pop3.Session, error) {
	return &session{o: &b.o, conn: conn}, nil
}

// session is a connection in the AUTHORIZATION state (RFC 1939 §4), or one whose maildrop the engine
// has taken over.
type session struct {
	o      *Options
	conn   pop3.Conn
	opened *drop // by Enter, and not yet the engine's
	utf8   bool  // the client takes UTF-8 in headers
}

// log begins a line of the log. There is no logger for each session, which would cost an idle one 512
// octets.
func (s *session) log(level zerolog.Level) *zerolog.Event {
	return s.o.Log.WithLevel(level).Str("session", s.conn.ID)
}

// errNoTLS refuses a login whose password could be read on the way (RFC 2595 §2.3).
var errNoTLS = &pop3.Error{Text: "TLS is needed to log in: use STLS first"}

func (s *session) mayLogin() bool { return s.TLS() != nil || s.o.PlaintextLogin || s.o.Legacy }

// safe says whether a login that is not an old device's may come over the connection.
func (s *session) safe() bool {
	return s.o.PlaintextLogin || login.ModernTLS(s.TLS()) || !s.o.Legacy && s.TLS() != nil
}

// Mechanisms implements [pop3.Session].
func (s *session) Mechanisms() []string {
	if !s.mayLogin() {
		return nil
	}
	return s.o.Authenticator.Mechanisms(s)
}

// AllowPassword implements [pop3.PasswordPolicy].
func (s *session) AllowPassword() bool { return s.mayLogin() && s.o.Authenticator.TakesPasswords(s) }

// Password implements [pop3.Session].
func (s *session) Password(ctx context.Context, user string, password []byte) (*pop3.Login, error) {
	if !s.mayLogin() {
		return nil, errNoTLS
	}
	return s.taken(s.o.Authenticator.Password(ctx, s, user, password))
}

// Authenticate implements [pop3.Session].
func (s *session) Authenticate(ctx context.Context, mechanism string) (sasl.Exchange[pop3.Login], error) {
	if !s.mayLogin() {
		return nil, errNoTLS
	}
	inner, err := s.o.Authenticator.Begin(ctx, s, mechanism)
	if err != nil {
		return nil, loginReply(err)
	}
	return &exchange{session: s, inner: inner}, nil
}

// EnableUTF8 implements [pop3.UTF8Session]: from now on messages are sent unchanged, even if their
// headers contain UTF-8. Without it, such a header is replaced (RFC 6856 §2).
func (s *session) EnableUTF8(context.Context) error {
	s.utf8 = true
	return nil
}

// Close implements [pop3.Session].
func (s *session) Close() { _ = s.abandon() }

// taken returns the maildrop that a login has opened, or closes it if the login has failed.
func (s *session) taken(err error) (*pop3.Login, error) {
	if err != nil {
		if e := s.abandon(); e != nil {
			s.log(zerolog.WarnLevel).Err(e).Msg("the maildrop of a login that failed did not close in good order")
		}
		return nil, loginReply(err)
	}
	opened := s.opened
	s.opened = nil
	if opened == nil {
		return nil, loginReply(errors.New("the login has opened no maildrop"))
	}
	return opened.login(), nil
}

// abandon closes a maildrop that a login has opened and the engine has not taken.
func (s *session) abandon() error {
	opened := s.opened
	s.opened = nil
	if opened == nil {
		return nil
	}
	return opened.Close()
}

// loginReply is the response to a login that failed: -ERR with a response code (RFC 2449 §8,
// RFC 3206), so that an outage is not taken for a wrong password.
func loginReply(err error) error {
	switch {
	case errors.Is(err, login.ErrMechanism):
		return &pop3.Error{Text: "unrecognized authentication type", Err: err}
	case errors.Is(err, login.ErrMalformed):
		return &pop3.Error{Code: "AUTH", Text: "malformed authentication response", Err: err}
	}
	return replies.POP3(err)
}

// exchange is a SASL exchange (RFC 5034 §4) that yields an open maildrop.
type exchange struct {
	session *session
	inner   sasl.Exchange[sasl.Accepted]
}

// Next implements [sasl.Exchange].
func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, *pop3.Login, error) {
	challenge, accepted, err := e.inner.Next(ctx, response)
	if err == nil && accepted == nil {
		return challenge, nil, nil
	}
	opened, err := e.session.taken(err)
	return nil, opened, err
}

// Close implements [sasl.Exchange]. It closes the maildrop of a client that left after it was opened
// and before the exchange had ended.
func (e *exchange) Close() error {
	return errors.Join(e.inner.Close(), e.session.abandon())
}

// Peer implements [login.Client].
func (s *session) Peer() backends.Peer {
	p := backends.Peer{Protocol: "pop3", TLS: s.TLS() != nil, Session: s.conn.ID}
	if s.conn.Remote != nil {
		p.Address = s.conn.Remote.String()
	}
	return p
}

// Protocol implements [login.Client].
func (s *session) Protocol() string { return cmp.Or(s.o.Protocol, "pop3") }

// TLS implements [login.Client].
func (s *session) TLS() *tls.ConnectionState {
	if s.conn.TLS == nil {
		return nil
	}
	return s.conn.TLS()
}

// ServerCertificate implements [login.Client].
func (s *session) ServerCertificate() []byte {
	if s.conn.Certificate == nil {
		return nil
	}
	return s.conn.Certificate()
}

// Enter implements [login.Client]. It verifies the credential and opens the maildrop in one call to
// the store, and then takes the lock and the list (RFC 1939 §4). The lock comes after the opening
// because its key has the account's id, which the store tells.
func (s *session) Enter(ctx context.Context, e login.Entry) error {
	if err := s.abandon(); err != nil {
		return err
	}
	if !e.Legacy && !s.safe() {
		return errNoTLS
	}
	device, err := s.o.Devices.SessionOf(ctx, e.Device)
	if err != nil {
		return err
	}
	if e.Store.Reader == nil {
		return backends.Fail(backends.Unsupported, "store %s has no mailboxes to read", e.Store.Name)
	}
	folder := e.Folder
	if folder == "" {
		folder = s.o.Folder
	}
	inner, err := e.Store.Reader.Open(ctx, backends.OpenRequest{Credential: e.Credential, Folder: folder})
	if err != nil {
		return err
	}
	opened := inner.Opened()
	if err := e.Check(opened.Account); err != nil {
		return errors.Join(err, inner.Close())
	}
	d := &drop{
		o: s.o, id: s.conn.ID, store: e.Store.Now(), folder: folder, inner: inner, utf8: s.utf8, device: device,
	}
	if err := d.prepare(ctx); err != nil {
		// The store's maildrop and perhaps the lock are held already.
		return errors.Join(err, d.Close())
	}
	s.opened = d
	if device != nil {
		device.Used(address(s.conn.Remote))
	}
	return nil
}

// address is a client's, without its port.
func address(remote net.Addr) string {
	if tcp, is := remote.(*net.TCPAddr); is {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	return ""
}
