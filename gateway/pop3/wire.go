package pop3

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a connection whose writes may take as long as they make progress: a slow client is
// served, one that takes next to nothing for the time-out is not. It lies under TLS, as a TLS
// connection does not survive a write that timed out.
type wire struct {
	net.Conn
	timeout atomic.Int64 // a time.Duration
	piece   int          // octets under one deadline
}

// Octets that get a deadline together. What is TLS already (a listener that does TLS itself)
// cannot go on after a time-out, so its pieces are small.
const (
	wirePiece = 128 << 10
	tlsPiece  = 16 << 10
)

// leastProgress is what a client has to take within the time-out, in octets. Who takes less is
// not slow: a modem of 1984 took that in ten seconds.
const leastProgress = 1 << 10

func newWire(conn net.Conn, timeout time.Duration) *wire {
	w := &wire{Conn: conn, piece: wirePiece}
	if _, ok := conn.(tlsConn); ok {
		w.piece = tlsPiece
	}
	w.timeout.Store(int64(timeout))
	return w
}

func (w *wire) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		deadline := time.Now().Add(time.Duration(w.timeout.Load()))
		if err := w.SetWriteDeadline(deadline); err != nil {
			return sent, err
		}
		n, err := w.Conn.Write(p[sent:min(len(p), sent+w.piece)])
		sent += n
		if err != nil && (n < leastProgress || !isTimeout(err)) {
			return sent, err
		}
	}
	return sent, nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// The sizes of output buffers. The large one is for messages and listings.
const (
	smallOutput = 4 << 10
	largeOutput = 128 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallOutput]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeOutput]byte) }}
	copyBuffers  = sync.Pool{New: func() any { return new([copySize]byte) }}
)

// copySize is how much of a message is read at once, where its content does not write itself.
const copySize = 32 << 10

// output gathers responses, so that those of pipelined commands leave together. It holds a
// buffer only while something is in it.
type output struct {
	to    io.Writer
	small *[smallOutput]byte
	large *[largeOutput]byte
	n     int
	total int64 // octets taken
	err   error // sticky
}

func (o *output) buffer() []byte {
	switch {
	case o.large != nil:
		return o.large[:]
	case o.small == nil:
		o.small = smallBuffers.Get().(*[smallOutput]byte)
	}
	return o.small[:]
}

// widen takes the large buffer, for a response of many octets.
func (o *output) widen() {
	if o.large != nil {
		return
	}
	o.large = largeBuffers.Get().(*[largeOutput]byte)
	if o.small != nil {
		copy(o.large[:], o.small[:o.n])
		smallBuffers.Put(o.small)
		o.small = nil
	}
}

// space returns room for at least n octets (n is small), to be appended to and handed back
// with took.
func (o *output) space(n int) []byte {
	if len(o.buffer())-o.n < n {
		o.send()
	}
	return o.buffer()[o.n:o.n]
}

func (o *output) took(p []byte) {
	o.n += len(p)
	o.total += int64(len(p))
}

func (o *output) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && o.err == nil; {
		n := copy(o.buffer()[o.n:], rest)
		o.n += n
		rest = rest[n:]
		if len(rest) > 0 {
			o.send()
		}
	}
	o.total += int64(len(p))
	return len(p), o.err
}

// send writes out what there is, and keeps the buffer.
func (o *output) send() {
	if o.n > 0 && o.err == nil {
		_, o.err = o.to.Write(o.buffer()[:o.n])
	}
	o.n = 0
}

// flush writes out what there is, and gives the buffer back.
func (o *output) flush() error {
	o.send()
	o.release()
	return o.err
}

func (o *output) release() {
	o.n = 0
	if o.small != nil {
		smallBuffers.Put(o.small)
		o.small = nil
	}
	if o.large != nil {
		largeBuffers.Put(o.large)
		o.large = nil
	}
}
