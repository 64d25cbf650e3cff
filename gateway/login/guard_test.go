package login_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

func attempt(user string) *login.Attempt {
	name, _ := stores.ParseName(user)
	return &login.Attempt{Peer: backends.Peer{Address: "192.0.2.7:4711", Protocol: "pop3", Session: "s1"}, Protocol: "pop3s", Name: name, Store: "sakes"}
}

func TestGuardTime(t *testing.T) {
	wrong := backends.Fail(backends.BadCredentials, "no such user")
	for _, test := range []struct {
		name  string
		store time.Duration
		err   error
		took  time.Duration
	}{
		{"good", 30 * time.Millisecond, nil, 30 * time.Millisecond},
		{"outage", 30 * time.Millisecond, backends.Fail(backends.Temporary, "down"), 30 * time.Millisecond},
		{"unknown domain: no store is asked", 0, wrong, time.Second},
		{"unknown user", time.Millisecond, wrong, time.Second},
		{"wrong password, after a slow hash", 700 * time.Millisecond, wrong, time.Second},
		{"slower than the floor", 1200 * time.Millisecond, wrong, 2 * time.Second},
		{"refused, and it is not said why", time.Millisecond, &backends.Failure{Kind: backends.Temporary, Guess: true}, time.Second},
		{"not allowed to log in", time.Millisecond, backends.Fail(backends.Permanent, "disabled"), time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard := login.NewGuard(login.GuardOptions{Log: zerolog.Nop()})
				start := time.Now()
				err := guard.Do(t.Context(), attempt("alice"), func(ctx context.Context) error {
					time.Sleep(test.store) // the store's work, on the bubble's clock
					return test.err
				})
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if !errors.Is(err, test.err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestGuardDoesNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := login.NewGuard(login.GuardOptions{Log: zerolog.Nop()})
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_ = guard.Do(t.Context(), attempt("mallory"), func(context.Context) error {
					return login.WrongCredentials("no")
				})
			})
		}
		synctest.Wait()
		if err := guard.Do(t.Context(), attempt("alice"), func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("alice waited %v", took)
		}
		wg.Wait()
	})
}

func TestGuardEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := login.NewGuard(login.GuardOptions{Log: zerolog.Nop()})
		wrong := func(context.Context) error { return login.WrongCredentials("no") }
		for range 9 {
			_ = guard.Do(t.Context(), attempt("alice"), wrong)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/10)
		defer cancel()
		asked := false
		start := time.Now()
		err := guard.Do(ctx, attempt("alice"), func(context.Context) error { asked = true; return nil })
		if took := time.Since(start); took != time.Second/10 || asked || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("took %v, asked %v, %v", took, asked, err)
		}
	})
}

// reports is a throttle that notes what it is told.
type reports struct{ good, bad int }

func (r *reports) Begin(context.Context, netip.Addr, string) (login.Turn, error) { return r, nil }

func (*reports) Prove() {}

func (r *reports) End(_ string, outcome login.Outcome) {
	switch outcome {
	case login.Good:
		r.good++
	case login.Wrong:
		r.bad++
	}
}

func TestGuardCountsAndLogs(t *testing.T) {
	for _, test := range []struct {
		name    string
		err     error
		good    int
		bad     int
		outcome string
	}{
		{"good", nil, 1, 0, "accepted"},
		{"wrong", login.WrongCredentials("no"), 0, 1, "refused"},
		{"outage", backends.Fail(backends.Temporary, "down"), 0, 0, "failed"},
		{"unknown error", errors.New("boom"), 0, 0, "failed"},
		{"right, and another session has it", backends.Fail(backends.InUse, "busy"), 1, 0, "busy"},
		{"refused, and it is not said why", &backends.Failure{Kind: backends.Temporary, Guess: true}, 0, 1, "refused"},
		{"store throttles", backends.Fail(backends.Throttled, "busy"), 0, 0, "throttled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				counts := &reports{}
				guard := login.NewGuard(login.GuardOptions{Log: zerolog.New(&log), Throttle: counts})
				err := guard.Do(t.Context(), attempt("alice@sakes.example"), func(context.Context) error { return test.err })
				if !errors.Is(err, test.err) || counts.good != test.good || counts.bad != test.bad {
					t.Errorf("%v, counts %+v", err, counts)
				}
				for _, want := range []string{`"outcome":"` + test.outcome + `"`, `"user":"alice@sakes.example"`, `"session":"s1"`, `"store":"sakes"`, `"event":"login"`, `"remote":"192.0.2.7:4711"`} {
					if !strings.Contains(log.String(), want) {
						t.Errorf("%s is missing in %s", want, log.String())
					}
				}
			})
		})
	}
}
