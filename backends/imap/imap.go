// Package imap is the backend for a mail store that speaks IMAP (RFC 3501, RFC 9051):
// Dovecot, Cyrus, Exchange Online and others.
//
// A maildrop is one mailbox, opened with the client's own password, with a token, or by a
// master user who acts for the client. A message's id is UIDVALIDITY "." UID, which RFC 9051
// §2.3.1.1 promises to last. Mail comes in through LMTP, SMTP or by APPEND, and goes out through
// the store's own submission server.
//
// The client library knows no contexts and hands content out as it arrives, one literal at a
// time; so each FETCH asks for a part of a message that is small enough to be kept until it
// is wanted (see content.go), and nobody who reads slowly stands in another's way.
package imap

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/backends/remote"
)

// Store is one IMAP server. Make it with New.
type Store struct {
	settings       settings
	domains        []string
	hostname       string
	stateDir       string
	uidl           uidl.Rule
	log            zerolog.Logger
	tls            *tls.Config
	pool           *connections
	inFlight       remote.InFlight
	withoutUIDPlus sync.Once   // said of the server
	noValidity     sync.Once   // the same
	sent           remote.Sent // through submission
	samples        samples
	wrongSizes     wrongSizes
	tokens         *oauth.Source // of the gateway's own; nil: there are none
	letIn          letIn
	paces          paces    // of APPEND
	copying        *copying // nil: no copies of what is sent are made
	// copyTimes are how often it is looked for copies to make, and how long a server has to make its own; nil: as they are.
	copyTimes func() (every, wait time.Duration)
	clock     func() time.Time // of the tokens; nil: time.Now
	// estimates is set once the server's sizes are known not to be exact.
	estimates atomic.Bool
}

var (
	_ backends.Store  = (*Store)(nil)
	_ backends.Reader = (*Store)(nil)
)

// Option changes a store that New makes.
type Option func(*Store)

// WithLogger gives the store a log [none].
func WithLogger(log zerolog.Logger) Option { return func(s *Store) { s.log = log } }

// New returns a store that wants to be configured.
func New(options ...Option) *Store {
	s := &Store{settings: defaults(), log: zerolog.Nop()}
	for _, o := range options {
		o(s)
	}
	return s
}

// Describe says what the backend is.
func (s *Store) Describe(context.Context) (backends.Description, error) {
	d := backends.Description{
		Settings:    schema(),
		Name:        "imap",
		Version:     remote.Version(),
		Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken},
		ExactSizes:  !s.estimates.Load(),
		Limits:      backends.Limits{FetchesAtOnce: 32, RemovalsAtATime: 500},
		Reading: backends.Reading{
			Disposals: []backends.Disposal{backends.DisposalTrash, backends.DisposalMark}, MarksSeen: true, Folders: true,
		},
	}
	switch {
	case s.settings.OAuth.Given(): // who has no passwords is asked with none
		d.Credentials = []backends.CredentialKind{backends.CredentialToken, backends.CredentialImpersonation}
	case s.settings.Master.User != "":
		d.Credentials = append(d.Credentials, backends.CredentialImpersonation)
	}
	d.Capabilities = backends.CapabilitiesOf(s)
	d.Capabilities.Receiver = s.settings.Delivery.Given() || s.settings.Delivery.Append
	d.Capabilities.Sender = s.settings.Sending.Address != ""
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
	tokens, err := s.newTokens(set, given)
	if err != nil {
		return err
	}
	s.tls, s.tokens = config, tokens
	s.domains, s.hostname, s.stateDir = given.Domains, given.Hostname, given.StateDir
	s.uidl, _ = uidl.Parse(set.UIDL) // read has checked it
	s.pool = newConnections(set.Pool)
	s.paces.perSecond = set.appendsPerSecond()
	return s.startCopying()
}

// Health opens a connection and reads the greeting.
func (s *Store) Health(ctx context.Context) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return logout(ctx, client)
}

func logout(ctx context.Context, client *client) error {
	_, err := call(ctx, client, func() (struct{}, error) { return struct{}{}, client.Logout().Wait() })
	_ = client.Close()
	return failure("logout", err, backends.Temporary)
}

// Login verifies a credential at the server. The connection is kept for the session that
// most often follows.
func (s *Store) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	account, err := s.verified(ctx, c)
	if err != nil && s.byToken(c) && backends.AsFailure(err).Whole {
		// The gateway has proved who it is, and what it takes from them can wait for the provider.
		s.log.Warn().Err(err).Str("user", c.User).Msg("no mailbox can be opened now: the login is taken, as the gateway answers for it")
		return s.account(c), nil
	}
	return account, err
}

// passes says of a failure that it says nothing of the mailbox: an outage, or connections that are all in use.
func passes(err error) bool {
	kind := backends.KindOf(err)
	return kind == backends.Temporary || kind == backends.Throttled
}

// verified is Login that says of a mailbox whether it is there: if it was opened lately, it is.
func (s *Store) verified(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if err := s.accepts(c); err != nil {
		return backends.Account{}, err
	}
	conn, err := s.acquire(ctx, c)
	if err == nil {
		if c.Kind == backends.CredentialImpersonation {
			err = s.inboxExists(ctx, conn)
		}
		s.pool.release(conn, err == nil)
	}
	switch {
	case err == nil:
		s.copyWith(c)
	case s.byToken(c) && passes(err) && s.letIn.known(s.loginName(c), s.now()):
		s.log.Warn().Err(err).Str("user", c.User).Msg("the mailbox cannot be opened now: the login is taken, as it was opened before")
		err = nil
	}
	if err != nil {
		return backends.Account{}, err
	}
	return s.account(c), nil
}

// inboxExists finds out whether there is anybody to act for: some servers let a master user
// become somebody who does not exist.
func (s *Store) inboxExists(ctx context.Context, conn *connection) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	_, err := call(ctx, conn.client, func() (*imap.StatusData, error) {
		return conn.client.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
	})
	err = failure("look for the inbox", err, backends.NotFound)
	if backends.KindOf(err) == backends.NotFound {
		err = backends.Fail(backends.BadCredentials, "%w", err)
	}
	return err
}

func (s *Store) accepts(c backends.Credential) error {
	switch {
	case s.pool == nil:
		return backends.Fail(backends.Temporary, "the store is not configured")
	case c.Kind == backends.CredentialImpersonation && !s.settings.actsForUsers():
		return backends.Fail(backends.Unsupported, "acting for a user needs \"master\" or \"oauth\" in the settings")
	case c.Kind == backends.CredentialPassword && s.tokens != nil:
		return backends.Fail(backends.Unsupported, "a store with \"oauth\" is asked with no password")
	case c.Kind == backends.CredentialImpersonation && c.ActAs != "" && !fold.Equal(c.ActAs, c.User):
		// The master user could open any mailbox, and the server cannot be asked whether the
		// user may.
		return backends.Fail(backends.Permanent, "acting for %s, nobody knows whether that opens the mailbox of %s", c.User, c.ActAs).
			WithCode("5.7.1").Say("that mailbox is opened with the account's own password alone")
	case c.Kind != backends.CredentialPassword && c.Kind != backends.CredentialToken && c.Kind != backends.CredentialImpersonation:
		return backends.Fail(backends.Unsupported, "an IMAP server is not asked with a %s", c.Kind)
	case c.User == "" || len(c.Secret) == 0 && c.Kind != backends.CredentialImpersonation,
		strings.ContainsAny(c.User+c.ActAs+string(c.Secret), "\x00\r\n"):
		return backends.Fail(backends.BadCredentials, "the user name or the secret is empty or cannot be sent")
	}
	return nil
}

// Close ends all connections that no session has.
func (s *Store) Close() error {
	s.copying.end()
	if s.tokens != nil {
		s.tokens.Close()
	}
	if s.pool != nil {
		s.pool.close()
	}
	return nil
}

func hostPort(address string) (string, int) {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return host, n
}
