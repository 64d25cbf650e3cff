package crlf

import (
	"bytes"
	"io"
)

// Top returns a reader of the header, the empty line and the first lines lines of the body
// of a message in canonical form (RFC 1939 §7, TOP). It reads no further than it needs to.
// A message without an empty line is all header.
func Top(message io.Reader, lines int) io.Reader {
	return &top{src: message, left: max(lines, 0), atStart: true}
}

type top struct {
	src     io.Reader
	left    int  // lines of the body still to come
	body    bool // the empty line has gone out
	atStart bool // at the start of a line
	cr      bool // the line so far is one CR
	done    bool
}

func (t *top) Read(p []byte) (int, error) {
	if t.done {
		return 0, io.EOF
	}
	n, err := t.src.Read(p)
	if end := t.end(p[:n]); t.done {
		return end, nil
	}
	return n, err
}

// end looks for the end of what is wanted in the next octets, and sets done where it finds it.
func (t *top) end(p []byte) int {
	for at := 0; at < len(p); {
		lf := bytes.IndexByte(p[at:], '\n')
		if lf < 0 {
			t.unfinished(p[at:])
			return len(p)
		}
		line := p[at : at+lf]
		empty := (t.atStart && len(line) == 1 && line[0] == '\r') || (t.cr && len(line) == 0)
		t.atStart, t.cr = true, false
		at += lf + 1
		switch {
		case t.body:
			t.left--
		case empty:
			t.body = true
		}
		if t.body && t.left == 0 {
			t.done = true
			return at
		}
	}
	return len(p)
}

// unfinished takes note of the octets of a line whose end has not come yet.
func (t *top) unfinished(line []byte) {
	t.cr = t.atStart && len(line) == 1 && line[0] == '\r'
	t.atStart = false
}
