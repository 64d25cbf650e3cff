package relay

import (
	"errors"
	"testing"
	"time"
)

// TestLetsOthersTry: where all wait for the failure of one destination, or of some in a row, those try last; where nobody else has mail
// they try all the same.
func TestLetsOthersTry(t *testing.T) {
	wait := func(int) time.Duration { return time.Minute }
	away, blocked := delayed("4.4.1", errors.New("away")), delayed(codeLogin, errors.New("blocked"))
	away.whole = true
	for name, test := range map[string]struct {
		v   verdict
		bad []string
	}{
		"one": {away, []string{"a"}}, "some in a row": {blocked, []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			var c commons
			now := time.Now()
			for range 3 { // each time that it is found to be down
				var until time.Time
				for _, bad := range test.bad {
					until, _ = c.failed("route:x", bad, test.v, wait, now)
				}
				if until.IsZero() {
					t.Fatal("nobody waits")
				}
				now = until
				for _, bad := range test.bad {
					if again, _, probe := c.ask("route:x", bad, now); probe || !again.Equal(now.Add(probeAgain)) {
						t.Fatalf("%s tries: %t, and again at %v", bad, probe, again)
					}
				}
				if _, _, probe := c.ask("route:x", "good", now); !probe {
					t.Fatal("nobody tries")
				}
				c.leaves("route:x", "good") // it has no mail any more
				now = now.Add(probeAgain)
				if _, _, probe := c.ask("route:x", test.bad[0], now); !probe {
					t.Fatal("it waits for ever")
				}
			}
		})
	}
}

// TestLateFailure: what was under way when all began to wait, and fails when the time is over, has nobody wait again: the probe counts.
func TestLateFailure(t *testing.T) {
	wait := func(int) time.Duration { return time.Minute }
	away := delayed("4.4.1", errors.New("away"))
	away.whole = true
	var c commons
	until, _ := c.failed("route:x", "a", away, wait, time.Now())
	if _, _, probe := c.ask("route:x", "good", until); !probe {
		t.Fatal("nobody tries")
	}
	if again, news := c.failed("route:x", "late", away, wait, until); news || !again.IsZero() {
		t.Errorf("all wait until %v, %t", again, news)
	}
	if _, _, probe := c.ask("route:x", "other", until); probe {
		t.Error("two try")
	}
	if !c.works("route:x", "good") {
		t.Error("the probe does not count")
	}
}
