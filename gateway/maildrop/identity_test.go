package maildrop_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// enter logs in to a folder.
func (g *gateway) enter(folder string) (*pop3.Login, error) {
	name := "alice"
	if folder != "" {
		name += "+" + folder
	}
	drop, err := g.session().Password(g.t.Context(), name, []byte("sesame"))
	if err == nil {
		g.t.Cleanup(func() { _ = drop.Close() })
	}
	return drop, err
}

// TestOneLock: one folder has one lock by all its names, and two folders have two (I5).
func TestOneLock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		folders map[string]string
		other   string
		want    string
	}{
		"the store's own folder by its name": {map[string]string{"": "Archive", "Archive": "Archive"}, "Archive", "-ERR [IN-USE]"},
		"another delimiter":                  {map[string]string{"": "Lists.Go", "Lists/Go": "Lists.Go"}, "Lists/Go", "-ERR [IN-USE]"},
		"another folder":                     {map[string]string{"": "INBOX", "Archive": "Archive"}, "Archive", "+OK"},
		"it is not said, another name":       {nil, "Archive", "+OK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.store.folders = tt.folders
			if _, err := g.enter(""); err != nil {
				t.Fatal(err)
			}
			if _, err := g.enter(tt.other); code(err) != tt.want {
				t.Errorf("the second login: %s, not %s", code(err), tt.want)
			}
		})
	}
}

// TestLockBeforeAll: while somebody else has the lock nothing is asked of the store but to open,
// and nothing that is remembered changes.
func TestLockBeforeAll(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	listed := 0
	g.store.add("m1", letter)
	g.store.folders = map[string]string{"": "INBOX"}
	if _, err := g.enter(""); err != nil {
		t.Fatal(err)
	}
	g.store.onEntry = func(context.Context, int) error { listed++; return nil }
	if _, err := g.enter(""); code(err) != "-ERR [IN-USE]" || listed > 0 {
		t.Errorf("the second login: %s, and %d entries were listed", code(err), listed)
	}
}

// TestTwoSpellings: what is deleted in Foo and kept is not removed from foo, where those are two
// folders whose messages have the same ids; nor is it hidden there.
func TestTwoSpellings(t *testing.T) {
	t.Parallel()
	for name, folders := range map[string]map[string]string{
		"two folders":               {"Foo": "Foo", "foo": "foo"},
		"two folders, and not said": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeping(t)
			k.store.folders = folders
			k.in("Foo", 2)
			k.now = k.now.Add(3 * day)
			if shown := k.in("foo"); shown != "m1 m2 m3 m4" || len(k.store.removed) > 0 {
				t.Errorf("in foo %q is shown, and %v were removed", shown, k.store.removed)
			}
			if shown := k.in("Foo"); shown != "m1 m3 m4" || fmt.Sprint(k.store.removed) != "[m2]" {
				t.Errorf("in Foo %q is shown, and %v were removed", shown, k.store.removed)
			}
		})
	}
}

// TestTwoNames: what is deleted by one name of a folder is hidden by the other, too, and removed
// once, by the sweeper.
func TestTwoNames(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	k.store.folders = map[string]string{"": "Lists.Go", "Lists/Go": "Lists.Go", "Lists.Go": "Lists.Go"}
	keys := newKeys(k.kept.DB)
	k.in("Lists/Go", 2)
	if shown := k.in("Lists.Go", 1); shown != "m1 m3 m4" {
		t.Errorf("by its other name %q is shown", shown)
	}
	if shown := k.in(""); shown != "m3 m4" {
		t.Errorf("by no name %q is shown", shown)
	}
	k.now = k.now.Add(3 * day)
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(impersonatingStore{k.store})))
	if err != nil {
		t.Fatal(err)
	}
	s := maildrop.Sweeper{Retention: k.kept, Locks: k.locks, Keys: keys, Table: func() *stores.Table { return table }}
	if _, err := s.Task().Do(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(k.store.removed); got != "[m1 m2]" && got != "[m2 m1]" {
		t.Errorf("the sweeper removed %s", got)
	}
}

// in is a session in a folder.
func (k *keeping) in(folder string, deleted ...int) (shown string) {
	k.t.Helper()
	drop, err := k.enter(folder)
	if err != nil {
		k.t.Fatal(err)
	}
	shown = uidls(drop)
	if err := drop.Update(k.t.Context(), deleted); err != nil {
		k.t.Error(err)
	}
	if err := drop.Close(); err != nil {
		k.t.Error(err)
	}
	return shown
}

// TestHeldByAllNames: a message that is held is held by each of the folder's names, and one that
// was renamed keeps its unique-id (I7).
func TestHeldByAllNames(t *testing.T) {
	t.Parallel()
	quarantined := newQuarantine(t)
	g := newGateway(t, func(o *maildrop.Options) {
		o.Quarantine, o.Keys = quarantined, newKeys(quarantined.DB)
	})
	g.store.add("m1", letter)
	g.store.folders = map[string]string{"": "Archive", "Archive": "Archive"}
	m := folder.Message{Key: folder.Key{Store: "sakes", Account: "alice-id", Folder: "archive"}, ID: "m1", UIDL: "m1"}
	e, err := quarantined.Failed(t.Context(), m, backends.Fail(backends.Poison, "no"), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := quarantined.Hide(t.Context(), []string{e.Number}); err != nil {
		t.Fatal(err)
	}
	if err := quarantined.Release(t.Context(), folder.QuarantineEntry{Message: m, Number: e.Number, State: folder.Hidden}); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, name := range []string{"", "Archive", ""} {
		drop, err := g.enter(name)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, drop.UIDL(1))
		_ = drop.Close()
	}
	if told[1] == "m1" || told[1] != told[2] {
		t.Errorf("the unique-ids by three logins: %q", told)
	}
}
