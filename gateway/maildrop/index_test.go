package maildrop_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// newIndex is an index in a database of its own.
func newIndex(t testing.TB) *index.Index {
	t.Helper()
	db := databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	return index.New(index.Options{Log: zerolog.Nop(), DB: db})
}

// newKeys are folders' keys in a database, with an index there.
func newKeys(db *state.DB) *folder.Keys {
	return folder.NewKeys(db, index.New(index.Options{Log: zerolog.Nop(), DB: db}))
}

func withIndex(x *index.Index) func(*maildrop.Options) {
	return func(o *maildrop.Options) { o.Index = x }
}

// uidls are a session's unique-ids, in order; the derived ones shortened to "~".
func (g *gateway) uidls() string {
	g.t.Helper()
	drop, err := g.session().Password(g.t.Context(), "alice@sakes.example", []byte("sesame"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = drop.Close() }()
	var all []string
	for n := range drop.Len() {
		uidl := drop.UIDL(n + 1)
		if strings.HasPrefix(uidl, "~1") {
			uidl = "~"
		}
		all = append(all, uidl)
	}
	return strings.Join(all, " ")
}

// TestSizesAreRemembered (I6): what was rendered to know its size is not rendered again, by no
// later session.
func TestSizesAreRemembered(t *testing.T) {
	g := newGateway(t, withIndex(newIndex(t)))
	for i := range 20 {
		id := fmt.Sprint("m", i)
		g.store.add(id, letter+strings.Repeat("x\r\n", i))
		g.store.entries[i].Exact = false
	}
	for session := range 3 {
		drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
		if err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			if size, err := drop.Size(t.Context(), n+1); err != nil || size != int64(len(letter)+3*n) {
				t.Errorf("session %d: message %d has %d octets (%v)", session, n+1, size, err)
			}
		}
		_ = drop.Close()
	}
	if g.store.fetches != 20 {
		t.Errorf("%d fetches for the sizes of 20 messages", g.store.fetches)
	}
}

// TestWrongSizesAreRemembered (I6): a store that tells a wrong size is found out once.
func TestWrongSizesAreRemembered(t *testing.T) {
	g := newGateway(t, withIndex(newIndex(t)))
	g.store.add("m", letter)
	g.store.entries[0].Size = 7
	for _, want := range []int64{7, int64(len(letter))} {
		drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
		if err != nil {
			t.Fatal(err)
		}
		if size, err := drop.Size(t.Context(), 1); err != nil || size != want {
			t.Errorf("%d octets (%v), wanted %d", size, err, want)
		}
		if _, err := read(t, drop, 1, -1); err != nil {
			t.Error(err)
		}
		_ = drop.Close()
	}
}

// TestFastSizes: estimates are told as they are, all through a session, and nothing is read
// for its size where there is one.
func TestFastSizes(t *testing.T) {
	g := newGateway(t, withIndex(newIndex(t)), with(func(p *policy.Policy) { p.FastSizes = true }))
	g.store.add("m", letter)
	g.store.entries[0] = backends.Entry{ID: "m", Size: 7}
	drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if size, err := drop.Size(t.Context(), 1); err != nil || size != 7 {
			t.Errorf("%d octets (%v), wanted the estimate", size, err)
		}
		if _, err := read(t, drop, 1, -1); err != nil {
			t.Error(err)
		}
	}
	_ = drop.Close()
	if size, err := g.login().Size(t.Context(), 1); err != nil || size != int64(len(letter)) {
		t.Errorf("%d octets (%v), though it was read before", size, err)
	}
}

// TestMeasuredInTheBackground: sizes are found before a client asks for them, so many at once,
// and each message is read once.
func TestMeasuredInTheBackground(t *testing.T) {
	g := newGateway(t, withIndex(newIndex(t)), func(o *maildrop.Options) { o.Measuring = &maildrop.Measuring{AtOnce: 2} })
	for i := range 12 {
		g.store.entries = append(g.store.entries, backends.Entry{ID: backends.MessageID(fmt.Sprint("m", i)), Size: -1})
	}
	var now, most atomic.Int32
	var all sync.WaitGroup
	all.Add(12)
	g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
		most.Store(max(most.Load(), now.Add(1)))
		return &leaving{fakeContent{Reader: strings.NewReader(letter)}, func() { now.Add(-1); all.Done() }}, nil
	}
	drop := g.login()
	all.Wait()
	for n := range 12 {
		if size, err := drop.Size(t.Context(), n+1); err != nil || size != int64(len(letter)) {
			t.Errorf("%d octets (%v)", size, err)
		}
	}
	if most.Load() > 2 || g.store.fetches != 12 {
		t.Errorf("%d at once, %d in all", most.Load(), g.store.fetches)
	}
}

// leaving tells of its Close.
type leaving struct {
	fakeContent
	left func()
}

func (l *leaving) Close() error {
	l.left()
	return l.fakeContent.Close()
}

// TestMeasuringRests: the background takes no more octets a second than it may, and a client
// that asks does not wait for that.
func TestMeasuringRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, func(o *maildrop.Options) { o.Measuring = &maildrop.Measuring{AtOnce: 1, Octets: int64(len(letter))} })
		for i := range 10 {
			g.store.add(fmt.Sprint("m", i), letter)
			g.store.entries[i].Exact = false
		}
		drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if g.store.fetches != 3 {
			t.Errorf("%d messages of a second each were read after 2.5 seconds", g.store.fetches)
		}
		for n := range 10 {
			if _, err := drop.Size(t.Context(), n+1); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("a client has waited until %s", took)
		}
		_ = drop.Close()
	})
}

// TestImportedUIDLs (I7): after a migration the messages, under other ids, have the unique-ids
// that clients remember: those of the import, in this and each later session.
func TestImportedUIDLs(t *testing.T) {
	x := newIndex(t)
	g := newGateway(t, withIndex(x))
	header := func(n int) string {
		return fmt.Sprintf("Received: by new\r\nFrom: a@b.example\r\nSubject: letter %d\r\nMessage-ID: <%d@b.example>\r\n\r\n", n, n)
	}
	var imports []index.Import
	for n := range 6 {
		old := strings.Replace(header(n), "by new", "by old", 1)
		f, err := index.FingerprintOf(strings.NewReader(old))
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, index.Import{UIDL: fmt.Sprint("old-", n), MessageID: f.MessageID, Digest: f.Digest, Digested: true, Size: -1})
	}
	for n := range 4 { // two are not copied yet
		g.store.add(fmt.Sprint("new-", n), header(n)+"text\r\n")
	}
	g.store.add("stranger", header(17))
	if err := x.Import(t.Context(), folder.Key{Store: "sakes", Account: "alice-id"}, imports); err != nil {
		t.Fatal(err)
	}
	const want = "old-0 old-1 old-2 old-3 stranger"
	for range 2 {
		if got := g.uidls(); got != want {
			t.Errorf("unique-ids %q, wanted %q", got, want)
		}
	}
	if g.store.fetches != 5 {
		t.Errorf("%d messages were looked at", g.store.fetches)
	}
	g.store.add("new-5", header(5))
	if got := g.uidls(); got != want+" old-5" {
		t.Errorf("after one more was copied: %q", got)
	}
	// Nobody gets the unique-id of a message that is gone.
	g.store.entries = append(g.store.entries[1:], backends.Entry{ID: "old-0", Size: 1, Exact: true})
	if got := g.uidls(); got != "old-1 old-2 old-3 stranger old-5 ~" {
		t.Errorf("the first is gone, and another has its unique-id for an id: %q", got)
	}
}

// TestRecognitionGoesOn: a login that has not the time to look at all messages fails, tells no
// unique-id, and what it has found is not looked for again.
func TestRecognitionGoesOn(t *testing.T) {
	x := newIndex(t)
	g := newGateway(t, withIndex(x))
	const messages = 1200
	var imports []index.Import
	for n := range messages {
		id := fmt.Sprint(n)
		g.store.add("new-"+id, "Message-ID: <"+id+">\r\n\r\n")
		imports = append(imports, index.Import{UIDL: "old-" + id, MessageID: id, Size: -1})
	}
	if err := x.Import(t.Context(), folder.Key{Store: "sakes", Account: "alice-id"}, imports); err != nil {
		t.Fatal(err)
	}
	var fetched atomic.Int32
	down := true
	bodies := maps.Clone(g.store.bodies)
	g.store.onFetch = func(_ context.Context, r backends.FetchRequest) (backends.Content, error) {
		if fetched.Add(1) > 700 && down {
			return nil, backends.Fail(backends.Temporary, "down")
		}
		return &fakeContent{Reader: strings.NewReader(bodies[r.ID])}, nil
	}
	if _, err := g.session().Password(t.Context(), "alice", []byte("sesame")); code(err) != "-ERR [SYS/TEMP]" {
		t.Fatalf("a login that could not look at all messages: %v", err)
	}
	g.idle()
	before := fetched.Load()
	down = false
	drop := g.login()
	for n := range messages {
		if got := drop.UIDL(n + 1); got != fmt.Sprint("old-", n) {
			t.Fatalf("message %d is %q", n+1, got)
		}
	}
	if again := fetched.Load() - before; again > messages-500 {
		t.Errorf("%d messages were looked at the second time", again)
	}
}

// TestUIDLStaysAfterAConflict (I7): a message that was given another unique-id because its own
// was somebody's keeps it when the other one is gone.
func TestUIDLStaysAfterAConflict(t *testing.T) {
	g := newGateway(t, withIndex(newIndex(t)))
	g.store.entries = []backends.Entry{{ID: "m1", UIDL: "m2", Size: 1, Exact: true}, {ID: "m2", Size: 1, Exact: true}}
	if got := g.uidls(); got != "m2 ~" {
		t.Fatalf("unique-ids %q", got)
	}
	g.store.entries = g.store.entries[1:]
	if got := g.uidls(); got != "~" {
		t.Errorf("the other message is gone, and this one's unique-id is %q", got)
	}
}

// TestNoLoginWithoutTheIndex (I7): unique-ids that may be wrong are not told.
func TestNoLoginWithoutTheIndex(t *testing.T) {
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, withIndex(index.New(index.Options{Log: zerolog.Nop(), DB: db})))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.session().Password(t.Context(), "alice", []byte("sesame")); code(err) != "-ERR [SYS/TEMP]" {
		t.Errorf("%v", err)
	}
	g.idle()
}

// BenchmarkOpenIndexed is logging in to a folder of 100,000 messages of whose sizes the store
// knows none, and the index all.
func BenchmarkOpenIndexed(b *testing.B) {
	x := newIndex(b)
	for _, kind := range []string{"plain", "sizes", "uidls"} {
		b.Run(kind, func(b *testing.B) {
			t := &testing.T{}
			g := newGateway(t, withIndex(x))
			folder, err := x.Open(b.Context(), folder.Key{Store: "sakes", Account: "alice-id"}, folder.Key{}, "", "")
			if err != nil {
				b.Fatal(err)
			}
			uidls := map[string]string{}
			for i := range 100_000 {
				id := fmt.Sprintf("1700000000.M%06dP4711.mail.sakes.example", i)
				g.store.entries = append(g.store.entries, backends.Entry{ID: backends.MessageID(id), Size: int64(i), Exact: kind == "plain"})
				switch kind {
				case "sizes":
					folder.Learn(id, int64(i))
				case "uidls":
					uidls[id] = fmt.Sprintf("%08X653a1f0c", i)
				}
			}
			if err := folder.Flush(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			if err := folder.Pin(b.Context(), uidls); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				session, err := g.backend.NewSession(b.Context(), pop3.Conn{ID: "s1"})
				if err != nil {
					b.Fatal(err)
				}
				drop, err := session.Password(b.Context(), "alice", []byte("sesame"))
				if err != nil {
					b.Fatal(err)
				}
				for n := range drop.Len() {
					if _, err := drop.Size(b.Context(), n+1); err != nil {
						b.Fatal(err)
					}
				}
				_ = drop.Close()
			}
		})
	}
}
