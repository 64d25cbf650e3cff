package track

import (
	"testing"
	"time"
)

// A search takes no more together than there is room for, the latest, and says so.
func TestLarge(t *testing.T) {
	const events = 2 * octetsMost / lineMost
	found := make([]Event, events)
	line := make([]byte, lineMost)
	for i := range found {
		found[i] = Event{Node: "mx", At: time.UnixMicro(int64(i)), Line: line}
	}
	s := search{have: map[string]map[int64]bool{"mx": {}}}
	if !s.add(found[events-10:], eventsMost) {
		t.Error("there is no room for a few")
	}
	if s.add(found[:events-10], eventsMost) {
		t.Error("there is room for all")
	}
	last := s.events[len(s.events)-1]
	if len(s.events) != octetsMost/lineMost || last.At.UnixMicro() != events-octetsMost/lineMost {
		t.Errorf("%d events, the first is %s", len(s.events), last.At)
	}
	if s = (search{have: map[string]map[int64]bool{"mx": {}}}); s.add(found[:10], 9) || len(s.events) != 9 {
		t.Errorf("%d events of 9", len(s.events))
	}
}
