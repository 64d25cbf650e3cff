package signin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// tried tries a password that has an outcome.
func tried(t *testing.T, a *Lockout, user, password string, o outcome) error {
	t.Helper()
	end, err := a.begin(t.Context(), Credential{User: user, Password: password})
	if err == nil {
		end(o)
	}
	return err
}

// TestLockout: of a user a few wrong passwords go out within a time, each of them once, and the right one always.
func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewLockout(3, 15*time.Minute)
		kind := func(user, password string, o outcome) backends.Kind {
			return backends.KindOf(tried(t, a, user, password, o))
		}
		for _, step := range []struct {
			user, password string
			o              outcome
			want           backends.Kind
		}{
			{"george", "right", taken, 0},
			{"george", "wrong 1", turnedDown, 0},
			{"GEORGE", "wrong 1", turnedDown, backends.BadCredentials}, // it is not sent again
			{"george", "unanswered", undecided, 0},
			{"george", "wrong 2", turnedDown, 0},
			{"george", "wrong 3", turnedDown, 0},
			{"george", "wrong 4", turnedDown, backends.Throttled},
			{"george", "wrong 3", turnedDown, backends.BadCredentials},
			{"chris", "wrong 1", turnedDown, 0},
			{"george", "right", undecided, 0}, // an outage
			{"george", "wrong 4", turnedDown, backends.Throttled},
			{"george", "right", taken, 0}, // resets the count
			{"george", "wrong 1", turnedDown, 0},
			{"george", "right", turnedDown, 0}, // it was changed
			{"george", "right", turnedDown, backends.BadCredentials},
			{"george", "wrong 5", turnedDown, 0},
			{"george", "new", taken, backends.Throttled},
		} {
			if got := kind(step.user, step.password, step.o); got != step.want {
				t.Errorf("%+v: %v", step, got)
			}
		}
		time.Sleep(15 * time.Minute)
		if got := kind("george", "new", taken); got != 0 {
			t.Errorf("after the time: %v", got)
		}
		err := tried(t, a, "chris", "wrong 1", turnedDown)
		if err != nil && strings.Contains(err.Error(), "wrong 1") {
			t.Error(err)
		}
	})
}

// TestLockoutTogether: of many at once no more go out than may be refused, and all others wait for what becomes of those.
func TestLockoutTogether(t *testing.T) {
	for _, o := range []outcome{taken, turnedDown} {
		synctest.Test(t, func(t *testing.T) {
			a := NewLockout(3, time.Hour)
			var mu sync.Mutex
			out, most := 0, 0
			count := func(n int) {
				mu.Lock()
				defer mu.Unlock()
				out += n
				most = max(most, out)
			}
			results := make(chan error, 10)
			for range 10 {
				go func() {
					end, err := a.begin(t.Context(), Credential{User: "george", Password: "same"})
					if err == nil {
						count(1)
						time.Sleep(time.Second)
						count(-1)
						end(o)
					}
					results <- err
				}()
				synctest.Wait()
			}
			good := 0
			for range 10 {
				if <-results == nil {
					good++
				}
			}
			if o == taken && (good != 10 || most < 3) || o == turnedDown && (good > 3 || most > 3) {
				t.Errorf("%d: %d went out, %d at once", o, good, most)
			}
		})
	}
	a := NewLockout(1, time.Hour)
	if _, err := a.begin(t.Context(), Credential{User: "george", Password: "a"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.begin(ctx, Credential{User: "george", Password: "b"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestLockoutIsBounded: many users cost no more memory than a bound.
func TestLockoutIsBounded(t *testing.T) {
	a := NewLockout(3, time.Hour)
	for i := range usersMost + 100 {
		_ = tried(t, a, fmt.Sprint("user", i), "wrong", turnedDown)
	}
	if len(a.users) > usersMost {
		t.Errorf("%d users", len(a.users))
	}
}

// TestTry: what presents a credential in another way is guarded as requests are.
func TestTry(t *testing.T) {
	s, err := New(Config{URL: "https://mail.sakes.example", Lockout: NewLockout(2, time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	try := func(l *Login, outcome error) backends.Kind {
		return backends.KindOf(l.Try(t.Context(), func() error {
			tries++
			return outcome
		}))
	}
	refused := backends.Fail(backends.BadCredentials, "refused")
	login := func(password string) *Login { return s.Login(Credential{User: "george", Password: password}) }
	george := login("right")
	wrong := login("wrong")
	for i, step := range []struct {
		login   *Login
		outcome error
		want    backends.Kind
		tries   int
	}{
		{george, nil, 0, 1},
		{george.Again(), backends.Fail(backends.Temporary, "an outage"), backends.Temporary, 2},
		{george, nil, 0, 3},
		{wrong, refused, backends.BadCredentials, 4},
		{wrong, nil, backends.BadCredentials, 4},
		{login("wrong"), nil, backends.BadCredentials, 4}, // it was refused lately
		{login("also wrong"), refused, backends.BadCredentials, 5},
		{login("another"), nil, backends.Throttled, 5},
		{login("right"), backends.Fail(backends.PasswordExpired, "expired"), backends.PasswordExpired, 6},
	} {
		if got := try(step.login, step.outcome); got != step.want || tries != step.tries {
			t.Errorf("%d: %v after %d tries", i, got, tries)
		}
	}
}
