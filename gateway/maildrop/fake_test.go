package maildrop_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// fakeStore is a store with one user, alice with the password sesame, whose every answer a
// test can change.
type fakeStore struct {
	mu       sync.Mutex
	entries  []backends.Entry
	bodies   map[backends.MessageID]string
	removed  []backends.MessageID
	batches  []int
	seen     backends.OpenRequest
	drops    int // open now
	opened   int
	fetches  int
	writerTo bool
	written  int // contents that have written themselves
	disposal backends.Disposal
	marks    []string
	onMark   error
	limits   backends.Limits
	said     backends.Description
	words    bool // the gateway's word is good
	requests []backends.FetchRequest
	measures []backends.MeasureRequest
	ends     chan struct{}     // closed at the end of all open maildrops; nil: they have none
	told     chan struct{}     // closed when the end has been told
	folders  map[string]string // a folder's id, by each of its names; nil: the store does not say it
	others   []string          // users beside alice, with her password and her messages
	renders  func(body string, form backends.Rendering) string

	onOpen   func(ctx context.Context) error
	onEntry  func(ctx context.Context, i int) error // before the i-th entry
	onFetch  func(ctx context.Context, request backends.FetchRequest) (backends.Content, error)
	onRemove func(ctx context.Context, ids []backends.MessageID) ([]backends.Removal, error)
	onClose  func() error
	// onMeasure changes what is said of a message; an error ends the answer.
	onMeasure func(*backends.Measured) error
}

func (f *fakeStore) add(id, body string) {
	f.entries = append(f.entries, backends.Entry{ID: backends.MessageID(id), Size: int64(len(body)), Exact: true})
	if f.bodies == nil {
		f.bodies = make(map[backends.MessageID]string)
	}
	f.bodies[backends.MessageID(id)] = body
}

func (f *fakeStore) Describe(context.Context) (backends.Description, error) {
	said := f.said
	said.Name, said.Limits = "fake", f.limits
	return said, nil
}
func (f *fakeStore) Configure(context.Context, backends.Settings) error { return nil }
func (f *fakeStore) Health(context.Context) error                       { return nil }
func (f *fakeStore) Close() error                                       { return nil }

func (f *fakeStore) Login(_ context.Context, c backends.Credential) (backends.Account, error) {
	proved := string(c.Secret) == "sesame" || f.words && c.Kind == backends.CredentialImpersonation
	user := strings.TrimSuffix(c.User, "@sakes.example")
	if (user != "alice" && !slices.Contains(f.others, user)) || !proved {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "wrong")
	}
	return backends.Account{ID: user + "-id"}, nil
}

func (f *fakeStore) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	f.mu.Lock()
	f.seen = request
	f.mu.Unlock()
	if f.onOpen != nil {
		if err := f.onOpen(ctx); err != nil {
			return nil, err
		}
	}
	account, err := f.Login(ctx, request.Credential)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drops++
	f.opened++
	return &fakeDrop{fakeStore: f, account: account, folderID: f.folders[request.Folder]}, nil
}

func (f *fakeStore) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drops
}

type fakeDrop struct {
	*fakeStore
	account  backends.Account
	folderID string
}

// Opened implements [backends.Maildrop].
func (d *fakeDrop) Opened() backends.Opened {
	return backends.Opened{Account: d.account, FolderID: d.folderID, AfterLoss: d.afterLoss}
}

func (d *fakeDrop) afterLoss(f func()) (stop func() bool) {
	if d.ends != nil {
		d.told = make(chan struct{})
		go func() {
			<-d.ends
			f()
			close(d.told)
		}()
	}
	return func() bool { return true }
}

func (d *fakeDrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		for i, e := range d.entries {
			if d.onEntry != nil {
				if err := d.onEntry(ctx, i); err != nil {
					yield(backends.Entry{}, err)
					return
				}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (d *fakeDrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	d.mu.Lock()
	d.fetches++
	d.requests = append(d.requests, request)
	d.mu.Unlock()
	if d.onFetch != nil {
		return d.onFetch(ctx, request)
	}
	body, ok := d.bodies[request.ID]
	if !ok {
		return nil, backends.Fail(backends.NotFound, "gone")
	}
	body = d.rendered(body, request.Rendering)
	c := &fakeContent{Reader: strings.NewReader(body)}
	if d.writerTo {
		return &writingContent{fakeContent: c, store: d.fakeStore}, nil
	}
	return c, nil
}

// rendered is a message in a form: as it is where the store does not render.
func (d *fakeDrop) rendered(body string, form backends.Rendering) string {
	if d.renders == nil {
		return body
	}
	return d.renders(body, form)
}

// Measure implements [backends.Measurer], where the store says that it measures: without a
// fetch.
func (d *fakeDrop) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		d.mu.Lock()
		d.measures = append(d.measures, request)
		d.mu.Unlock()
		for _, id := range request.IDs {
			if ctx.Err() != nil {
				yield(backends.Measured{}, ctx.Err())
				return
			}
			body := d.rendered(d.bodies[id], request.Rendering)
			m := backends.Measured{ID: id, Size: int64(len(body))}
			if request.Top {
				m.Top = []byte(body) // they are all header
			}
			if d.onMeasure != nil {
				if err := d.onMeasure(&m); err != nil {
					yield(backends.Measured{}, err)
					return
				}
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// FetchMany implements [backends.ManyFetcher]: all of the messages are fetched at once.
func (d *fakeDrop) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	c := &fakeContents{}
	c.ctx, c.cancel = context.WithCancel(ctx)
	for i := range request.IDs {
		f := &fakeFetched{done: make(chan struct{})}
		c.all = append(c.all, f)
		go func() {
			defer close(f.done)
			f.content, f.err = d.Fetch(c.ctx, request.One(i))
		}()
	}
	return c, nil
}

type fakeContents struct {
	ctx    context.Context
	cancel context.CancelFunc
	all    []*fakeFetched
}

type fakeFetched struct {
	done    chan struct{}
	content backends.Content
	err     error
}

func (c *fakeContents) Next(ctx context.Context) (backends.Content, error) {
	if len(c.all) == 0 {
		return nil, io.EOF
	}
	f := c.all[0]
	select {
	case <-f.done:
		c.all = c.all[1:]
		return f.content, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeContents) Close() error {
	c.cancel()
	for _, f := range c.all {
		if <-f.done; f.content != nil {
			_ = f.content.Close()
		}
	}
	c.all = nil
	return nil
}

func (d *fakeDrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	d.disposal = disposal
	d.batches = append(d.batches, len(ids))
	if d.onRemove != nil {
		return d.onRemove(ctx, ids)
	}
	return d.removeAll(ids), nil
}

func (d *fakeDrop) removeAll(ids []backends.MessageID) (out []backends.Removal) {
	for _, id := range ids {
		d.removed = append(d.removed, id)
		out = append(out, backends.Removal{ID: id})
	}
	return out
}

func (d *fakeDrop) Close() error {
	d.mu.Lock()
	d.drops--
	d.mu.Unlock()
	if d.onClose != nil {
		return d.onClose()
	}
	return nil
}

// fakeContent reads from Reader; what ends it can be any error.
type fakeContent struct {
	io.Reader
	closed bool
}

func (c *fakeContent) Size() int64  { return -1 }
func (c *fakeContent) Close() error { c.closed = true; return nil }

// writingContent can write itself, and notes at its store that it did.
type writingContent struct {
	*fakeContent
	store *fakeStore
}

func (c *writingContent) WriteTo(w io.Writer) (int64, error) {
	c.store.mu.Lock()
	c.store.written++
	c.store.mu.Unlock()
	return c.Reader.(io.WriterTo).WriteTo(w)
}

// gateway is a backend over a fake store.
type gateway struct {
	t       *testing.T
	store   *fakeStore
	locks   *folder.MemoryLocks
	backend *maildrop.Backend
	log     *strings.Builder
}

func newGateway(t *testing.T, change ...func(*maildrop.Options)) *gateway {
	g := &gateway{t: t, store: &fakeStore{}, locks: &folder.MemoryLocks{}, log: &strings.Builder{}}
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(g.store)))
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(zerolog.SyncWriter(g.log))
	o := maildrop.Options{
		Log: log, Locks: g.locks, PlaintextLogin: true, Hostname: "mail.sakes.example",
		Authenticator: login.NewAuthenticator(login.AuthenticatorOptions{
			Log: log, Guard: login.NewGuard(login.GuardOptions{Log: log, Floor: time.Millisecond}),
			Table: func() *stores.Table { return table },
		}),
	}
	for _, c := range change {
		c(&o)
	}
	g.backend = maildrop.New(o)
	return g
}

func (g *gateway) session() pop3.Session {
	g.t.Helper()
	s, err := g.backend.NewSession(g.t.Context(), pop3.Conn{ID: "s1", Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}})
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// login opens alice's maildrop, and closes it at the test's end.
func (g *gateway) login() *pop3.Login {
	g.t.Helper()
	drop, err := g.session().Password(g.t.Context(), "alice@sakes.example", []byte("sesame"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = drop.Close() })
	return drop
}

// idle checks that nothing is held.
func (g *gateway) idle() {
	g.t.Helper()
	if n := g.locks.Len(); n != 0 {
		g.t.Errorf("%d locks are held", n)
	}
	if n := g.store.open(); n != 0 {
		g.t.Errorf("%d of the store's maildrops are open", n)
	}
}

func code(err error) string {
	if reply, ok := errors.AsType[*pop3.Error](err); ok {
		return "-ERR [" + reply.Code + "]"
	}
	if err != nil {
		return "not a *pop3.Error: " + err.Error()
	}
	return "+OK"
}

func read(t *testing.T, drop pop3.Maildrop, n, top int) (string, error) {
	t.Helper()
	c, err := drop.Open(t.Context(), n, top)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	octets, err := io.ReadAll(c)
	return string(octets), err
}
