package smtp

import (
	"bytes"
	"io"
)

// source gives a message's octets as they came, piece by piece. A piece is valid until the
// next one. io.EOF is given at the message's proper end only; io.ErrUnexpectedEOF says that
// the client went away before it.
type source interface {
	next() ([]byte, error)
}

// dotSource reads what follows DATA (RFC 5321 §4.5.2): it ends at CRLF.CRLF and nowhere
// else, and takes the dot away that was put before a line's first dot. It looks at nothing
// else: LF.LF, CRLF.LF and the like are content (CVE-2023-51764, -51765, -51766), and whether
// such content may be is decided elsewhere.
type dotSource struct {
	in   *input
	fill func() error
	// inLine is set behind a line's first octet. The end of the DATA line is the CRLF
	// before the first one, so an end can follow at once.
	inLine bool
	ended  bool
}

var (
	crlf      = []byte("\r\n")
	crlfDot   = []byte("\r\n.")
	endOfData = []byte(".\r\n") // behind a CRLF
)

func (d *dotSource) next() ([]byte, error) {
	for !d.ended {
		b := d.in.unread()
		if !d.inLine && bytes.HasPrefix(b, endOfData) {
			d.in.consume(len(endOfData))
			d.ended = true
			break
		}
		undecided := len(b) == 0 || !d.inLine && bytes.HasPrefix(endOfData, b)
		if !undecided {
			if piece := d.piece(b); len(piece) > 0 {
				return piece, nil
			}
		}
		if err := d.fill(); err != nil {
			return nil, lost(err)
		}
	}
	return nil, io.EOF
}

// piece takes octets up to the next line that begins with a dot. A CR at the end stays for
// the next piece, so that no CRLF is parted and a line's start can be told from the piece
// before it.
func (d *dotSource) piece(b []byte) []byte {
	if !d.inLine && b[0] == '.' {
		d.in.consume(1)
		b = b[1:]
		d.inLine = true
	}
	if i := bytes.Index(b, crlfDot); i >= 0 {
		b = b[:i+len(crlf)]
	} else if len(b) > 0 && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
	}
	if len(b) > 0 {
		d.in.consume(len(b))
		d.inLine = !bytes.HasSuffix(b, crlf)
	}
	return b
}

// lost makes the end of the connection an error that cannot be taken for a message's end.
func lost(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
