package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a configuration file. Line and Column count from 1; both are 0 for
// a file as a whole.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing wrong with a configuration.
type Problem struct {
	Position
	Path    string // where in the file: "listeners[2].address"; empty: the whole
	Text    string // what is wrong and what was expected
	Suggest string // what to write instead; may be empty
}

func (p Problem) String() string {
	s := p.Position.String() + ": "
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Text
	if p.Suggest != "" {
		s += " (" + p.Suggest + ")"
	}
	return s
}

// Error is everything that is wrong with a configuration, in the order of the file.
type Error struct {
	Problems []Problem
	// Readable is the configuration with the stores alone that nothing is wrong with, so that their
	// backends can be asked about their settings all the same. It is not to be served. nil: the file
	// cannot be read at all.
	Readable *Config
}

// Error gives one line to each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Join makes one error of problems from several sources, nil where there are none.
func Join(problems []Problem) error { return sorted(problems) }

// sorted makes an error of problems, nil where there are none.
func sorted(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{Problems: slices.Compact(problems)}
}

// didYouMean suggests the name that was probably meant, in the form of Problem.Suggest. Where
// none is near, it lists them all if they are few.
func didYouMean(got string, names []string) string {
	near := nearest(got, names)
	if near == "" && len(names) > 0 && len(names) <= 12 {
		return "known: " + strings.Join(names, ", ")
	}
	return near
}

// nearest suggests a name with the spelling of at most a third of it changed, or nothing.
func nearest(got string, names []string) string {
	best, distance := "", 1+max(1, len(got)/3)
	for _, name := range names {
		if d := editDistance(strings.ToLower(got), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// mostCompared bounds the names that are compared, as the work grows with its square.
const mostCompared = 64

// editDistance counts the octets to insert, delete, replace or swap with their neighbour to
// make b of a (the optimal string alignment distance).
func editDistance(a, b string) int {
	if len(a) > mostCompared || len(b) > mostCompared {
		return mostCompared
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
