package login_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

// farStore takes a while to answer a login.
type farStore struct {
	*fakeStore
	takes time.Duration
	panic bool
}

func (f *farStore) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if f.panic {
		panic("a fault")
	}
	a, err := f.fakeStore.Login(ctx, c)
	select {
	case <-time.After(f.takes):
		return a, err
	case <-ctx.Done():
		return backends.Account{}, ctx.Err()
	}
}

// farWorld has a device at 192.0.2.0/24 whose store is far away.
func farWorld(t *testing.T, remember time.Duration) *world {
	w := newWorld(t, impersonation)
	w.table[0].Backend = &farStore{fakeStore: w.store, takes: time.Second}
	w.devices.network, w.devices.atNetwork = netip.MustParsePrefix("192.0.2.0/24"), device(nil)
	w.change(func(p *login.Policy) { p.Remember = remember })
	return w
}

// recognize has so many connections of the device come at once, and gives what became of them.
func (w *world) recognize(ctx context.Context, many int) []error {
	failed := make([]error, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			client := newClient()
			client.peer.Protocol = "submission"
			known, err := w.Recognize(ctx, client)
			if err == nil && (!known || client.account != "alice-id") {
				err = errors.New("it is let in as " + client.account)
			}
			failed[i] = err
		})
	}
	all.Wait()
	return failed
}

// TestDevicesShareALogin: 100 devices of an account that come at once are one login at the store, and so are those that come
// while that is remembered.
func TestDevicesShareALogin(t *testing.T) {
	for _, test := range []struct {
		name     string
		remember time.Duration
		then     func(w *world) // between two crowds
		logins   int
	}{
		{"remembered", 5 * time.Minute, func(w *world) { w.now = w.now.Add(5*time.Minute - 1) }, 1},
		{"for too long", 5 * time.Minute, func(w *world) { w.now = w.now.Add(5 * time.Minute) }, 2},
		{"not at all", 0, func(*world) {}, 2},
		{"the account has changed", time.Hour, func(w *world) { w.Changed("sakes", backends.Hint{Kind: backends.HintAccount, Account: "alice-id"}) }, 2},
		{"anything has changed", time.Hour, func(w *world) { w.Changed("sakes", backends.Hint{}) }, 2},
		{"a mail has come", time.Hour, func(w *world) { w.Changed("sakes", backends.Hint{Kind: backends.HintNewMail, Account: "alice-id"}) }, 1},
		{"another store has changed", time.Hour, func(w *world) { w.Changed("tea", backends.Hint{}) }, 1},
		{"a reload", time.Hour, func(w *world) { w.change(func(*login.Policy) {}) }, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := farWorld(t, test.remember)
				for range 2 {
					for _, err := range w.recognize(t.Context(), 100) {
						if err != nil {
							t.Fatal(err)
						}
					}
					test.then(w)
				}
				if n := len(w.store.seen()); n != test.logins {
					t.Errorf("%d logins, not %d", n, test.logins)
				}
			})
		})
	}
}

// TestSharedLoginFails: what fails is told to all who wait, and is asked for again by who comes next. Whoever leaves takes the
// answer from nobody.
func TestSharedLoginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := farWorld(t, time.Hour)
		w.store.fail = backends.Fail(backends.AccountDisabled, "disabled")
		for _, err := range w.recognize(t.Context(), 100) {
			if kindOf(err) != backends.AccountDisabled {
				t.Fatalf("got %v", err)
			}
		}
		if n := len(w.store.seen()); n != 1 {
			t.Errorf("%d logins", n)
		}
		w.store.fail = nil
		leaving, leave := context.WithCancel(t.Context())
		var first, others []error
		var both sync.WaitGroup
		both.Go(func() { first = w.recognize(leaving, 1) })
		synctest.Wait()
		both.Go(func() { others = w.recognize(t.Context(), 2) })
		synctest.Wait()
		leave()
		both.Wait()
		if first[0] == nil || errors.Join(others...) != nil || len(w.store.seen()) != 1 {
			t.Errorf("who left: %v, the others: %v", first, others)
		}
	})
}

// TestSharedLoginPanics: a fault in a store's code is a failure of those who wait, and ends nothing else.
func TestSharedLoginPanics(t *testing.T) {
	w := farWorld(t, time.Hour)
	w.table[0].Backend = &farStore{fakeStore: w.store, panic: true}
	for _, err := range w.recognize(t.Context(), 10) {
		if kindOf(err) != backends.Temporary {
			t.Fatalf("got %v", err)
		}
	}
}

// TestChangeDuringASharedLogin: who comes after the store has told of a change does not wait for what was asked before it.
func TestChangeDuringASharedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := farWorld(t, time.Hour)
		var before, after []error
		var both sync.WaitGroup
		both.Go(func() { before = w.recognize(t.Context(), 1) })
		synctest.Wait()
		w.Changed("sakes", backends.Hint{Kind: backends.HintAccount, Account: "alice-id"})
		w.store.fail = backends.Fail(backends.AccountDisabled, "disabled")
		both.Go(func() { after = w.recognize(t.Context(), 1) })
		both.Wait()
		if before[0] != nil || kindOf(after[0]) != backends.AccountDisabled {
			t.Errorf("before: %v, after: %v", before, after)
		}
	})
}

// TestPeopleLogInThemselves: a person's application password is no reason to share.
func TestPeopleLogInThemselves(t *testing.T) {
	w := newWorld(t, impersonation)
	text := w.add(nil)
	w.change(func(p *login.Policy) { p.Remember = time.Hour })
	for range 3 {
		if err := w.Password(t.Context(), newClient(), "alice@sakes.example", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.store.seen()); n != 3 {
		t.Errorf("%d logins", n)
	}
}
