package imap

import (
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

// All messages are read in the same parts: the first firstPart octets, and then partSize
// octets at a time. A server may answer the FETCHes of one message in another order than they
// were asked in, and the client library hands any answer about a message to the first who
// waits for one; so an answer is known by where it begins, and fits whoever wants that part.
const (
	firstPart = 32 << 10 // the header and a TOP's lines, as a rule
	partSize  = 256 << 10
)

// partLength is how many octets the part that begins at offset is asked for.
func partLength(offset int64) int64 {
	if offset == 0 {
		return firstPart
	}
	return partSize
}

// place names a part of a message.
type place struct {
	uid    imap.UID
	offset int64
}

// part is one that was asked for.
type part struct {
	arrived chan struct{} // closed when the rest is there
	octets  []byte
	found   bool // the server knows the message
	err     error
}

func (p *part) answer(octets []byte, found bool, err error) {
	p.octets, p.found, p.err = octets, found, err
	close(p.arrived)
}

// fetchPart asks for the part that begins at an offset (RFC 9051 §6.4.5). It does not wait;
// the answer is always taken off the connection, wanted or not, as the answers to others
// stand behind it.
func (m *maildrop) fetchPart(uid imap.UID, offset int64) *part {
	p := &part{arrived: make(chan struct{})}
	at := place{uid, offset}
	started := m.background(func() {
		var err error
		var found bool
		// An answer that was about flags alone may have been taken for ours, and ours been
		// dropped: the library cannot tell them apart. So it is asked again before the
		// message counts as gone.
		for range 2 {
			if found, err = m.receive(at); err != nil || !m.stillWaits(at, p) {
				break
			}
		}
		if m.takeBack(at, p) {
			p.answer(nil, found, err)
		}
	}, func() { m.waitFor[at] = append(m.waitFor[at], p) })
	if !started {
		p.answer(nil, false, backends.Fail(backends.Temporary, "fetch: %w", errClosed))
	}
	return p
}

// background runs an exchange with the server that may outlive the call that wanted it. The
// session's Close waits for it. prepare runs under the lock.
func (m *maildrop) background(exchange, prepare func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	if prepare != nil {
		prepare()
	}
	m.waiting++
	m.exchanges.Go(func() {
		exchange()
		m.mu.Lock()
		m.waiting--
		m.mu.Unlock()
	})
	return true
}

func (m *maildrop) stillWaits(at place, p *part) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.waitFor[at] {
		if w == p {
			return true
		}
	}
	return false
}

// takeBack removes a waiting part; false: somebody has answered it.
func (m *maildrop) takeBack(at place, p *part) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, w := range m.waitFor[at] {
		if w == p {
			m.forget(at, i)
			return true
		}
	}
	return false
}

// waiter takes the first who waits for a part.
func (m *maildrop) waiter(at place) *part {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waitFor[at]) == 0 {
		return nil
	}
	p := m.waitFor[at][0]
	m.forget(at, 0)
	return p
}

func (m *maildrop) forget(at place, i int) {
	if list := m.waitFor[at]; len(list) == 1 {
		delete(m.waitFor, at)
	} else {
		m.waitFor[at] = append(list[:i:i], list[i+1:]...)
	}
}

// receive runs one FETCH and hands what comes to whoever waits for it.
func (m *maildrop) receive(at place) (found bool, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: at.offset, Size: partLength(at.offset)}}
	command := m.conn.client.Fetch(imap.UIDSetNum(at.uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	var readErr error
	for message := command.Next(); message != nil; message = command.Next() {
		var uid imap.UID
		for item := message.Next(); item != nil; item = message.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				uid = item.UID
			case imapclient.FetchItemDataBodySection:
				found = true
				if err := m.deliverPart(uid, item); err != nil {
					readErr = err
				}
				if errors.Is(readErr, errBroken) {
					// The library goes on once a literal has failed, and reading the rest
					// of the answer would be at the same time as it.
					_ = m.conn.client.Close()
					return found, readErr
				}
			}
		}
	}
	if err := command.Close(); err != nil {
		return found, failure("fetch", m.conn.client.explain(err), backends.Temporary)
	}
	if readErr == nil {
		readErr = m.replaced()
	}
	return found, readErr
}

// errBroken: the connection broke in the middle of a literal, or is broken off there.
var errBroken = errors.New("the connection broke")

// readLiteral reads a literal of at most some octets. A server that sends more than it was
// asked for is not listened to any longer: that might have no end. After errBroken nothing of
// the answer may be read.
func (c *client) readLiteral(literal imap.LiteralReader, most int64) ([]byte, error) {
	if size := literal.Size(); size > most {
		_ = c.wire.Close()
		_, _ = io.Copy(io.Discard, literal) // what is buffered: the library waits for it to be read
		return nil, fmt.Errorf("the server sent %d octets for %d: %w off", size, most, errBroken)
	}
	octets := make([]byte, literal.Size())
	if _, err := io.ReadFull(literal, octets); err != nil {
		return nil, fmt.Errorf("%w (%w)", errBroken, err)
	}
	return octets, nil
}

// deliverPart reads a part and gives it to its waiter.
func (m *maildrop) deliverPart(uid imap.UID, item imapclient.FetchItemDataBodySection) error {
	at := place{uid: uid}
	if item.Section != nil && item.Section.Partial != nil {
		at.offset = item.Section.Partial.Offset
	}
	var octets []byte
	if item.Literal != nil { // NIL: beyond the end
		var err error
		if octets, err = m.conn.client.readLiteral(item.Literal, partLength(at.offset)); err != nil {
			return backends.Fail(backends.Temporary, "fetch: %w", err)
		}
	}
	if err := m.replaced(); err != nil {
		return err
	}
	if p := m.waiter(at); p != nil {
		p.answer(octets, true, nil)
	}
	return nil
}
