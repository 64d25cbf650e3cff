package crlf

import (
	"bytes"
	"io"
)

// Counter counts the canonical form of what is written to it. The zero value is ready.
type Counter struct {
	octets int64
	raw    int64
	last   byte
}

// Write counts p; it never fails.
func (c *Counter) Write(p []byte) (int, error) {
	c.octets += int64(bare(p, c.last))
	c.Canonical(p)
	return len(p), nil
}

// Canonical counts p, each LF of which is known to have a CR before it.
func (c *Counter) Canonical(p []byte) {
	if len(p) > 0 {
		c.octets += int64(len(p))
		c.raw += int64(len(p))
		c.last = p[len(p)-1]
	}
}

// bare is how many LF stand in p without a CR before them; last is what came before p.
func bare(p []byte, last byte) (n int) {
	for at := 0; ; at++ {
		lf := bytes.IndexByte(p[at:], '\n')
		if lf < 0 {
			return n
		}
		if at += lf; at > 0 {
			last = p[at-1]
		}
		if last != '\r' {
			n++
		}
	}
}

// Octets is the length of the canonical form of what has been written, if nothing follows.
func (c *Counter) Octets() int64 {
	if c.raw > 0 && c.last != '\n' {
		return c.octets + 2
	}
	return c.octets
}

// Raw is how many octets have been written.
func (c *Counter) Raw() int64 { return c.raw }

// Length reads src to its end and returns the length of its canonical form.
func Length(src io.Reader) (int64, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	var c Counter
	for {
		n, err := src.Read(buf[:])
		_, _ = c.Write(buf[:n])
		if err == io.EOF {
			return c.Octets(), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
