package routing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
	"github.com/dipylon/dipylon/test/databases"
)

// fakeStore is an honest store: it keeps one copy for each key and recipient. Its hooks make it
// something else.
type fakeStore struct {
	mu        sync.Mutex
	copies    map[string][]string // by recipient: contents
	taken     map[string]bool     // key and recipient
	delivered []backends.Delivery
	sent      []backends.Delivery
	resolved  []backends.ResolveQuery
	seen      backends.Credential
	limits    backends.Limits
	account   backends.Account

	onLogin   func(ctx context.Context) error
	onMaySend func(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error)
	onResolve func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error)
	// before is asked with the content not read, after with every copy kept; verdict for
	// each recipient, before its copy is kept.
	before  func(ctx context.Context, d backends.Delivery) error
	after   func(ctx context.Context, d backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error)
	verdict func(recipient string) *backends.Failure
	choose  func(d backends.Delivery, i int) *backends.Failure // likewise, of the recipient with a number
}

// receiver is a store that only takes mail in, sender one that also sends.
type (
	receiver struct{ *fakeStore }
	sender   struct{ receiver }
	plain    struct{ *fakeStore }
	judge    struct{ receiver } // one that says who may send as what
)

func newFakeStore() *fakeStore {
	return &fakeStore{
		copies: make(map[string][]string), taken: make(map[string]bool),
		account: backends.Account{ID: "alice-id", Address: "alice@sakes.example", Addresses: []string{"alice@sakes.example", "Alias@Sakes.example", "@shared.example"}},
	}
}

func (f *fakeStore) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Limits: f.limits}, nil
}
func (f *fakeStore) Configure(context.Context, backends.Settings) error { return nil }
func (f *fakeStore) Health(context.Context) error                       { return nil }
func (f *fakeStore) Close() error                                       { return nil }

func (f *fakeStore) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	f.mu.Lock()
	f.seen = c
	f.mu.Unlock()
	if f.onLogin != nil {
		if err := f.onLogin(ctx); err != nil {
			return backends.Account{}, err
		}
	}
	if (c.User != "alice@sakes.example" && c.User != "alice") || string(c.Secret) != "sesame" {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "wrong")
	}
	return f.account, nil
}

// MaySend implements [backends.SendRights].
func (f judge) MaySend(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
	return f.onMaySend(ctx, q)
}

func (f receiver) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	f.mu.Lock()
	f.resolved = append(f.resolved, q)
	f.mu.Unlock()
	if f.onResolve != nil {
		return f.onResolve(ctx, q)
	}
	var out []backends.Verdict
	for _, r := range backends.Addresses(q.Recipients) {
		v := backends.Verdict{Recipient: r}
		if strings.HasPrefix(r, "nobody") {
			v.Failure = backends.Fail(backends.NotFound, "no %s", r)
		}
		out = append(out, v)
	}
	return out, nil
}

func (f receiver) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	f.mu.Lock()
	f.delivered = append(f.delivered, d)
	f.mu.Unlock()
	return f.take(ctx, d, content)
}

func (f sender) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if _, err := f.Login(ctx, c); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.sent = append(f.sent, d)
	f.mu.Unlock()
	return f.take(ctx, d, content)
}

func (f *fakeStore) take(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if f.before != nil {
		if err := f.before(ctx, d); err != nil {
			return nil, err
		}
	}
	octets, err := io.ReadAll(content)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "content: %w", err)
	}
	if int64(len(octets)) != d.Size {
		return nil, backends.Fail(backends.Permanent, "%d octets came, %d were told", len(octets), d.Size)
	}
	f.mu.Lock()
	var verdicts []backends.Verdict
	for i, r := range backends.Addresses(d.Recipients) {
		v := backends.Verdict{Recipient: r}
		if f.verdict != nil {
			v.Failure = f.verdict(r)
		}
		if f.choose != nil {
			v.Failure = f.choose(d, i)
		}
		if v.Failure == nil && !f.taken[d.Key+" "+r] {
			f.taken[d.Key+" "+r] = true
			f.copies[r] = append(f.copies[r], string(octets))
		}
		verdicts = append(verdicts, v)
	}
	f.mu.Unlock()
	if f.after != nil {
		return f.after(ctx, d, verdicts)
	}
	return verdicts, nil
}

func (f *fakeStore) has(recipient string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.copies[recipient])
}

// gateway is two stores with a router: sakes takes mail in, tea sends too.
type gateway struct {
	t          *testing.T
	sakes, tea *fakeStore
	options    routing.Options
	db         *state.DB
	log        *strings.Builder
	tempDir    string // of messages on their way
}

// openDB is a database of the test's own.
func openDB(t *testing.T) *state.DB {
	t.Helper()
	return databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
}

// on has a gateway use a database that is there.
func on(db *state.DB) func(*gateway) {
	return func(g *gateway) { g.db = db }
}

func newGateway(t *testing.T, change ...func(*gateway)) *gateway {
	g := &gateway{t: t, sakes: newFakeStore(), tea: newFakeStore(), log: &strings.Builder{}, tempDir: t.TempDir()}
	log := zerolog.New(zerolog.SyncWriter(g.log))
	router := stores.NewRouter(g.table())
	g.options = routing.Options{
		Log: log, Router: router, Hostname: "mail.sakes.example", Buffers: buffer.InFolder(g.tempDir), PlaintextLogin: true,
		Authenticator: login.NewAuthenticator(login.AuthenticatorOptions{
			Log: log, Guard: login.NewGuard(login.GuardOptions{Log: log, Floor: time.Millisecond}),
			Table: router.Table,
		}),
	}
	for _, c := range change {
		c(g)
	}
	if g.options.Dedup == nil {
		g.options.Dedup = g.dedup()
	}
	return g
}

func (g *gateway) table(sources ...stores.Source) *stores.Table {
	if sources == nil {
		sources = []stores.Source{
			stores.Config{Name: "sakes", Domains: []string{"sakes.example", "shared.example"}, Default: true}.In(storestest.In(receiver{g.sakes})),
			stores.Config{Name: "tea", Domains: []string{"tea.example"}}.In(storestest.In(sender{receiver{g.tea}})),
		}
	}
	table, err := stores.NewTable(sources...)
	if err != nil {
		g.t.Fatal(err)
	}
	return table
}

// dedup is one on the gateway's database, as after a restart.
func (g *gateway) dedup() *routing.StoredDedup {
	g.t.Helper()
	if g.db == nil {
		g.db = openDB(g.t)
	}
	dedup, err := routing.OpenDedup(g.t.Context(), routing.DedupOptions{Log: zerolog.New(zerolog.SyncWriter(g.log)), DB: g.db})
	if err != nil {
		g.t.Fatal(err)
	}
	return dedup
}

// remembered is how many attempts the deduplication remembers.
func (g *gateway) remembered() int {
	g.t.Helper()
	n, err := g.options.Dedup.(*routing.StoredDedup).Len(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

func conn() smtp.Conn {
	return smtp.Conn{ID: "s1", Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, Helo: func() string { return "client" }}
}

func (g *gateway) mx() smtp.Session {
	s, err := routing.NewMX(g.options).NewSession(g.t.Context(), conn())
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// submission is a session in which alice has logged in.
func (g *gateway) submission() smtp.Session {
	g.t.Helper()
	s, err := routing.NewSubmission(g.options).NewSession(g.t.Context(), conn())
	if err != nil {
		g.t.Fatal(err)
	}
	if err := authenticate(g.t, s, "PLAIN", "\x00alice@sakes.example\x00sesame"); err != nil {
		g.t.Fatal(err)
	}
	return s
}

func authenticate(t *testing.T, s smtp.Session, mechanism string, responses ...string) error {
	exchange, err := s.Authenticate(t.Context(), mechanism)
	if err != nil {
		return err
	}
	for _, response := range responses {
		_, done, err := exchange.Next(t.Context(), []byte(response))
		if err != nil || done != nil {
			return err
		}
	}
	return errors.New("the exchange goes on")
}

// trace is the field that the engine makes, different each time.
var traces int

func trace() string {
	traces++
	return lastTrace()
}

// lastTrace is the last one.
func lastTrace() string {
	return fmt.Sprintf("Received: from client\r\n\tby mail.sakes.example with ESMTP id T%04d;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n", traces)
}

// path is what stands between brackets in MAIL and RCPT, as the engine reads it.
func path(t *testing.T, text string) address.Path {
	t.Helper()
	p, rest, err := address.ParsePath("<" + text + ">")
	if err != nil || rest != "" {
		t.Fatalf("<%s>: %v, %q", text, err, rest)
	}
	return p
}

// send plays one transaction and returns the first reply that is not good, as "550 5.1.1".
func send(t *testing.T, s smtp.Session, from string, to []string, message string) string {
	t.Helper()
	reply, _ := sendText(t, s, from, to, message)
	return reply
}

func sendText(t *testing.T, s smtp.Session, from string, to []string, message string) (reply, text string) {
	t.Helper()
	defer s.Reset()
	if err := s.Mail(t.Context(), path(t, from), smtp.MailOptions{ID: "t1"}); err != nil {
		return code(err), err.Error()
	}
	for _, r := range to {
		if err := s.Rcpt(t.Context(), path(t, r), smtp.RcptOptions{}); err != nil {
			return code(err), err.Error()
		}
	}
	text, err := s.Data(t.Context(), trace(), strings.NewReader(message))
	if err != nil {
		return code(err), err.Error()
	}
	return "250", text
}

func code(err error) string {
	if reply, ok := errors.AsType[*smtp.Error](err); ok {
		return fmt.Sprintf("%d %s", reply.Code, reply.Enhanced)
	}
	return "not a *smtp.Error: " + err.Error()
}

const letter = "From: Alice <alice@sakes.example>\r\nSubject: x\r\n\r\nBody\r\n"
