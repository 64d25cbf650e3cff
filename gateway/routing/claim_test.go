//go:build linux

package routing

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// TestClaimOfWhatHasChanged: an attempt that another transaction has had since it was read is not
// claimed as it was. Its copy of bob would stand for two messages (I1).
func TestClaimOfWhatHasChanged(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		l, err := OpenDedup(t.Context(), DedupOptions{Log: zerolog.Nop(), DB: databases.Open(t, o)})
		if err != nil {
			t.Fatal(err)
		}
		m := Message{Fingerprint: "f", Recipients: []string{"bob"}, Named: true}
		first := newAttempt("f", l.o.Now())
		first.note([]string{"bob", "eve"}, nil)
		if err := l.Put(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		read, err := l.seen(t.Context(), m)
		if err != nil || len(read) != 1 {
			t.Fatalf("%+v, %v", read, err)
		}
		other, err := l.Take(t.Context(), m)
		if err != nil || other.Key != first.Key {
			t.Fatalf("%+v, %v", other, err)
		}
		other.settle(m.Recipients) // bob's is told
		if err := l.Put(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if mine, err := l.claim(t.Context(), read[0]); mine || err != nil {
			t.Errorf("claimed with %+v: %v, %v", read[0], mine, err)
		}
	})
}
