//go:build linux

package folder_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

// noon is when earlier versions wrote; folders get their keys an hour later.
var noon = time.Unix(1_790_000_000, 0)

// world is a database, with what writes into it.
type world struct {
	t    *testing.T
	db   *state.DB
	now  time.Time
	keys *folder.Keys
}

func newWorld(t *testing.T, o state.Options) *world {
	w := &world{t: t, db: databases.Open(t, o), now: noon}
	w.keys = folder.NewKeys(w.db, w.opener())
	w.keys.Now = w.clock
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) opener() *index.Index {
	return index.New(index.Options{Log: zerolog.Nop(), DB: w.db, Now: w.clock})
}

func (w *world) index(k folder.Key) *index.Folder {
	w.t.Helper()
	f, err := w.opener().Open(w.t.Context(), k, folder.Key{}, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) kept() *folder.Retention {
	return &folder.Retention{DB: w.db, Now: w.clock}
}

func (w *world) quarantined() *folder.Quarantine {
	return &folder.Quarantine{DB: w.db, Now: w.clock}
}

// remember has each memory note a message under a key, as earlier versions did: its unique-id, its
// failure, and, under another id, that it was deleted.
func (w *world) remember(k folder.Key, name, id string) {
	w.t.Helper()
	ctx := w.t.Context()
	if err := w.index(k).Pin(ctx, map[string]string{id: "uidl-of-" + id}); err != nil {
		w.t.Fatal(err)
	}
	m := folder.Message{Key: k, ID: backends.MessageID(id), UIDL: "uidl-of-" + id}
	if _, err := w.quarantined().Failed(ctx, m, backends.Fail(backends.Poison, "no"), true); err != nil {
		w.t.Fatal(err)
	}
	if err := w.kept().Keep(ctx, k, folder.Owner{Name: "ada", Path: name}, []backends.MessageID{backends.MessageID(id + "-deleted")}, w.now.Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
}

// open does what a login does, and gives what is known of the folder then, in words.
func (w *world) open(m folder.Identity, ids ...string) (known folder.Known, words string) {
	w.t.Helper()
	ctx := w.t.Context()
	known, err := w.keys.Find(ctx, m)
	if err != nil {
		w.t.Fatal(err)
	}
	if known, err = w.keys.TakeOver(ctx, m, known); err != nil {
		w.t.Fatal(err)
	}
	var all []string
	f := w.index(known.Key)
	for _, id := range ids {
		if uidl, is := f.UIDL(id); is {
			all = append(all, uidl)
		}
	}
	entries, err := w.quarantined().In(ctx, known.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, "held "+string(e.ID))
	}
	kept, err := w.kept().In(ctx, known.Key, known.Names...)
	if err != nil {
		w.t.Fatal(err)
	}
	for id := range kept {
		all = append(all, string(id))
	}
	slices.Sort(all)
	return known, strings.Join(all, ", ")
}

// step is a login, and what is to be known then of the messages a and b.
type step struct {
	mailbox folder.Identity
	key     folder.Key
	knows   string
}

const (
	ofA    = "a-deleted, held a, uidl-of-a"
	ofBoth = "a-deleted, b-deleted, held a, held b, uidl-of-a, uidl-of-b"
)

// TestTakeOver: what earlier versions remembered by what was typed is remembered of the folder that
// was meant, whatever name it is opened by first.
func TestTakeOver(t *testing.T) {
	key := func(account, name string) folder.Key {
		return folder.Key{Store: "s", Account: account, Folder: name}
	}
	box := func(id, name string) folder.Identity {
		return folder.Identity{Store: "s", Account: "ada", Folder: id, Name: name}
	}
	local := func() folder.Identity {
		return folder.Identity{Store: "s", Account: "ada", Folder: "INBOX", FormerIDs: []string{"ada@a.example", "ada@b.example"}}
	}
	for name, tt := range map[string]struct {
		a, b         folder.Key // where they are remembered; b empty: not at all
		aName, bName string
		steps        []step
	}{
		"the inbox keeps its key": {
			a: key("ada", ""), steps: []step{{box("INBOX", ""), key("ada", ""), ofA}, {box("INBOX", ""), key("ada", ""), ofA}},
		},
		"a store that says nothing": {
			a: key("ada", "lists"), aName: "Lists", steps: []step{{box("", "Lists"), key("ada", "lists"), ofA}},
		},
		"a store that says nothing, and then does": {
			a: key("ada", "lists"), aName: "Lists",
			steps: []step{{box("", "Lists"), key("ada", "lists"), ofA}, {box("mbx7", "Lists"), key("ada", "lists"), ofA}},
		},
		"two names of one folder": {
			a: key("ada", "lists/go"), aName: "Lists/Go", b: key("ada", "lists.go"), bName: "Lists.Go",
			steps: []step{{box("Lists.Go", "Lists/Go"), key("ada", "lists/go"), ofA}, {box("Lists.Go", "Lists.Go"), key("ada", "lists/go"), ofBoth}, {box("Lists.Go", "Lists/Go"), key("ada", "lists/go"), ofBoth}},
		},
		"two names of one folder, the one without a memory first": {
			a: key("ada", "lists/go"), aName: "Lists/Go",
			steps: []step{{box("Lists.Go", "Lists.Go"), key("ada", "lists.go"), ""}, {box("Lists.Go", "Lists/Go"), key("ada", "lists.go"), ofA}},
		},
		"the store's own folder": {
			a: key("ada", ""), b: key("ada", "archive"), bName: "Archive",
			steps: []step{{box("Archive", ""), key("ada", ""), ofA}, {box("Archive", "Archive"), key("ada", ""), ofBoth}, {box("INBOX", "INBOX"), key("ada", "inbox"), ""}},
		},
		"one account of two domains": {
			a: key("ada@a.example", ""), b: key("ada@b.example", ""),
			steps: []step{{local(), key("ada@a.example", ""), ofBoth}, {local(), key("ada@a.example", ""), ofBoth}},
		},
		"an account whose id has changed since": {
			a: key("ada@b.example", ""),
			steps: []step{
				{folder.Identity{Store: "s", Account: "ada@b.example", Folder: "INBOX"}, key("ada@b.example", ""), ofA},
				{local(), key("ada@b.example", ""), ofA},
			},
		},
		"two folders that shared a key": {
			a: key("ada", "foo"), aName: "Foo", b: key("ada", "foo"), bName: "foo",
			steps: []step{
				{box("Foo", "Foo"), key("ada", "foo"), "a-deleted, held a, held b, uidl-of-a, uidl-of-b"},
				{box("foo", "foo"), key("ada", "=foo"), "b-deleted, held a, held b, uidl-of-a, uidl-of-b"},
				{box("Foo", "Foo"), key("ada", "foo"), "a-deleted, held a, held b, uidl-of-a, uidl-of-b"},
			},
		},
		"another store and another account": {
			a: key("bob", ""), b: folder.Key{Store: "t", Account: "ada"}, steps: []step{{box("INBOX", ""), key("ada", ""), ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databases.Each(t, func(t *testing.T, o state.Options) {
				w := newWorld(t, o)
				w.remember(tt.a, tt.aName, "a")
				if tt.b != (folder.Key{}) {
					w.remember(tt.b, tt.bName, "b")
				}
				w.now = noon.Add(time.Minute)
				for i, s := range tt.steps {
					known, got := w.open(s.mailbox, "a", "b")
					if known.Key != s.key {
						t.Errorf("login %d: the key is %q, not %q", i+1, known.Key, s.key)
					}
					if got != s.knows {
						t.Errorf("login %d: known are %s; not %s", i+1, got, s.knows)
					}
				}
			})
		})
	}
}

// TestNewFolder: a folder that was renamed leaves its name to another one, which knows nothing of it.
func TestNewFolder(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, o)
		w.now = noon.Add(time.Minute)
		first, _ := w.open(folder.Identity{Store: "s", Account: "ada", Folder: "m1", Name: "Lists"})
		w.now = w.now.Add(time.Hour)
		w.remember(first.Key, "Lists", "a")
		second, got := w.open(folder.Identity{Store: "s", Account: "ada", Folder: "m2", Name: "Lists"}, "a")
		if second.Key == first.Key || got != "" {
			t.Errorf("the new folder has the key %q and knows %s", second.Key, got)
		}
		if _, got := w.open(folder.Identity{Store: "s", Account: "ada", Folder: "m1", Name: "Old"}, "a"); got != ofA {
			t.Errorf("the folder that was renamed knows %s", got)
		}
	})
}

// TestOneKey: sessions that open a folder for the first time at once get one key, and two folders
// never share one.
func TestOneKey(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, o)
		type result struct {
			folder string
			key    folder.Key
			err    error
		}
		results := make(chan result)
		folders := []string{"Foo", "foo", "FOO"}
		for _, name := range folders {
			for range 8 {
				go func() {
					known, err := w.keys.Find(context.WithoutCancel(t.Context()), folder.Identity{Store: "s", Account: "ada", Folder: name, Name: name})
					results <- result{name, known.Key, err}
				}()
			}
		}
		keyOf := make(map[string]folder.Key)
		for range 8 * len(folders) {
			r := <-results
			if r.err != nil {
				t.Error(r.err)
			} else if known, is := keyOf[r.folder]; is && known != r.key {
				t.Errorf("%s has the keys %q and %q", r.folder, known, r.key)
			}
			keyOf[r.folder] = r.key
		}
		if keyOf["Foo"] == keyOf["foo"] || keyOf["Foo"] == keyOf["FOO"] || keyOf["foo"] == keyOf["FOO"] {
			t.Errorf("folders share a key: %v", keyOf)
		}
	})
}

// TestManyNames: where case does not matter there is no end of names, but of those that are kept.
func TestManyNames(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, o)
		for i := range 50 {
			known, _ := w.open(folder.Identity{Store: "s", Account: "ada", Folder: "Lists", Name: fmt.Sprint("lists", i)})
			if len(known.Names) != min(i+1, 32) {
				t.Fatalf("after %d names %d are kept", i+1, len(known.Names))
			}
		}
	})
}

// TestLock: a folder's lock is its own, and where the store does not say what it is, one for all
// spellings.
func TestLockKey(t *testing.T) {
	t.Parallel()
	lock := func(id, name string) folder.Key {
		m := folder.Identity{Store: "s", Account: "ada", Folder: id, Name: name}
		known, err := (*folder.Keys)(nil).Find(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return m.Lock(known)
	}
	if lock("", "Lists") != lock("", "lists") {
		t.Error("what may be one folder has two locks")
	}
	if lock("Foo", "Foo") == lock("foo", "foo") {
		t.Error("two folders have one lock")
	}
	if lock("Lists.Go", "Lists/Go") != lock("Lists.Go", "Lists.Go") {
		t.Error("one folder has two locks")
	}
}

// TestKeysAreSwept: of a store that does not say which folder is open, the keys under which nothing is
// remembered go in the end. What is remembered of the others stays theirs.
func TestKeysAreSwept(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, o)
		unsaid := func(name string) folder.Identity {
			return folder.Identity{Store: "s", Account: "ada", Name: name}
		}
		before := map[string]folder.Key{}
		for _, name := range []string{"", "Lists", "LISTS", "kept"} {
			known, err := w.keys.Find(t.Context(), unsaid(name))
			if err != nil {
				t.Fatal(err)
			}
			before[name] = known.Key
		}
		said := folder.Identity{Store: "s", Account: "ada", Folder: "f1", Name: "said"}
		if _, err := w.keys.Find(t.Context(), said); err != nil {
			t.Fatal(err)
		}
		w.remember(before["kept"], "kept", "a")
		sweep := func(want int64) {
			t.Helper()
			for _, task := range w.keys.Tasks() {
				if rows, err := task.Do(t.Context(), 100); err != nil || rows != want {
					t.Errorf("%d keys are swept, want %d (%v)", rows, want, err)
				}
			}
		}
		sweep(0)
		w.now = w.now.Add(100 * 24 * time.Hour)
		if known, err := w.keys.Find(t.Context(), unsaid("new")); err != nil {
			t.Fatal(err)
		} else {
			before["new"] = known.Key
		}
		sweep(3)
		sweep(0)
		for _, name := range []string{"", "kept", "new"} {
			known, err := w.keys.Find(t.Context(), unsaid(name))
			if err != nil || known.Key != before[name] {
				t.Errorf("%q has the key %+v, and had %+v (%v)", name, known.Key, before[name], err)
			}
		}
	})
}
