package maildrop_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// longIDs are so many ids of so many octets each.
func longIDs(count, octets int) []backends.Entry {
	list := make([]backends.Entry, count)
	for i := range list {
		list[i] = backends.Entry{ID: backends.MessageID(fmt.Sprintf("%0*d", octets, i)), Size: 1, Exact: true}
	}
	return list
}

// tryLogin opens a maildrop, or gives the response code of why not.
func (g *gateway) tryLogin() (*pop3.Login, string) {
	g.t.Helper()
	drop, err := g.session().Password(g.t.Context(), "alice@sakes.example", []byte("sesame"))
	if refused, is := errors.AsType[*pop3.Error](err); is {
		return nil, refused.Code
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = drop.Close() })
	return drop, ""
}

// TestOctetsOfIDs: what ids cost in memory is bounded by their octets, of one session and of all
// together, whatever their number (I11).
func TestOctetsOfIDs(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name       string
		list, all  int64
		count, len int
		uidls      bool
		want       []string // of one login after the other
	}{
		{"few short ones", mib, mib, 1000, 20, false, []string{"", "", "", "", ""}},
		{"few long ones", mib, mib, 200, 1024, false, []string{"", "", "", "", ""}},
		{"one session has too many", mib, 10 * mib, 1100, 1024, false, []string{"SYS/PERM"}},
		{"one session, unique-ids count", mib, 10 * mib, 14_000, 71, false, []string{"SYS/PERM"}},
		{"one session, the store's unique-ids count", mib, 10 * mib, 6000, 30, true, []string{"SYS/PERM"}},
		{"all sessions together", mib, 2 * mib, 900, 1024, false, []string{"", "", "SYS/TEMP"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, func(o *maildrop.Options) {
				o.ListMost, o.Lists, o.Locks = test.list, maildrop.NewBudget(test.all), noLocks{}
			})
			g.store.entries = longIDs(test.count, test.len)
			if test.uidls {
				for i := range g.store.entries {
					g.store.entries[i].UIDL = fmt.Sprintf("%070d", i)
				}
			}
			var open []*pop3.Login
			for i, want := range test.want {
				drop, got := g.tryLogin()
				if got != want {
					t.Fatalf("login %d: %q, want %q", i+1, got, want)
				}
				open = append(open, drop)
			}
			if test.want[len(test.want)-1] == "" {
				return
			}
			g.store.entries = longIDs(200, 1000) // a session of an ordinary size goes on
			if _, got := g.tryLogin(); got != "" {
				t.Errorf("a small list: %q", got)
			}
			g.store.entries = longIDs(test.count, test.len)
			if open[0] == nil {
				return
			}
			if err := open[0].Close(); err != nil { // and its room is another's
				t.Fatal(err)
			}
			if _, got := g.tryLogin(); got != "" {
				t.Errorf("after another has left: %q", got)
			}
		})
	}
	t.Run("a login that fails gives its room back", func(t *testing.T) {
		g := newGateway(t, func(o *maildrop.Options) {
			o.ListMost, o.Lists = mib, maildrop.NewBudget(mib)
		})
		for range 5 {
			g.store.entries = longIDs(1100, 1024)
			if _, got := g.tryLogin(); got != "SYS/PERM" {
				t.Fatal(got)
			}
		}
		g.store.entries = longIDs(900, 1024)
		if _, got := g.tryLogin(); got != "" {
			t.Errorf("%q", got)
		}
	})
	t.Run("memory", func(t *testing.T) {
		g := newGateway(t)
		g.store.entries = longIDs(50_000, 1024)
		before := heap()
		drop, got := g.tryLogin()
		if got != "" {
			t.Fatal(got)
		}
		grown, ids := heap()-before, int64(50_000*(1024+34))
		if grown > ids*5/4+50_000*100 {
			t.Errorf("%d octets of ids cost %d", ids, grown)
		}
		if drop.UIDL(1) == "" || drop.UIDL(50_000) == drop.UIDL(49_999) || !strings.HasPrefix(drop.UIDL(50_000), "~1") {
			t.Error("its ends are wrong")
		}
	})
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// noLocks let everybody have everything.
type noLocks struct{ *folder.MemoryLocks }

type noLock struct{}

func (noLocks) Acquire(context.Context, folder.Key) (folder.Lock, error) {
	return noLock{}, nil
}
func (noLock) Held(context.Context) error { return nil }
func (noLock) Lost() bool                 { return false }
func (noLock) Release()                   {}
