package storetest

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Printer writes results for people as they come: a line for each case, grouped, and what went
// wrong under it. Nothing that a store has said reaches a terminal but as printable text.
type Printer struct {
	// Strict makes a failure of what could not be tested.
	Strict bool

	w                                io.Writer
	group                            string
	passed, failed, skipped, without int
	err                              error
}

// NewPrinter makes a printer.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w} }

// Result writes one result.
func (p *Printer) Result(r Result) {
	var b strings.Builder
	if r.Group != p.group {
		p.group = r.Group
		fmt.Fprintf(&b, "%s\n", r.Group)
	}
	switch {
	case r.Err != nil:
		p.failed++
		fmt.Fprintf(&b, "  FAIL         %-32s %s\n", r.Name, short(r.Took))
		for line := range strings.Lines(r.Err.Error()) {
			fmt.Fprintf(&b, "      %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	case r.Skipped != "" && r.Untested:
		p.without++
		fmt.Fprintf(&b, "  not tested   %-32s %s\n", r.Name, printable(r.Skipped))
	case r.Skipped != "":
		p.skipped++
		fmt.Fprintf(&b, "  not offered  %-32s %s\n", r.Name, printable(r.Skipped))
	default:
		p.passed++
		fmt.Fprintf(&b, "  ok           %-32s %s\n", r.Name, short(r.Took))
	}
	p.write(b.String())
}

// Summary writes how many there were of each sort. rest is how many cases have not run.
func (p *Printer) Summary(rest int) error {
	text := fmt.Sprintf("\n%d passed, %d failed, %d not tested, %d not offered", p.passed, p.failed, p.without, p.skipped)
	if rest > 0 {
		text += fmt.Sprintf(", %d not run", rest)
	}
	p.write(text + "\n")
	return p.err
}

// Ran is how many results there were.
func (p *Printer) Ran() int { return p.passed + p.failed + p.without + p.skipped }

// Failed is how many cases failed; where it is strict, with those that were not tested.
func (p *Printer) Failed() int {
	if p.Strict {
		return p.failed + p.without
	}
	return p.failed
}

func (p *Printer) write(text string) {
	if _, err := io.WriteString(p.w, text); err != nil && p.err == nil {
		p.err = err
	}
}

// Table writes results that are there already, and a summary. It returns how many cases failed.
func Table(w io.Writer, results []Result) (failed int, err error) {
	p := NewPrinter(w)
	for _, r := range results {
		p.Result(r)
	}
	return p.failed, p.Summary(0)
}

// printable makes one line of text out of what a store has said: control characters could do
// anything to a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
