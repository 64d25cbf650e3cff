package login_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
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

// bench drives a throttle by a clock of its own.
type bench struct {
	*login.MemoryThrottle
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, limits login.ThrottleLimits) *bench {
	b := &bench{t: t, now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	limits.Now = func() time.Time { return b.now }
	b.MemoryThrottle = login.NewMemoryThrottle(limits)
	return b
}

func (b *bench) fail(peer netip.Addr, account string, times int) {
	for range times {
		if err := b.Report(context.Background(), peer, account, false); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) good(peer netip.Addr, account string) {
	if err := b.Report(context.Background(), peer, account, true); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wait(peer netip.Addr, account string) time.Duration {
	b.t.Helper()
	wait, err := b.Admit(context.Background(), peer, account)
	if err != nil {
		b.t.Fatal(err)
	}
	return wait
}

func TestDelayGrowsAndDecays(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	b.fail(here, "alice", 3)
	if wait := b.wait(here, "alice"); wait != 0 {
		t.Errorf("after three failures: %v", wait)
	}
	var waits []time.Duration
	for range 7 {
		b.fail(here, "alice", 1)
		b.now = b.now.Add(time.Second / 10) // of no weight to the count
		wait := b.wait(elsewhere, "alice")  // the account's delay, without the network's queue
		waits = append(waits, wait.Round(time.Second/4))
	}
	want := []time.Duration{500, 1000, 2000, 4000, 8000, 15000, 15000}
	for i := range want {
		if want[i] *= time.Millisecond; waits[i] != want[i] {
			t.Errorf("failure %d: %v, want about %v", i+4, waits[i], want[i])
		}
	}
	b.now = b.now.Add(time.Hour)
	if wait := b.wait(elsewhere, "alice"); wait != 0 {
		t.Errorf("an hour later: %v", wait)
	}
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
			b := newBench(t, login.ThrottleLimits{})
			for i := range 6 {
				b.fail(test.failed, fmt.Sprint("user", i), 1)
			}
			if wait := b.wait(test.asked, "alice"); (wait > 0) != test.delayed {
				t.Errorf("wait is %v", wait)
			}
		})
	}
}

func TestParallelAttemptsQueueThenAreRefused(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	for i := range 8 { // a delay of 8 s
		b.fail(here, fmt.Sprint("user", i), 1)
	}
	var last time.Duration
	admitted := 0
	for range 50 {
		wait, err := b.Admit(t.Context(), here, "alice")
		if err != nil {
			if backends.KindOf(err) != backends.Throttled {
				t.Fatal(err)
			}
			continue
		}
		admitted++
		if wait < last+8*time.Second {
			t.Errorf("attempt %d is admitted %v after the one before", admitted, wait-last)
		}
		last = wait
	}
	if admitted == 0 || admitted > 3 {
		t.Errorf("%d of 50 attempts at once were admitted", admitted)
	}
}

func TestFamiliarPairIsNotDelayed(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	b.good(here, "alice")
	b.fail(neighbour, "bob", 20)
	b.fail(elsewhere, "alice", 20)
	if wait := b.wait(here, "alice"); wait != 0 {
		t.Errorf("alice at home waits %v", wait)
	}
	b.fail(here, "alice", 6)
	if wait := b.wait(here, "alice"); wait == 0 {
		t.Error("guessing at a familiar place is free")
	}
	b.good(here, "alice")
	if wait := b.wait(here, "alice"); wait != 0 {
		t.Errorf("alice, right again, waits %v", wait)
	}
}

func TestSuccessElsewhereDoesNotWashTheNetwork(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	for i := range 10 {
		b.fail(here, fmt.Sprint("user", i), 1)
		b.good(here, "mallory")
	}
	if wait := b.wait(here, "alice"); wait == 0 {
		t.Error("an own account's logins wash the guesses away")
	}
}

func TestAccountIsNeverShutOut(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	for i := range 200 {
		b.fail(netip.AddrFrom4([4]byte{10, 1, byte(i), 1}), "alice", 1)
	}
	for range 50 {
		if wait := b.wait(elsewhere, "alice"); wait > 15*time.Second {
			t.Fatalf("wait is %v", wait)
		}
	}
}

// TestNoAccountYet has attempts whose name is not known, as those that a store conducts can be:
// they are nobody's account, and count for their network alone.
func TestNoAccountYet(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{})
	b.fail(here, "", 20)
	if wait := b.wait(elsewhere, ""); wait != 0 {
		t.Errorf("somebody elsewhere waits %v", wait)
	}
	if wait := b.wait(neighbour, ""); wait == 0 {
		t.Error("guessing without a name is free")
	}
}

func TestCountersAreBounded(t *testing.T) {
	b := newBench(t, login.ThrottleLimits{Entries: 100})
	b.fail(here, "victim", 10)
	for i := range 1000 {
		b.fail(netip.AddrFrom4([4]byte{10, byte(i / 256), byte(i), 1}), fmt.Sprint("user", i), 1)
		b.wait(elsewhere, "victim") // asked for, so kept
	}
	if n := b.Len(); n > 100 {
		t.Errorf("%d counters", n)
	}
	if wait := b.wait(elsewhere, "victim"); wait == 0 {
		t.Error("a counter in use was thrown out")
	}
}

func TestThrottleConcurrently(t *testing.T) {
	m := login.NewMemoryThrottle(login.ThrottleLimits{Entries: 50})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				peer := netip.AddrFrom4([4]byte{10, byte(g), byte(i), 1})
				_, _ = m.Admit(t.Context(), peer, fmt.Sprint(i%7))
				_ = m.Report(t.Context(), peer, fmt.Sprint(i%7), i%3 == 0)
			}
		})
	}
	wg.Wait()
	if m.Len() > 50 {
		t.Errorf("%d counters", m.Len())
	}
}
