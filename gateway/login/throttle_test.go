package login_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

var (
	here      = netip.MustParseAddr("192.0.2.7")
	neighbour = netip.MustParseAddr("192.0.2.99")
	elsewhere = netip.MustParseAddr("198.51.100.1")
	six       = netip.MustParseAddr("2001:db8:0:1::7")
	sixNear   = netip.MustParseAddr("2001:db8:0:1::99")
	sixFar    = netip.MustParseAddr("2001:db8:0:2::7")
)

// far gives addresses of as many networks.
func far(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i / 256), byte(i), 1}) }

// bench drives a throttle in a bubble with a clock of its own.
type bench struct {
	*login.MemoryThrottle
	t *testing.T
}

func bubble(t *testing.T, limits login.ThrottleLimits, f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) { f(t, &bench{login.NewMemoryThrottle(limits), t}) })
}

// attempt makes one, which takes the store a tenth of a second, and says how long it waited.
func (b *bench) attempt(peer netip.Addr, account string, outcome login.Outcome) (time.Duration, error) {
	start := time.Now()
	turn, err := b.Begin(b.t.Context(), peer, account)
	waited := time.Since(start)
	if err == nil {
		time.Sleep(time.Second / 10)
		turn.End("", outcome)
	}
	return waited, err
}

// fail makes wrong attempts, and waits long enough for the next one not to be delayed by their
// spacing alone.
func (b *bench) fail(peer netip.Addr, account string, times int) {
	for range times {
		if _, err := b.attempt(peer, account, login.Wrong); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) wait(peer netip.Addr, account string, outcome login.Outcome) time.Duration {
	b.t.Helper()
	wait, err := b.attempt(peer, account, outcome)
	if err != nil {
		b.t.Fatal(err)
	}
	return wait
}

// guesses makes so many attempts at once, all of them wrong, and says when each began; the others
// were refused.
func (b *bench) guesses(n int, peer func(i int) netip.Addr, account func(i int) string) (began []time.Duration, refused int) {
	start := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			turn, err := b.Begin(b.t.Context(), peer(i), account(i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if backends.KindOf(err) != backends.Throttled {
					b.t.Error(err)
				}
				refused++
				return
			}
			began = append(began, time.Since(start))
			mu.Unlock()
			time.Sleep(time.Second / 10)
			turn.End("", login.Wrong)
			mu.Lock()
		})
	}
	all.Wait()
	return began, refused
}

func by(addr netip.Addr) func(int) netip.Addr { return func(int) netip.Addr { return addr } }
func to(account string) func(int) string      { return func(int) string { return account } }
func user(i int) string                       { return fmt.Sprint("user", i) }

func TestDelayGrowsAndDecays(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		for i, want := range []time.Duration{0, 0, 0, 0, 400, 900, 1900, 3900, 7900, 14900, 14900} {
			wait := b.wait(here, "alice", login.Wrong)
			if want *= time.Millisecond; (wait - want).Abs() > want/16 {
				t.Errorf("attempt %d waits %v, want about %v", i+1, wait, want)
			}
		}
		time.Sleep(time.Hour)
		for range 4 {
			if wait := b.wait(here, "alice", login.Wrong); wait != 0 {
				t.Errorf("an hour later it waits %v", wait)
			}
		}
	})
}

// TestGuessesAtOnce has fifty guesses at the same time: they delay each other from their beginning
// on.
func TestGuessesAtOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(b *bench)
		peer    func(int) netip.Addr
		account func(int) string
		most    int // that begin within half a minute
	}{
		{"of a fresh address for an account", nil, by(here), to("alice"), 10},
		{"of a fresh address for many accounts", nil, by(here), user, 10},
		{"of a whole network", nil, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }, user, 10},
		{"without a name", nil, by(here), to(""), 10},
		{"of a known pair", func(b *bench) { b.wait(here, "alice", login.Good) }, by(here), to("alice"), 10},
		{"of a known pair that has guessed before", func(b *bench) {
			b.wait(here, "alice", login.Good)
			b.fail(here, "alice", 10)
		}, by(here), to("alice"), 3},
		{"of a network that has guessed before", func(b *bench) { b.fail(here, "bob", 8) }, by(here), user, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
				if test.prepare != nil {
					test.prepare(b)
				}
				start := time.Now()
				began, refused := b.guesses(50, test.peer, test.account)
				if len(began) > test.most || len(began)+refused != 50 {
					t.Errorf("%d of 50 were made, %d refused", len(began), refused)
				}
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("the last one ended after %v", took)
				}
			})
		})
	}
}

// TestGuessesADay has somebody who guesses as fast as it is let, from everywhere at once.
func TestGuessesADay(t *testing.T) {
	for name, known := range map[string]bool{"of a known pair": true, "of a stranger": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
				if known {
					b.wait(here, "alice", login.Good)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
				defer cancel()
				var made int
				var mu sync.Mutex
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for ctx.Err() == nil {
							turn, err := b.Begin(ctx, here, "alice")
							if err != nil {
								time.Sleep(10 * time.Second)
								continue
							}
							mu.Lock()
							made++
							mu.Unlock()
							turn.End("", login.Wrong)
						}
					})
				}
				all.Wait()
				if made < 100 || made > 1500 {
					t.Errorf("%d guesses in six hours", made)
				}
			})
		})
	}
}

// TestGoodLoginsAtOnce has many clients of one office or one device start at the same time: each
// good one makes room for the next, and none is refused.
func TestGoodLoginsAtOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		account func(int) string
		known   bool
	}{
		{"of unauthenticated clients", user, false},
		{"of one account", to("alice"), false},
		{"of one known account", to("alice"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
				if test.known {
					b.wait(here, "alice", login.Good)
				}
				start := time.Now()
				var all sync.WaitGroup
				for i := range 100 {
					all.Go(func() {
						if _, err := b.attempt(here, test.account(i), login.Good); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("a hundred good logins took %v", took)
				}
			})
		})
	}
}

// TestOutagesAreTakenBack: neither an outage nor somebody who went away counts.
func TestOutagesAreTakenBack(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		for range 50 {
			if wait := b.wait(here, "alice", login.Unknown); wait != 0 {
				t.Fatalf("waits %v", wait)
			}
		}
		if n := b.Len(); n != 0 {
			t.Errorf("%d counters are kept of nothing", n)
		}
		turn, err := b.Begin(t.Context(), here, "alice")
		if err != nil {
			t.Fatal(err)
		}
		turn.End("", login.Wrong)
		for range 10 {
			turn.End("", login.Wrong) // again
		}
		if wait := b.wait(here, "alice", login.Wrong); wait != 0 {
			t.Errorf("one failure counted several times: %v", wait)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		b.fail(here, "alice", 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := b.Begin(ctx, here, "alice"); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestNetworks(t *testing.T) {
	for _, test := range []struct {
		name          string
		failed, asked netip.Addr
		delayed       bool
	}{
		{"the same address", here, here, true},
		{"the same /24", here, neighbour, true},
		{"another network", here, elsewhere, false},
		{"the same address, mapped into IPv6", here, netip.AddrFrom16(here.As16()), true},
		{"the same /64", six, sixNear, true},
		{"another /64", six, sixFar, false},
		{"no address", netip.Addr{}, netip.Addr{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
				for i := range 6 {
					b.fail(test.failed, user(i), 1)
				}
				if wait := b.wait(test.asked, "alice", login.Good); (wait > 0) != test.delayed {
					t.Errorf("wait is %v", wait)
				}
			})
		})
	}
}

// TestKnownPairIsNotDelayed has an owner at a known address, whatever others do.
func TestKnownPairIsNotDelayed(t *testing.T) {
	for _, test := range []struct {
		name    string
		owner   netip.Addr
		guesser netip.Addr
		account string
	}{
		{"a neighbour guesses another account", here, neighbour, "bob"},
		{"a neighbour guesses this account", here, neighbour, "alice"},
		{"somebody behind the same NAT guesses another account", here, here, "bob"},
		{"somebody elsewhere guesses this account", here, elsewhere, "alice"},
		{"a neighbour in the same /64 guesses this account", six, sixNear, "alice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
				b.wait(test.owner, "alice", login.Good)
				b.fail(test.guesser, test.account, 12)
				for range 10 {
					if wait := b.wait(test.owner, "alice", login.Good); wait != 0 {
						t.Fatalf("the owner waits %v", wait)
					}
				}
			})
		})
	}
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		b.wait(here, "alice", login.Good)
		b.fail(here, "alice", 6)
		if wait := b.wait(here, "alice", login.Good); wait == 0 {
			t.Error("guessing at a known place is free")
		}
		if wait := b.wait(here, "alice", login.Good); wait != 0 {
			t.Errorf("alice, right again, waits %v", wait)
		}
	})
}

func TestSuccessElsewhereDoesNotWashTheNetwork(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		for i := range 10 {
			b.fail(here, user(i), 1)
			b.wait(here, "mallory", login.Good)
		}
		if wait := b.wait(here, "alice", login.Wrong); wait == 0 {
			t.Error("an own account's logins wash the guesses away")
		}
	})
}

// TestAccountIsNeverShutOut has an account guessed from everywhere: attempts from elsewhere are
// spaced, and its owner, at a new place, gets a turn all the same.
func TestAccountIsNeverShutOut(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		done := make(chan int)
		go func() {
			began, refused := b.guesses(200, far, to("alice"))
			if refused > 0 {
				t.Errorf("%d were refused for the account's sake", refused)
			}
			early := 0
			for _, at := range began {
				if at < 29*time.Second {
					early++
				}
			}
			done <- early
		}()
		time.Sleep(time.Second)
		if wait := b.wait(elsewhere, "alice", login.Good); wait > 30*time.Second {
			t.Errorf("the owner waits %v", wait)
		}
		if early := <-done; early > 10 {
			t.Errorf("%d guesses were made before their turn", early)
		}
	})
}

// TestNoAccountYet has attempts whose name is not known, as those that a store conducts can be:
// they are nobody's account, and count for their network alone, until the name is told.
func TestNoAccountYet(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		b.fail(here, "", 10)
		if wait := b.wait(elsewhere, "", login.Wrong); wait != 0 {
			t.Errorf("somebody elsewhere waits %v", wait)
		}
		if wait := b.wait(neighbour, "", login.Wrong); wait == 0 {
			t.Error("guessing without a name is free")
		}
		for i := range 8 {
			turn, err := b.Begin(t.Context(), far(i), "")
			if err != nil {
				t.Fatal(err)
			}
			turn.End("alice", login.Wrong)
		}
		b.wait(elsewhere, "alice", login.Unknown)
		if wait := b.wait(elsewhere, "alice", login.Wrong); wait == 0 {
			t.Error("guesses whose name came late are not counted for it")
		}
	})
}

func TestCountersAreBounded(t *testing.T) {
	bubble(t, login.ThrottleLimits{Entries: 100}, func(t *testing.T, b *bench) {
		b.fail(here, "victim", 10)
		for i := range 1000 {
			turn, err := b.Begin(t.Context(), far(i), user(i))
			if err != nil {
				t.Fatal(err)
			}
			turn.End("", login.Wrong)
			if i%10 == 0 {
				turn, err := b.Begin(t.Context(), elsewhere, "victim") // asked for, so kept
				if err != nil {
					t.Fatal(err)
				}
				turn.End("", login.Unknown)
			}
		}
		if n := b.Len(); n > 100 {
			t.Errorf("%d counters", n)
		}
		b.wait(elsewhere, "victim", login.Unknown)
		if wait := b.wait(elsewhere, "victim", login.Unknown); wait == 0 {
			t.Error("a counter in use was thrown out")
		}
	})
}

// TestLimitsAreChanged has an administrator change the numbers under those who wait.
func TestLimitsAreChanged(t *testing.T) {
	bubble(t, login.ThrottleLimits{}, func(t *testing.T, b *bench) {
		b.fail(here, "alice", 6)
		b.SetLimits(login.ThrottleLimits{Free: 100})
		if wait := b.wait(here, "alice", login.Wrong); wait != 0 {
			t.Errorf("waits %v", wait)
		}
		b.SetLimits(login.ThrottleLimits{Free: 1, Base: time.Hour, Most: time.Hour})
		if _, err := b.attempt(here, "alice", login.Wrong); backends.KindOf(err) != backends.Throttled {
			t.Errorf("got %v", err)
		}
	})
}

func TestThrottleConcurrently(t *testing.T) {
	m := login.NewMemoryThrottle(login.ThrottleLimits{Entries: 50, Base: time.Microsecond, Most: time.Millisecond})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				peer := netip.AddrFrom4([4]byte{10, byte(g), byte(i), 1})
				turn, err := m.Begin(t.Context(), peer, fmt.Sprint(i%7))
				if err != nil {
					t.Error(err)
					return
				}
				turn.End("", login.Outcome(i%3))
			}
		})
	}
	wg.Wait()
	if m.Len() > 50 {
		t.Errorf("%d counters", m.Len())
	}
}
