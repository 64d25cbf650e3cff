// Package spelling finds the word that a misspelt one was most likely meant to be: a key of the
// configuration, or of a store's settings.
package spelling

import (
	"math"
	"strings"
)

// Nearest is the name with the spelling of at most about a third of it changed that is nearest, or
// empty. Case does not count.
func Nearest(got string, names []string) string {
	best, distance := "", 1+max(1, len(got)/3)
	for _, name := range names {
		if d := edits(strings.ToLower(got), strings.ToLower(name)); d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// mostCompared bounds the names that are compared, as the work grows with its square.
const mostCompared = 64

// edits counts the octets to insert, delete, replace or swap with their neighbour to make b of a
// (the optimal string alignment distance).
func edits(a, b string) int {
	if len(a) > mostCompared || len(b) > mostCompared {
		return math.MaxInt // not near
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
