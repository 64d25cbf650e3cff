package relay

import (
	"io"
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

// TestBackOffIsToldOnce: a failure that several connections have seen is one.
func TestBackOffIsToldOnce(t *testing.T) {
	told := 0
	r := &Relay{Observe: func(e Event) {
		if e.Kind == BackedOff {
			told++
		}
	}}
	r.Schedules.Normal.Retries = []time.Duration{time.Hour}
	d, now := &destination{r: r, name: "x.example"}, time.Now()
	for range 3 {
		d.backOff(delayed("4.4.1", io.EOF), now, false)
	}
	if told != 1 {
		t.Errorf("it is told %d times", told)
	}
	if d.backOff(delayed("4.4.1", io.EOF), now.Add(2*time.Hour), false); told != 2 {
		t.Errorf("with another one it is told %d times", told)
	}
}
