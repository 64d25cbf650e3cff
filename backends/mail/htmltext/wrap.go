package htmltext

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// NewWrapper returns a writer of UTF-8 that breaks lines of more than so many columns at blanks. A line that quotes
// goes on as one, with its ">". Words that are longer stay whole, such as links, up to the length that a line of mail may have
// (RFC 5322 §2.1.1). Close writes the last line, and does not close w.
func NewWrapper(w io.Writer, columns int) io.WriteCloser { return &wrapper{w: w, columns: columns} }

type wrapper struct {
	w       io.Writer
	columns int
	line    []byte // what was not written yet, without its prefix
	prefix  string // that quotes
	started bool   // the line has its prefix
	wide    int    // columns of line
	last    int    // where its last blank is, -1 without one
	width   int    // columns up to there
	err     error
}

// octetsMost is how many octets stand on a line, RFC 5322 §2.1.1. It has room for what quotes.
const octetsMost = 900

// prefixMost is how much of a line's start is taken for what quotes.
const prefixMost = 40

// Write takes a piece of text.
func (p *wrapper) Write(octets []byte) (int, error) {
	for _, c := range octets {
		p.octet(c)
	}
	return len(octets), p.err
}

func (p *wrapper) octet(c byte) {
	switch {
	case c == '\n':
		p.end(len(p.line), true)
		p.prefix, p.started = "", false
		return
	case !p.started && (c == '>' || c == ' ' && strings.HasSuffix(p.prefix, ">")) && len(p.prefix) < prefixMost:
		p.prefix += string(c)
		return
	}
	p.started = true
	if c == ' ' {
		p.last = len(p.line)
		p.width = p.wide
	} else if len(p.line) == 0 {
		p.last = -1
	}
	p.line = append(p.line, c)
	if utf8.RuneStart(c) && c != '\r' {
		p.wide++
	}
	if p.wide+len(p.prefix) > p.columns && p.last > 0 {
		p.breakAt(p.last)
	} else if len(p.line) >= octetsMost && utf8.RuneStart(c) {
		p.breakAt(len(p.line) - 1)
	}
}

// breakAt writes the line up to an offset. The blank there is not written.
func (p *wrapper) breakAt(at int) {
	rest := bytes.Clone(bytes.TrimPrefix(p.line[at:], []byte(" ")))
	p.line = p.line[:at]
	p.end(at, false)
	p.line, p.wide, p.last = append(p.line, rest...), utf8.RuneCount(rest), -1
	p.prefix = strings.TrimRight(p.prefix, " ")
	if p.prefix != "" {
		p.prefix += " "
	}
}

// end writes the line with its line end: CRLF where it was broken, and otherwise the one that it had.
func (p *wrapper) end(at int, whole bool) {
	ending := "\r\n"
	text := p.line[:at]
	if whole {
		ending = "\n"
	} else {
		text = bytes.TrimRight(text, " ")
	}
	p.write([]byte(p.prefix), text, []byte(ending))
	p.line, p.wide, p.last = p.line[:0], 0, -1
}

func (p *wrapper) write(pieces ...[]byte) {
	for _, piece := range pieces {
		if p.err == nil && len(piece) > 0 {
			_, p.err = p.w.Write(piece)
		}
	}
}

// Close writes what has no line end.
func (p *wrapper) Close() error {
	if len(p.line) > 0 || p.prefix != "" {
		p.write([]byte(p.prefix), p.line)
		p.line, p.prefix = nil, ""
	}
	return p.err
}
