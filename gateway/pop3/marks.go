package pop3

import "math/bits"

// marks are the messages that DELE has marked: a bit each.
type marks struct {
	words []uint64
	count int
}

func (m *marks) has(n int) bool {
	return n/64 < len(m.words) && m.words[n/64]&(1<<(n%64)) != 0
}

// set marks message n of most.
func (m *marks) set(n, most int) {
	if m.words == nil {
		m.words = make([]uint64, most/64+1)
	}
	if !m.has(n) {
		m.words[n/64] |= 1 << (n % 64)
		m.count++
	}
}

// all gives the marked numbers, ascending.
func (m *marks) all() []int {
	if m.count == 0 {
		return nil
	}
	all := make([]int, 0, m.count)
	for i, word := range m.words {
		for ; word != 0; word &= word - 1 {
			all = append(all, i*64+bits.TrailingZeros64(word))
		}
	}
	return all
}
