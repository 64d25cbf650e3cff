package pop3

import (
	"bytes"
	"io"
)

var (
	crlf    = []byte("\r\n")
	oneDot  = []byte{'.'}
	oneGap  = []byte{' '}
	theCR   = []byte{'\r'}
	theStop = []byte(".\r\n")
)

// stuffer writes the lines of a multi-line response (RFC 1939 §3). It doubles a dot that
// begins a line, the first line too, and makes sure of the line ends: a bare LF becomes CRLF,
// and a CR that ends no line becomes a space (I9). Content that is canonical passes as it is,
// in pieces as large as they come.
type stuffer struct {
	to    io.Writer
	noNUL bool   // see QuirkNoNUL
	begin func() // if not nil: called before the first octet, or by finish
	moved func() // if not nil: called for each piece

	octets int64 // written, without the stuffing
	midway bool  // within a line
	cr     bool  // a CR is held back: what follows decides what it was
	mended bool  // a line had another end than CRLF, or a CR within it
	err    error
}

// Write takes a piece of content, cut anywhere.
func (s *stuffer) Write(p []byte) (int, error) {
	if len(p) == 0 || s.err != nil {
		return 0, s.err
	}
	s.start()
	if s.moved != nil {
		s.moved()
	}
	rest := p
	if s.noNUL {
		rest = withoutNUL(p)
	}
	rest = s.settleCR(rest)
	for len(rest) > 0 && s.err == nil {
		rest = s.run(rest)
	}
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

// finish ends the last line and writes the terminator. It is called only when the content
// has come to its end (I3).
func (s *stuffer) finish() error {
	s.start()
	if s.cr {
		s.cr, s.midway = false, true
	}
	if s.midway {
		s.text(crlf)
		s.midway = false
	}
	s.raw(theStop)
	return s.err
}

func (s *stuffer) start() {
	if s.begin != nil {
		begin := s.begin
		s.begin = nil
		begin()
	}
}

// settleCR writes the CR that the piece before ended with, as half a line's end or as the
// space that stands for it.
func (s *stuffer) settleCR(p []byte) []byte {
	if !s.cr {
		return p
	}
	s.cr = false
	if p[0] == '\n' {
		s.text(crlf)
		s.midway = false
		return p[1:]
	}
	s.text(oneGap)
	s.mended, s.midway = true, true
	return p
}

// Canonical says whether each LF in what has been written had a CR before it. Whoever counts octets need
// not look for line ends then.
func (s *stuffer) Canonical() bool { return !s.mended && !s.noNUL }

// run writes the longest start of p that can be written at once, and returns what is left:
// whole lines in canonical form, up to one that has to be changed.
func (s *stuffer) run(p []byte) []byte {
	if !s.midway && p[0] == '.' {
		s.raw(oneDot)
	}
	at := 0 // where the line begins that is looked at
	for at < len(p) {
		if at > 0 && p[at] == '.' {
			break // begins a line: the next run doubles it
		}
		nl := bytes.IndexByte(p[at:], '\n')
		if nl < 0 {
			return s.part(p, at)
		}
		line := p[at : at+nl]
		if cr := bytes.IndexByte(line, '\r'); cr != nl-1 || nl == 0 {
			return s.mend(p, at, nl)
		}
		at += nl + 1
	}
	s.text(p[:at])
	s.midway = false
	return p[at:]
}

// part writes p, whose last line, at, has no end yet.
func (s *stuffer) part(p []byte, at int) []byte {
	if at > 0 {
		s.text(p[:at])
		s.midway = false
	}
	rest := p[at:]
	if s.cr = rest[len(rest)-1] == '\r'; s.cr {
		rest = rest[:len(rest)-1]
	}
	if len(rest) > 0 {
		s.gapped(rest)
		s.midway = true
	}
	return nil
}

// mend writes p up to the end of the line at, which has a CR within it, or none at its end.
func (s *stuffer) mend(p []byte, at, nl int) []byte {
	s.mended = true
	if at > 0 {
		s.text(p[:at])
	}
	s.gapped(bytes.TrimSuffix(p[at:at+nl], theCR))
	s.text(crlf)
	s.midway = false
	return p[at+nl+1:]
}

// gapped writes a part of a line with a space for each CR. It goes through the part once: the
// line's end is not looked for again behind each of them.
func (s *stuffer) gapped(line []byte) {
	for s.err == nil {
		before, after, found := bytes.Cut(line, theCR)
		if len(before) > 0 {
			s.text(before)
		}
		if !found {
			return
		}
		s.text(oneGap)
		line = after
	}
}

func (s *stuffer) text(p []byte) {
	s.octets += int64(len(p))
	s.raw(p)
}

func (s *stuffer) raw(p []byte) {
	if s.err == nil {
		_, s.err = s.to.Write(p)
	}
}
