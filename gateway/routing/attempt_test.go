package routing

import (
	"fmt"
	"testing"
)

// TestAttemptIsBounded: a message that is sent again and again, to others each time, does not grow what
// is remembered of it without an end. The latest recipients are known.
func TestAttemptIsBounded(t *testing.T) {
	a := &Attempt{}
	last := ""
	for n := range 3 * attemptMost / 1000 {
		var to []string
		for i := range 1000 {
			last = fmt.Sprintf("%d.%d@sakes.example", n, i)
			to = append(to, last)
		}
		a.note(to, to)
	}
	if len(a.Delivered) != attemptMost || len(a.Unknown) != attemptMost {
		t.Errorf("%d and %d recipients are remembered", len(a.Delivered), len(a.Unknown))
	}
	if !a.knows(set([]string{last})) {
		t.Error("the last one is forgotten")
	}
}
