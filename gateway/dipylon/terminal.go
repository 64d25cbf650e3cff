package main

import (
	"io"
	"strings"
	"unicode"
)

// forTerminal makes text fit for a terminal: what stores, plugins and files have put into an error
// could move its cursor, or worse.
func forTerminal(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, text)
}

// printableWriter writes what is written to it, fit for a terminal. Each Write is whole lines.
type printableWriter struct{ w io.Writer }

func (p printableWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, forTerminal(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
