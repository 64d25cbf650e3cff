package login_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// fakeStore is a store with alice, whose password is sesame and whose token is t0ken.
type fakeStore struct {
	description backends.Description
	down        bool // Describe fails
	exchange    func(mechanism string) sasl.Exchange[backends.Account]

	mu     sync.Mutex
	logins []backends.Credential
	fail   error // what a login with a good credential comes to
}

func (f *fakeStore) Describe(context.Context) (backends.Description, error) {
	if f.down {
		return backends.Description{}, backends.Fail(backends.Temporary, "down")
	}
	return f.description, nil
}
func (f *fakeStore) Configure(context.Context, backends.Settings) error { return nil }
func (f *fakeStore) Health(context.Context) error                       { return nil }
func (f *fakeStore) Close() error                                       { return nil }

func (f *fakeStore) Login(_ context.Context, c backends.Credential) (backends.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Secret = slices.Clone(c.Secret)
	f.logins = append(f.logins, c)
	right := false
	switch c.Kind {
	case backends.CredentialPassword:
		right = string(c.Secret) == "sesame"
	case backends.CredentialToken:
		right = string(c.Secret) == "t0ken"
	case backends.CredentialImpersonation, backends.CredentialCertificate:
		right = true
	case backends.CredentialGrant:
		right = string(c.Secret) == "grant"
	}
	if !right || !strings.EqualFold(c.User, "alice@sakes.example") && c.User != "alice" {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "wrong")
	}
	return backends.Account{ID: "alice-id"}, f.fail
}

// seen are the credentials that the store was shown since the last time.
func (f *fakeStore) seen() []backends.Credential {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.logins
	f.logins = nil
	return all
}

// conductor is a store that conducts exchanges.
type conductor struct{ *fakeStore }

func (c conductor) Authenticate(_ context.Context, mechanism string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	return c.exchange(mechanism), nil
}

// fakeClient is a connection; each has its own.
type fakeClient struct {
	peer        backends.Peer
	state       *tls.ConnectionState
	certificate []byte
	entries     []login.Entry
	account     string // of the last one that was let in
}

func newClient() *fakeClient {
	return &fakeClient{peer: backends.Peer{Address: "192.0.2.7:4711", Protocol: "pop3", TLS: true, Session: "s1"}}
}

func (c *fakeClient) Peer() backends.Peer       { return c.peer }
func (c *fakeClient) Protocol() string          { return "pop3s" }
func (c *fakeClient) TLS() *tls.ConnectionState { return c.state }
func (c *fakeClient) ServerCertificate() []byte { return c.certificate }

func (c *fakeClient) Enter(ctx context.Context, e login.Entry) error {
	c.entries = append(c.entries, e)
	a, err := e.Open(ctx)
	if err == nil {
		err = e.Check(a)
	}
	if err == nil {
		c.account = a.ID
	}
	return err
}

// fakePasswords keeps application passwords in memory.
type fakePasswords struct {
	mu     sync.Mutex
	all    []login.AppPassword
	used   []string
	owners []string
	fail   error
}

func (f *fakePasswords) Find(_ context.Context, store, account string) (found []login.AppPassword, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.all {
		if p.Store == store && p.Account == account {
			found = append(found, p)
		}
	}
	return found, f.fail
}

func (f *fakePasswords) Keys(ctx context.Context, store, account string) (keys []login.ScramKeys, err error) {
	all, err := f.Find(ctx, store, account)
	for _, p := range all {
		keys = append(keys, login.ScramKeys{ID: p.ID, StoredKey: p.StoredKey, ServerKey: p.ServerKey})
	}
	return keys, err
}

func (f *fakePasswords) FindOne(ctx context.Context, store, account, id string) (*login.AppPassword, error) {
	all, err := f.Find(ctx, store, account)
	if i := slices.IndexFunc(all, func(p login.AppPassword) bool { return p.ID == id }); i >= 0 && err == nil {
		return &all[i], nil
	}
	return nil, err
}

func (f *fakePasswords) Used(_ context.Context, p login.AppPassword, _ time.Time, from string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = append(f.used, p.ID+" "+from)
	f.owners = append(f.owners, p.Owner)
	return nil
}

func (f *fakePasswords) SaltKey(context.Context) ([]byte, error) { return []byte("salt key"), f.fail }

// world is an authenticator before one store, which has sakes.example.
type world struct {
	*login.Authenticator
	t         *testing.T
	store     *fakeStore
	table     []*place
	tables    func() *stores.Table // in place of table, if it is set
	passwords *fakePasswords
	devices   *fakeDevices
	policy    login.Policy
	log       *strings.Builder
	now       time.Time
}

// place is a store in the table of a world, which a test may change at any time.
type place struct {
	stores.Config
	Backend backends.Store
}

// stores is the table as it is now.
func (w *world) stores() *stores.Table {
	if w.tables != nil {
		return w.tables()
	}
	var sources []stores.Source
	for _, p := range w.table {
		sources = append(sources, p.In(storestest.In(p.Backend)))
	}
	return storestest.Table(sources...)
}

const (
	password      = backends.CredentialPassword
	token         = backends.CredentialToken
	certificate   = backends.CredentialCertificate
	grant         = backends.CredentialGrant
	impersonation = backends.CredentialImpersonation
)

func newWorld(t *testing.T, kinds ...backends.CredentialKind) *world {
	w := &world{t: t, log: &strings.Builder{}, passwords: &fakePasswords{}, devices: &fakeDevices{}, now: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)}
	w.store = &fakeStore{description: backends.Description{Name: "fake", Credentials: kinds}}
	w.table = []*place{{stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Default: true}, w.store}}
	log := zerolog.New(zerolog.SyncWriter(w.log))
	w.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: log, Guard: login.NewGuard(login.GuardOptions{Log: log, Floor: time.Millisecond}),
		Table: w.stores, Passwords: w.passwords, Devices: w.devices, Now: func() time.Time { return w.now },
	})
	return w
}

// quiet is the log of an authenticator that a test makes by itself.
func (w *world) quiet() zerolog.Logger { return zerolog.New(zerolog.SyncWriter(w.log)) }

// change puts another policy to use.
func (w *world) change(f func(*login.Policy)) {
	f(&w.policy)
	w.SetPolicy(w.policy)
}

// prepared are application passwords of alice's: making one takes a while, as it should.
var prepared = sync.OnceValue(func() (all [3]struct {
	made login.AppPassword
	text string
},
) {
	for i := range all {
		var err error
		all[i].made, all[i].text, err = login.NewAppPassword([]byte("salt key"), login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
		if err != nil {
			panic(err)
		}
	}
	return all
})

// add gives alice an application password, one of three.
func (w *world) add(change func(*login.AppPassword)) (text string) {
	p := prepared()[len(w.passwords.all)]
	p.made.Created = w.now
	if change != nil {
		change(&p.made)
	}
	w.passwords.all = append(w.passwords.all, p.made)
	return p.text
}

// converse conducts an exchange: the client is asked with each challenge, nil at first.
func (w *world) converse(client login.Client, mechanism string, say func(challenge []byte) []byte) error {
	exchange, err := w.Begin(w.t.Context(), client, mechanism)
	if err != nil {
		return err
	}
	defer exchange.Close() //nolint:errcheck // the outcome is known by then
	var challenge []byte
	for range 10 {
		next, done, err := exchange.Next(w.t.Context(), say(challenge))
		if err != nil || done != nil {
			return err
		}
		if challenge = next; challenge == nil {
			challenge = []byte{}
		}
	}
	return errors.New("the exchange has no end")
}

// script is a client that says these things; nil is no initial response.
func script(lines ...[]byte) func([]byte) []byte {
	return func([]byte) []byte {
		line := lines[0]
		lines = lines[1:]
		return line
	}
}

func kindOf(err error) backends.Kind { return backends.KindOf(err) }
