package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/spelling"
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

// nearest suggests a name with nearly the same spelling, or nothing.
func nearest(got string, names []string) string {
	if near := spelling.Nearest(got, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}
