//go:build linux

package index_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

func TestMain(m *testing.M) { databases.Main(m) }

// fixture is an index in a database of its own, with a clock that a test can change.
type fixture struct {
	t   testing.TB
	db  *state.DB
	x   *index.Index
	now time.Time
}

func newFixture(t testing.TB, o state.Options) *fixture {
	t.Helper()
	db := databases.Open(t, o)
	f := &fixture{t: t, db: db, now: time.Unix(1_795_000_000, 0)}
	f.x = index.New(index.Options{Log: zerolog.Nop(), DB: db, Now: func() time.Time { return f.now }})
	return f
}

// each runs a test on SQLite and on PostgreSQL.
func each(t *testing.T, f func(t *testing.T, x *fixture)) {
	databases.Each(t, func(t *testing.T, o state.Options) { f(t, newFixture(t, o)) })
}

var ada = folder.Key{Store: "s", Account: "ada"}

func (f *fixture) open(key folder.Key, rendering string) *index.Folder {
	f.t.Helper()
	return f.openImported(key, folder.Key{}, rendering)
}

func (f *fixture) openImported(key, importedAs folder.Key, rendering string) *index.Folder {
	f.t.Helper()
	opened, err := f.x.Open(f.t.Context(), key, importedAs, rendering, "")
	if err != nil {
		f.t.Fatal(err)
	}
	return opened
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestNothingKnown(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		folder := f.open(ada, "")
		if _, known := folder.UIDL("m"); known || folder.HasUIDLs() || folder.HasSizes() || folder.Waiting() || folder.Taken("m") {
			t.Error("a new folder knows something")
		}
		f.ok(folder.Flush(t.Context(), nil))
		if n := f.rows("folders"); n != 0 {
			t.Errorf("a folder of which nothing is known has %d rows", n)
		}
	})
}

func (f *fixture) rows(table string) (n int) {
	f.t.Helper()
	f.ok(f.db.QueryRow(f.t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// TestUIDLs: what was pinned is there in each session, for its own folder alone, and a
// unique-id stays taken.
func TestUIDLs(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		opened := f.open(ada, "")
		f.ok(opened.Pin(t.Context(), map[string]string{"m1": "old-1", "\x00\xff": "old-2", strings.Repeat("i", 1024): strings.Repeat("u", 70)}))
		f.ok(opened.Pin(t.Context(), map[string]string{"m3": "old-3"}))
		for _, opened := range []*index.Folder{opened, f.open(ada, ""), f.open(ada, "1 0  false")} {
			for id, want := range map[string]string{"m1": "old-1", "\x00\xff": "old-2", strings.Repeat("i", 1024): strings.Repeat("u", 70), "m3": "old-3"} {
				if got, known := opened.UIDL(id); got != want || !known || !opened.Taken(want) {
					t.Errorf("%.10q has %q", id, got)
				}
			}
		}
		for _, other := range []folder.Key{{Store: "s", Account: "bob"}, {Store: "sa", Account: "da"}, {Store: "s", Account: "ada", Folder: "x"}} {
			if f.open(other, "").HasUIDLs() {
				t.Errorf("%+v has the other's unique-ids", other)
			}
		}
	})
}

// TestAddress: what was imported for an account's address is the account's, whatever its store
// calls it.
func TestAddress(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.ok(f.x.Import(t.Context(), folder.Key{Store: "s", Account: "ada@b.example"}, []index.Import{{UIDL: "u", ID: "m"}, {UIDL: "v", ID: "n"}, {UIDL: "w", MessageID: "x", Size: -1}}))
		key := folder.Key{Store: "s", Account: "4711"}
		ada, eve := folder.Key{Store: "s", Account: "ada@b.example"}, folder.Key{Store: "s", Account: "eve@b.example"}
		f.ok(f.openImported(key, ada, "").Pin(t.Context(), map[string]string{"n": "own"}))
		opened := f.openImported(key, ada, "")
		for id, want := range map[string]string{"m": "u", "n": "own"} {
			if got, _ := opened.UIDL(id); got != want {
				t.Errorf("%s has %q, wanted %q", id, got, want)
			}
		}
		if !opened.Waiting() || f.openImported(key, eve, "").Waiting() {
			t.Error("the import is not the account's, or is another's")
		}
	})
}

// TestSizes (property): whatever is learnt in whatever sessions, the last size of each message
// that is there is known, and the batches of a folder stay few.
func TestSizes(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			key := folder.Key{Store: "s", Account: fmt.Sprint(round)}
			want := map[string]int64{}
			for range rapid.IntRange(1, 20).Draw(rt, "sessions") {
				folder := f.open(key, "")
				for range rapid.IntRange(0, 3).Draw(rt, "messages") {
					id := fmt.Sprint("m", rapid.IntRange(0, 9).Draw(rt, "id"))
					want[id] = rapid.Int64Range(0, 1<<40).Draw(rt, "size")
					folder.Learn(id, want[id])
				}
				f.ok(folder.Flush(t.Context(), maps.Keys(want)))
			}
			folder := f.open(key, "")
			for id, size := range want {
				if got, known := folder.Size(id); !known || got != size {
					rt.Errorf("%s has %d octets, wanted %d", id, got, size)
				}
			}
		})
		var most int
		f.ok(f.db.QueryRow(t.Context(), "SELECT max(n) FROM (SELECT count(*) AS n FROM folder_parts GROUP BY folder) AS f").Scan(&most))
		if most > 10 {
			t.Errorf("a folder has %d batches", most)
		}
	})
}

// TestRenderings: a size is one under one form of rendering.
func TestRenderings(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for n, rendering := range []string{"", "1 0  false"} {
			folder := f.open(ada, rendering)
			if _, known := folder.Size("m"); known {
				t.Errorf("the size under another rendering is known under %q", rendering)
			}
			folder.Learn("m", int64(n))
			f.ok(folder.Flush(t.Context(), nil))
		}
	})
}

// TestGoneMessages: sizes of messages that are gone are dropped when batches are put together.
func TestGoneMessages(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for i := range 20 {
			folder := f.open(ada, "")
			folder.Learn(fmt.Sprint("m", i), 7)
			f.ok(folder.Flush(t.Context(), slices.Values([]string{fmt.Sprint("m", i)})))
		}
		folder := f.open(ada, "")
		if _, known := folder.Size("m0"); known {
			t.Error("the first message was never forgotten")
		}
		if _, known := folder.Size("m19"); !known {
			t.Error("the last message was forgotten")
		}
	})
}

// TestDamage: a batch that cannot be read is an error, not a folder of which less is known.
func TestDamage(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.ok(f.open(ada, "").Pin(t.Context(), map[string]string{"m1": "old-1"}))
		for _, octets := range [][]byte{{}, {2, 1}, {1, 5, 'a'}, {1, 0xff}, {1, 1, 'a'}} {
			f.ok(f.db.Write(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec("UPDATE folder_parts SET entries = $1", octets)
				return err
			}))
			if _, err := f.x.Open(t.Context(), ada, folder.Key{}, "", ""); err == nil {
				t.Errorf("%v was read", octets)
			}
		}
	})
}

// TestTasks: sizes of folders that nobody opens go, those of folders in use stay, and
// unique-ids stay for ever.
func TestTasks(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		used, unused, pinned := folder.Key{Store: "s", Account: "used"}, folder.Key{Store: "s", Account: "unused"}, folder.Key{Store: "s", Account: "pinned"}
		for _, key := range []folder.Key{used, unused} {
			folder := f.open(key, "")
			folder.Learn("m", 7)
			f.ok(folder.Flush(t.Context(), nil))
		}
		f.ok(f.open(pinned, "").Pin(t.Context(), map[string]string{"m": "old"}))
		f.ok(f.x.Import(t.Context(), unused, []index.Import{{UIDL: "u", MessageID: "id", Size: -1}}))
		for range 20 {
			f.now = f.now.Add(20 * 24 * time.Hour)
			folder := f.open(used, "")
			f.ok(folder.Flush(t.Context(), nil))
			for _, task := range f.x.Tasks() {
				_, err := task.Do(t.Context(), 100)
				f.ok(err)
			}
		}
		if _, known := f.open(used, "").Size("m"); !known {
			t.Error("a size of a folder in use is gone")
		}
		if _, known := f.open(pinned, "").UIDL("m"); !known {
			t.Error("a unique-id is gone")
		}
		if folder := f.open(unused, ""); folder.HasSizes() || folder.Waiting() || f.rows("folders") != 2 {
			t.Errorf("%d folders are left", f.rows("folders"))
		}
	})
}

// BenchmarkOpen is opening a folder: one of which nothing is known, and those with 100,000
// sizes or imported unique-ids.
func BenchmarkOpen(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			o := state.Options{Folder: b.TempDir()}
			if kind == "postgres" {
				o = state.Options{URL: peers.SharedPostgres(b).Database(b)}
			}
			f := newFixture(b, o)
			uidls := make(map[string]string)
			sizes := f.open(folder.Key{Account: "sizes"}, "")
			for i := range 100_000 {
				id := fmt.Sprintf("1700000000.M%06dP4711.mail.sakes.example", i)
				uidls[id] = fmt.Sprintf("%08X653a1f0c", i)
				sizes.Learn(id, int64(i))
			}
			f.ok(sizes.Flush(b.Context(), nil))
			f.ok(f.open(folder.Key{Account: "uidls"}, "").Pin(b.Context(), uidls))
			for _, account := range []string{"nothing", "sizes", "uidls"} {
				b.Run(account, func(b *testing.B) {
					for b.Loop() {
						f.open(folder.Key{Account: account}, "")
					}
				})
			}
		})
	}
}

// TestRenderer: sizes that another version of a store's renderer has made are forgotten, those under
// another form of rendering are not.
func TestRenderer(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		learn := func(rendering, renderer string, octets int64) {
			t.Helper()
			opened, err := f.x.Open(t.Context(), ada, folder.Key{}, rendering, renderer)
			f.ok(err)
			if got, known := opened.Size("m"); known {
				t.Errorf("rendered by %q, the size is known to be %d by %q", renderer, got, rendering)
			}
			opened.Learn("m", octets)
			f.ok(opened.Flush(t.Context(), nil))
		}
		size := func(rendering, renderer string) int64 {
			t.Helper()
			opened, err := f.x.Open(t.Context(), ada, folder.Key{}, rendering, renderer)
			f.ok(err)
			octets, _ := opened.Size("m")
			return octets
		}
		learn("", "", 1)
		learn("1 0 utf-8 false", "r1", 2)
		learn("", "r1", 3)
		learn("", "r2", 4)
		if a, b := size("", "r2"), size("1 0 utf-8 false", "r1"); a != 4 || b != 2 {
			t.Errorf("the sizes are %d and %d, and should be 4 and 2", a, b)
		}
		if a, b := size("", "r1"), size("", ""); a != 0 || b != 0 {
			t.Errorf("sizes of other renderers are known: %d and %d", a, b)
		}
		if n := f.rows("folder_parts"); n != 2 {
			t.Errorf("%d batches are kept, and should be 2", n)
		}
	})
}
