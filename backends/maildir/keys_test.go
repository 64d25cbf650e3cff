package maildir

import (
	"fmt"
	"testing"
)

// TestRecentKeys: the last deliveries are remembered, and no more of them than that. What is told of one again takes no
// other's place.
func TestRecentKeys(t *testing.T) {
	const most = 3
	anna := address{"anna", "sakes.example"}
	r := newRecentKeys(most)
	for n := range 3 * most {
		key := fmt.Sprint(n)
		r.set(anna, key, suspect)
		r.set(anna, key, delivered)
		for old := range n + 1 {
			want := delivered
			if old <= n-most {
				want = unknown
			}
			if got := r.get(anna, fmt.Sprint(old)); got != want {
				t.Errorf("after %d deliveries, number %d is %d, want %d", n+1, old, got, want)
			}
		}
		if len(r.state) > most || len(r.ring) > most {
			t.Errorf("%d are remembered, in a ring of %d", len(r.state), len(r.ring))
		}
	}
	if got := r.get(address{"ben", "sakes.example"}, "8"); got != unknown {
		t.Error("another recipient's delivery is known:", got)
	}
}
