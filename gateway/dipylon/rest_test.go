package main

import (
	"fmt"
	"slices"
	"testing"
)

func TestRestingIsTrimmed(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name  string
		live  uint64
		steps []uint64 // octets allocated before each look
		trims []int    // the looks that trim
	}{
		{"nothing happens", 0, []uint64{0, 0, 0}, nil},
		{"little happens", 0, []uint64{mib, mib, 0}, nil},
		{"busy, then at rest", 0, []uint64{50 * mib, 50 * mib, 0, 1000, 0, 0, 0}, []int{2, 3, 4, 5}},
		{"always busy", 0, []uint64{2 * mib, 2 * mib, 2 * mib, 2 * mib, 2 * mib}, nil},
		{"busy again before it is trimmed", 0, []uint64{50 * mib, 0, 50 * mib, 0, 0, 0, 0, 0}, []int{1, 3, 4, 5, 6}},
		{"not worth it with a large heap", 100 * mib, []uint64{40 * mib, 0, 0}, nil},
		{"worth it with a large heap", 100 * mib, []uint64{60 * mib, 0, 0, 0, 0, 0}, []int{1, 2, 3, 4}},
		{"a trickle adds up", 0, []uint64{mib - 1, mib - 1, mib - 1, mib - 1, mib - 1, 0, 0, 0, 0}, []int{4, 5, 6, 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var octets uint64
			var look int
			var trims []int
			r := resting{
				allocated: func() (uint64, uint64) { return octets, test.live },
				trim:      func() { trims = append(trims, look) },
			}
			for i, step := range test.steps {
				octets += step
				look = i
				r.look()
			}
			if !slices.Equal(trims, test.trims) {
				t.Errorf("trimmed at the looks %v, want %v", trims, test.trims)
			}
		})
	}
}

// The counters are the runtime's: they go up with what is allocated.
func TestAllocated(t *testing.T) {
	before, _ := allocated()
	kept := make([]byte, 8<<20)
	after, _ := allocated()
	if after-before < uint64(len(kept)) {
		t.Error(fmt.Sprint(before, " then ", after))
	}
}
