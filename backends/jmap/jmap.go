// Package jmap is the backend for a mail store that speaks JMAP (RFC 8620, RFC 8621): Cyrus,
// Fastmail, Stalwart, Apache James and others.
//
// A maildrop is one mailbox. A message's id is its Email id, which never changes and is never
// used again; its octets are downloaded as a blob, as they come. Calls are batched: opening a
// maildrop takes the session resource and one request more, a list one request for each page of
// some thousand messages, and the question whether messages are still there is asked for all
// that are being fetched at once. Mail comes in by LMTP or SMTP, or by Email/import where the settings
// hold the recipients' credentials; EmailSubmission sends.
//
// A credential goes to the server in the settings alone, and to the hosts that they allow: what
// the session resource says of others is not believed.
package jmap

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/backends/remote"
)

// Store is one JMAP server. Make it with New.
type Store struct {
	settings settings
	domains  []string
	hostname string
	stateDir string
	log      zerolog.Logger
	tls      *tls.Config
	uidl     uidl.Rule
	http     *http.Client
	slots    slots
	inFlight remote.InFlight
	attempts attempts
	sizes    sizes

	mu     sync.Mutex
	open   map[*maildrop]struct{}
	closed bool
}

var (
	_ backends.Store    = (*Store)(nil)
	_ backends.Reader   = (*Store)(nil)
	_ backends.Receiver = (*Store)(nil)
)

// Option changes what New makes.
type Option func(*Store)

// WithLogger makes the store log; without it, it is silent.
func WithLogger(log zerolog.Logger) Option { return func(s *Store) { s.log = log } }

// New returns a store that wants to be configured.
func New(options ...Option) *Store {
	s := &Store{settings: defaults(), log: zerolog.Nop(), open: make(map[*maildrop]struct{})}
	for _, o := range options {
		o(s)
	}
	return s
}

// Describe says what the backend is.
func (s *Store) Describe(context.Context) (backends.Description, error) {
	d := backends.Description{
		Settings: schema(),
		Name:     "jmap", Version: remote.Version(),
		Credentials:  []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken},
		ExactSizes:   !s.sizes.areEstimates(),
		Limits:       backends.Limits{FetchesAtOnce: s.settings.Requests, RemovalsAtATime: removalsMost},
		Capabilities: backends.CapabilitiesOf(s),
		Reading:      backends.Reading{Disposals: []backends.Disposal{backends.DisposalTrash}, MarksSeen: true, Folders: true},
	}
	d.Capabilities.Receiver = s.settings.Delivery.Given() || len(s.settings.Delivery.Accounts) > 0
	d.Capabilities.Sender = s.settings.Submission
	return d, nil
}

// Configure checks the settings and keeps them. The server is not asked.
func (s *Store) Configure(_ context.Context, given backends.Settings) error {
	set, config, err := read(given)
	if err != nil {
		return err
	}
	s.settings = set // for Describe, also where nothing but a check is asked for
	if given.Check {
		return nil
	}
	s.tls, s.http = config, newHTTP(config, set)
	s.uidl, _ = uidl.Parse(set.UIDL) // read has checked it
	s.domains, s.hostname, s.stateDir = given.Domains, given.Hostname, given.StateDir
	return nil
}

// Health asks for the session resource without a credential: a server that is there says 401.
func (s *Store) Health(ctx context.Context) error {
	if err := s.ready(); err != nil {
		return err
	}
	_, err := s.fetchResource(ctx, backends.Credential{})
	if backends.KindOf(err) == backends.BadCredentials {
		return nil
	}
	return err
}

// Login verifies a credential by fetching the session resource with it.
func (s *Store) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	session, err := s.login(ctx, c)
	if err != nil {
		return backends.Account{}, err
	}
	account := s.account(session)
	if s.settings.Submission {
		account.Addresses, err = session.addresses(ctx, account.Address)
	}
	return account, err
}

func (s *Store) login(ctx context.Context, c backends.Credential) (*session, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	switch {
	case c.Kind != backends.CredentialPassword && c.Kind != backends.CredentialToken:
		return nil, backends.Fail(backends.Unsupported, "a JMAP server is not asked with a %s", c.Kind)
	case c.ActAs != "" && !fold.Equal(c.ActAs, c.User):
		return nil, backends.Fail(backends.BadCredentials, "JMAP has no way to act for %s", c.ActAs)
	case c.User == "" || len(c.Secret) == 0 || strings.ContainsFunc(c.User+string(c.Secret), func(r rune) bool { return r < ' ' || r == 0x7f }) ||
		c.Kind == backends.CredentialPassword && strings.Contains(c.User, ":"): // RFC 7617 §2
		return nil, backends.Fail(backends.BadCredentials, "the user name or the secret is empty or cannot be sent")
	}
	return s.openSession(ctx, c)
}

func (s *Store) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return backends.Fail(backends.Temporary, "the store is closed")
	case s.http == nil:
		return backends.Fail(backends.Temporary, "the store is not configured")
	}
	return nil
}

// account is who a login is: the server's name for the mail account, and the address.
func (s *Store) account(session *session) backends.Account {
	address := fold.Lower(session.credential.User)
	if !strings.Contains(address, "@") && len(s.domains) > 0 {
		address += "@" + s.domains[0]
	}
	name := session.current.Accounts[session.account].Name
	return backends.Account{ID: session.account, Address: address, Addresses: []string{address}, DisplayName: name}
}

// Close ends everything under way.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	var open []*maildrop
	for m := range s.open {
		open = append(open, m)
	}
	s.mu.Unlock()
	for _, m := range open {
		_ = m.Close()
	}
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return nil
}
