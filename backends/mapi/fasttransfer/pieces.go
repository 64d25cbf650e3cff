package fasttransfer

import (
	"io"
)

// Sizes of pieces, in octets.
const (
	pieceMost  = 32 << 10
	pieceLeast = 4 << 10 // the definition of a named property goes into each
)

// pieces collects a stream, and gives it in pieces.
type pieces struct {
	octets []byte // with the capacity of a piece
	put    func(piece []byte) error
}

// room is how many octets the piece may still have.
func (p *pieces) room() int { return cap(p.octets) - len(p.octets) }

// Flush gives what there is.
func (p *pieces) Flush() error {
	if len(p.octets) == 0 {
		return nil
	}
	piece := p.octets
	p.octets = p.octets[:0]
	return p.put(piece)
}

// atom adds what must not be split.
func (p *pieces) atom(octets []byte) error {
	if len(octets) > p.room() {
		if err := p.Flush(); err != nil {
			return err
		}
	}
	_, err := p.Write(octets)
	return err
}

// Write adds what may be split anywhere.
func (p *pieces) Write(octets []byte) (int, error) {
	written := 0
	for len(octets) > 0 {
		if p.room() == 0 {
			if err := p.Flush(); err != nil {
				return written, err
			}
		}
		n := min(len(octets), p.room())
		p.octets = append(p.octets, octets[:n]...)
		octets, written = octets[n:], written+n
	}
	return written, nil
}

// ReadFrom adds all that a reader has, without another buffer between them.
func (p *pieces) ReadFrom(r io.Reader) (int64, error) {
	var read int64
	for {
		if p.room() == 0 {
			if err := p.Flush(); err != nil {
				return read, err
			}
		}
		n, err := r.Read(p.octets[len(p.octets):cap(p.octets)])
		p.octets = p.octets[:len(p.octets)+n]
		read += int64(n)
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}
