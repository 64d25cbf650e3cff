package maildrop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

const day = 24 * time.Hour

// keeping is a gateway that keeps deleted messages for two days, with a clock of its own.
type keeping struct {
	*gateway
	kept *folder.Retention
	now  time.Time
}

func newKeeping(t *testing.T) *keeping {
	k := &keeping{now: time.Now()}
	k.kept = &folder.Retention{DB: newQuarantine(t).DB, Now: func() time.Time { return k.now }}
	k.gateway = newGateway(t, with(func(p *policy.Policy) { p.Keep = 2 * day }), func(o *maildrop.Options) {
		o.Retention, o.Keys = k.kept, newKeys(k.kept.DB)
	})
	for _, id := range []string{"m1", "m2", "m3", "m4"} {
		k.store.add(id, letter)
	}
	return k
}

// session sees what is shown, deletes some of it, and ends.
func (k *keeping) session(deleted ...int) (shown string) {
	k.t.Helper()
	drop, err := k.gateway.session().Password(k.t.Context(), "alice", []byte("sesame"))
	if err != nil {
		k.t.Fatal(err)
	}
	shown = uidls(drop)
	if err := drop.Update(k.t.Context(), deleted); err != nil {
		k.t.Errorf("deleting %v: %v", deleted, err)
	}
	if err := drop.Close(); err != nil {
		k.t.Error(err)
	}
	return shown
}

func (k *keeping) expect(when, shown, want, removed string) {
	k.t.Helper()
	if shown != want {
		k.t.Errorf("%s: %q is shown, not %q", when, shown, want)
	}
	if got := fmt.Sprint(k.store.removed); got != removed {
		k.t.Errorf("%s: removed are %s, not %s", when, got, removed)
	}
}

// TestDeletedIsKept: what a client deletes is hidden, stays in the store for its time, and is then
// removed by the owner's next session; nothing else is.
func TestDeletedIsKept(t *testing.T) {
	k := newKeeping(t)
	k.expect("the first day", k.session(2, 4), "m1 m2 m3 m4", "[]")
	k.now = k.now.Add(day)
	k.expect("a day later", k.session(1), "m1 m3", "[]")
	k.now = k.now.Add(day + time.Minute)
	k.expect("when the first are due", k.session(), "m3", "[m2 m4]")
	k.store.entries = []backends.Entry{k.store.entries[0], k.store.entries[2]} // they are gone
	k.now = k.now.Add(10 * day)
	k.expect("much later", k.session(), "m3", "[m2 m4 m1]")
	if kept, err := k.kept.In(t.Context(), folder.Key{Store: "sakes", Account: "alice-id"}); err != nil || len(kept) > 0 {
		t.Errorf("remembered still: %v, %v", kept, err)
	}
	k.idle()
}

// TestKeptIsNotRemovedWhereItCannotBe: a store that refuses is asked again, one day.
func TestKeptIsNotRemovedWhereItCannotBe(t *testing.T) {
	k := newKeeping(t)
	k.session(1)
	k.now = k.now.Add(3 * day)
	k.store.onRemove = func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
		return []backends.Removal{{ID: ids[0], Failure: backends.Fail(backends.Temporary, "not now")}}, nil
	}
	k.expect("refused", k.session(), "m2 m3 m4", "[]")
	k.store.onRemove = nil
	k.expect("then not", k.session(), "m2 m3 m4", "[m1]")
}

// TestKeptNeedsItsMemory: without the database deleted messages would come back, and what is
// deleted now would not be kept: neither happens.
func TestKeptNeedsItsMemory(t *testing.T) {
	k := newKeeping(t)
	k.session(1)
	drop := k.login()
	if err := k.kept.DB.Close(); err != nil {
		t.Fatal(err)
	}
	if err := drop.Update(t.Context(), []int{1}); code(err) != "-ERR [SYS/TEMP]" || len(k.store.removed) > 0 {
		t.Errorf("removed %v, %v", k.store.removed, err)
	}
	_ = drop.Close()
	if _, err := k.gateway.session().Password(t.Context(), "alice", []byte("sesame")); code(err) != "-ERR [SYS/TEMP]" {
		t.Errorf("a login: %v", err)
	}
}

// impersonatingStore is a fake store that takes the gateway's word.
type impersonatingStore struct{ *fakeStore }

func (s impersonatingStore) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialImpersonation}}, nil
}

func (s impersonatingStore) Open(_ context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	if r.Credential.Kind != backends.CredentialImpersonation || r.Credential.User != "alice-id" {
		return nil, errors.New("a credential of another kind")
	}
	return &fakeDrop{fakeStore: s.fakeStore, account: backends.Account{ID: "alice-id"}, folderID: s.folders[r.Folder]}, nil
}

// TestSweeper removes what is due without its owner, where the store lets it, and waits for
// sessions to end.
func TestSweeper(t *testing.T) {
	k := newKeeping(t)
	k.session(2, 3)
	k.now = k.now.Add(3 * day)
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(impersonatingStore{k.store})))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(k.store)))
	if err != nil {
		t.Fatal(err)
	}
	sweep := func(table *stores.Table) int64 {
		t.Helper()
		s := &maildrop.Sweeper{Log: zerolog.Nop(), Retention: k.kept, Locks: k.locks, Table: func() *stores.Table { return table }}
		rows, err := s.Task().Do(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if rows := sweep(plain); rows != 0 || len(k.store.removed) > 0 {
		t.Errorf("%d rows, removed %v: the store does not let the gateway act", rows, k.store.removed)
	}
	lock, err := k.locks.Acquire(t.Context(), folder.Key{Store: "sakes", Account: "alice-id"})
	if err != nil {
		t.Fatal(err)
	}
	if rows := sweep(table); rows != 0 || len(k.store.removed) > 0 {
		t.Errorf("%d rows, removed %v: a session has the folder", rows, k.store.removed)
	}
	lock.Release()
	if rows := sweep(table); rows != 2 || len(k.store.removed) != 2 {
		t.Errorf("%d rows, removed %v", rows, k.store.removed)
	}
	if rows := sweep(table); rows != 0 {
		t.Errorf("%d rows are left", rows)
	}
	if k.locks.Len() != 0 {
		t.Errorf("%d locks are held", k.locks.Len())
	}
}
