package maildrop_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
)

func TestUIDL(t *testing.T) {
	long := strings.Repeat("x", 71)
	for _, test := range []struct {
		name    string
		entries []backends.Entry
		want    []string // "~": derived
	}{
		{"ids that are fit", entries("1700000000.M1P2.host", "A!~", strings.Repeat("y", 70)), []string{"1700000000.M1P2.host", "A!~", strings.Repeat("y", 70)}},
		{"too long", entries(long), []string{"~"}},
		{"spaces, controls, UTF-8, octets", entries("a b", "a\x00", "ä", "\xff\xfe"), []string{"~", "~", "~", "~"}},
		{"begins like a derived one", entries("~1abc", "~"), []string{"~", "~"}},
		{"remembered from another server", []backends.Entry{{ID: "m1", UIDL: "old-1"}, {ID: "m2"}}, []string{"old-1", "m2"}},
		{"remembered, not valid", []backends.Entry{{ID: "m1", UIDL: "old 1"}, {ID: "m2", UIDL: long}, {ID: "m3", UIDL: "~1x"}}, []string{"m1", "m2", "m3"}},
		{"remembered twice", []backends.Entry{{ID: "m1", UIDL: "old"}, {ID: "m2", UIDL: "old"}}, []string{"old", "m2"}},
		{"remembered is another's id", []backends.Entry{{ID: "m1", UIDL: "m2"}, {ID: "m2"}}, []string{"m2", "~"}},
		{"empty id is left out", entries("m1", "", "m3"), []string{"m1", "m3"}},
		{"oversized id is left out", entries("m1", strings.Repeat("z", 1025), "m3"), []string{"m1", "m3"}},
		{"largest id", entries(strings.Repeat("z", 1024)), []string{"~"}},
		{"listed twice is left out", entries("m1", "m2", "m1"), []string{"m1", "m2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.store.entries = test.entries
			drop := g.login()
			if drop.Len() != len(test.want) {
				t.Fatalf("%d messages, want %d", drop.Len(), len(test.want))
			}
			for i, want := range test.want {
				got := drop.UIDL(i + 1)
				if got != want && (want != "~" || !strings.HasPrefix(got, "~1") || len(got) != 34) {
					t.Errorf("message %d: %q, want %q", i+1, got, want)
				}
			}
			if drop.UIDL(0) != "" || drop.UIDL(len(test.want)+1) != "" {
				t.Error("a number without a message has a UIDL")
			}
		})
	}
}

// TestDerivedUIDLIsForEver pins the recipe: clients remember what came of it (I7).
func TestDerivedUIDLIsForEver(t *testing.T) {
	g := newGateway(t)
	g.store.entries = entries("a b")
	if got, want := g.login().UIDL(1), "~1yGh6CKpdbtIEQyj6aml6uOltw0KR6MID"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func entries(ids ...string) (out []backends.Entry) {
	for _, id := range ids {
		out = append(out, backends.Entry{ID: backends.MessageID(id), Size: 1, Exact: true})
	}
	return out
}

// TestAnyList lists whatever a store may come up with: unique-ids are valid, unique and the
// same the next time.
func TestAnyList(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.SampledFrom([]string{"", "a", "b", "~1x", "a b", "~", strings.Repeat("q", 70), strings.Repeat("q", 71), strings.Repeat("q", 1025), "\x00"})
		list := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) backends.Entry {
			return backends.Entry{
				ID: backends.MessageID(text.Draw(r, "id")), UIDL: text.Draw(r, "uidl"),
				Size: rapid.Int64Range(-2, 5).Draw(r, "size"), Exact: rapid.Bool().Draw(r, "exact"),
			}
		}), 0, 12).Draw(r, "list")
		var before []string
		for range 2 {
			g := newGateway(t)
			g.store.entries = list
			drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
			if err != nil {
				r.Fatal(err)
			}
			var uidls []string
			seen := make(map[string]bool)
			for n := 1; n <= drop.Len(); n++ {
				uidl := drop.UIDL(n)
				if uidl == "" || len(uidl) > 70 || strings.ContainsFunc(uidl, func(r rune) bool { return r < 0x21 || r > 0x7e }) || seen[uidl] {
					r.Fatalf("message %d has the unique-id %q", n, uidl)
				}
				seen[uidl] = true
				uidls = append(uidls, uidl)
			}
			if before != nil && fmt.Sprint(before) != fmt.Sprint(uidls) {
				r.Fatalf("%q, then %q", before, uidls)
			}
			before = uidls
			_ = drop.Close()
		}
	})
}

func TestFolderIsBounded(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.MessagesMost = 2 })
	g.store.entries = entries("1", "2", "3")
	_, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
	if got := code(err); got != "-ERR [SYS/PERM]" {
		t.Errorf("got %s", got)
	}
	g.idle()
}

// TestSnapshotIsSmall holds 100,000 messages with Maildir's kind of ids.
func TestSnapshotIsSmall(t *testing.T) {
	g := newGateway(t)
	const messages = 100_000
	for i := range messages {
		g.store.entries = append(g.store.entries, backends.Entry{ID: backends.MessageID(fmt.Sprintf("1700000000.M%06dP4711.mail.sakes.example", i)), Size: 1, Exact: true})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	drop := g.login()
	allocations := func() uint64 { runtime.ReadMemStats(&after); return after.Mallocs - before.Mallocs }()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if drop.Len() != messages {
		t.Fatalf("%d messages", drop.Len())
	}
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 15<<20 {
		t.Errorf("%d octets for %d messages", held, messages)
	}
	if allocations > 5000 {
		t.Errorf("%d allocations for %d messages", allocations, messages)
	}
}
