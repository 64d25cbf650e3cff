package smtp

import (
	"errors"
	"io"
	"sync"
)

var (
	// errReturned is what a reader gets that outlives its Data.
	errReturned = errors.New("smtp: the message is read after Data has returned")
	// errStopped ends a Data whose message will not come to its end.
	errStopped = errors.New("smtp: the message was given up")
	// errDiscard says that the client sends more than we care to throw away.
	errDiscard = errors.New("smtp: too much of a refused message")
)

// body is the message as [Session.Data] reads it: what comes from the client, in canonical form.
// io.EOF means that all of it has come and keeps to the rules.
type body struct {
	trace string // this hop's Received field
	src   source
	canon canonical
	onEnd func() // the message's proper end has come

	mu       sync.Mutex // against a reader that outlives Data, which none should
	returned bool
	pending  []byte
	err      error // what the reader is told: io.EOF, a rule's *Error, or how the client went away
	ended    bool  // the source is at its proper end
	gone     error // the source has failed: there is nobody to reply to
}

func newBody(src source, canon canonical, trace string, onEnd func()) *body {
	return &body{trace: trace, src: src, canon: canon, onEnd: onEnd}
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := b.await(); err != nil {
		return 0, err
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	return n, nil
}

// WriteTo spares io.Copy its buffer.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for total := int64(0); ; {
		err := b.await()
		if err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(b.pending)
		total += int64(n)
		b.pending = b.pending[n:]
		if err != nil {
			return total, err
		}
	}
}

// await waits for pending octets or the message's end.
func (b *body) await() error {
	for {
		switch {
		case b.returned:
			return errReturned
		case len(b.pending) > 0:
			return nil
		case b.err != nil:
			return b.err
		}
		if err := b.advance(); err != nil {
			return err
		}
	}
}

// advance takes the next piece from the source. It fails only when a BDAT transaction is
// given up between two chunks.
func (b *body) advance() error {
	piece, err := b.src.next()
	switch {
	case err == errStopped:
		return io.ErrUnexpectedEOF
	case err == io.EOF:
		b.end()
	case err != nil:
		b.gone = err
		b.fail(err)
	case b.err == nil:
		if b.pending, err = b.canon.take(piece); err != nil {
			b.fail(err)
		}
	}
	return nil
}

func (b *body) end() {
	b.ended = true
	if b.err == nil {
		pending, err := b.canon.end()
		if err != nil {
			b.fail(err)
		} else {
			b.pending, b.err = pending, io.EOF
		}
	}
	b.onEnd()
}

// fail is final: nobody asks the source again who has an error, so the first one is told.
func (b *body) fail(err error) { b.pending, b.err = nil, err }

// close is called when Data has returned: from here on the engine alone reads.
func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned, b.pending = true, nil
}

// drain throws away what Data has not read, under the same rules, while more() says that
// there is more. What is thrown away counts against an allowance once the message's outcome
// cannot be a good one.
func (b *body) drain(refused bool, allowance *int64, more func() bool) {
	for b.gone == nil && more() {
		piece, err := b.src.next()
		switch {
		case err == io.EOF:
			b.end()
			continue
		case err != nil:
			b.gone = err
			return
		case b.err == nil:
			if _, err := b.canon.take(piece); err != nil {
				b.fail(err)
			}
		}
		if refused || b.err != nil {
			if *allowance -= int64(len(piece)); *allowance < 0 {
				b.gone = errDiscard
			}
		}
	}
}
