package relay

import (
	"strings"
	"testing"
	"time"
)

// TestBackoffIsByTheWallClock: the queue knows the end of a back-off by the wall clock alone. Where a clock that is set forward
// ends it for the queue and not here, each failure would be the same one, with an end that is past, and be followed by
// the next attempt at once.
func TestBackoffIsByTheWallClock(t *testing.T) {
	var b backoffs
	wait := func(failures int) time.Duration { return time.Duration(failures+1) * time.Hour }
	begin := time.Now()
	for range 2 {
		until, _ := b.failed("x.example", wait, begin)
		if strings.Contains(until.String(), " m=") || !until.Equal(begin.Add(time.Hour)) {
			t.Errorf("it is left alone until %s", until)
		}
	}
	set := begin.Round(0).Add(90 * time.Minute)
	if until, _ := b.failed("x.example", wait, set); !until.Equal(set.Add(2 * time.Hour)) {
		t.Errorf("it is left alone until %s", until)
	}
}
