package entity

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
)

// NewEncoder writes what it is given to w in a transfer encoding: base64, in lines without an end of the last one, or
// quoted-printable for text (RFC 2045 §6.7, §6.8). With any other name nothing changes. Close ends the encoding, and
// not w.
func NewEncoder(w io.Writer, encoding string) io.WriteCloser {
	switch encoding {
	case "base64":
		return NewBase64(w, base64Line)
	case "quoted-printable":
		return quotedprintable.NewWriter(w)
	}
	return unchanged{w}
}

// NewBase64 writes what it is given to w in base64, as [NewEncoder] does, in lines of so many characters.
func NewBase64(w io.Writer, width int) io.WriteCloser {
	return base64.NewEncoder(base64.StdEncoding, &lines{w: w, width: width})
}

type unchanged struct{ io.Writer }

func (unchanged) Close() error { return nil }

// base64Line is how many characters stand on a line.
const base64Line = 76

// lines breaks base64 into lines.
type lines struct {
	w      io.Writer
	width  int
	column int
}

// Write writes characters, with a line end before each line but the first.
func (l *lines) Write(octets []byte) (n int, err error) {
	for n < len(octets) {
		if l.column == l.width {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return n, err
			}
			l.column = 0
		}
		wrote, err := l.w.Write(octets[n:min(len(octets), n+l.width-l.column)])
		n, l.column = n+wrote, l.column+wrote
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
