package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

// All messages are read in the same parts: the first firstPart octets, and then partSize
// octets at a time, or as many as the server gives. A server may answer the FETCHes of one
// message in another order than they were asked in, and the client library hands any answer
// about a message to the first who waits for one; so an answer is known by where it begins, and
// fits whoever wants that part.
const (
	firstPart = 32 << 10 // the header and a TOP's lines, as a rule
	partSize  = 256 << 10
)

// partLength is how many octets the part that begins at offset is asked for, as a rule.
func partLength(offset int64) int64 {
	if offset == 0 {
		return firstPart
	}
	return partSize
}

// partMost is the longest part that is asked for.
const partMost = partSize + 1

// wholeMost is the longest message that is taken whole from a server that ignores which part it is
// asked for.
const wholeMost = 4 << 20

// place names a part of a message.
type place struct {
	uid    imap.UID
	offset int64
}

// part is one that was asked for.
type part struct {
	at      place
	length  int64         // octets asked for
	arrived chan struct{} // closed when the rest is there
	conn    *connection   // on which it was asked for
	octets  []byte
	found   bool // the server has answered, if only with nothing
	err     error
}

func (p *part) answer(octets []byte, found bool, err error) {
	p.octets, p.found, p.err = octets, found, err
	close(p.arrived)
}

func (p *part) wait(ctx context.Context) (octets []byte, found bool, err error) {
	select {
	case <-p.arrived:
		return p.octets, p.found, p.err
	case <-ctx.Done():
		return nil, false, backends.Fail(backends.Temporary, "fetch: %w", context.Cause(ctx))
	}
}

// fetchPart asks for a part (RFC 9051 §6.4.5). It does not wait; the answer is always taken off
// the connection, wanted or not, as the answers to others stand behind it.
func (m *maildrop) fetchPart(at place, length int64) *part {
	p := &part{at: at, length: length, arrived: make(chan struct{})}
	started := m.background(func() {
		m.gate.RLock()
		defer m.gate.RUnlock()
		m.mu.Lock()
		p.conn = m.conn
		m.waitFor[at] = append(m.waitFor[at], p)
		m.mu.Unlock()
		defer p.conn.client.wire.expect()()
		wait := m.hearNews()
		found, err := m.ask(p)
		wait()
		if m.takeBack(p) {
			p.answer(nil, found, err)
		}
	})
	if !started {
		p.answer(nil, false, backends.Fail(backends.Temporary, "fetch: %w", errClosed))
	}
	return p
}

// ask runs the FETCH for a part. An answer that was about flags alone may have been taken for
// ours, and ours been dropped: the library cannot tell them apart. So it is asked again before
// the message counts as gone.
func (m *maildrop) ask(p *part) (found bool, err error) {
	for range 2 {
		if found, err = m.receive(p.conn, p.at, p.length); err != nil || !m.stillWaits(p) || m.partsIgnored.Load() {
			break
		}
	}
	return found, err
}

// newsMost is for how long a mailbox's news are good enough.
const newsMost = 2 * time.Second

// hearNews sends a NOOP before the first FETCH of a batch. A server may go on giving a message
// that another session has expunged, until it has told this one of it, which it does not do
// within a FETCH (RFC 9051 §7.5.1). The gate is held.
func (m *maildrop) hearNews() (wait func()) {
	m.mu.Lock()
	old := time.Since(m.news) > newsMost
	if old {
		m.news = time.Now()
	}
	m.mu.Unlock()
	if !old {
		return func() {}
	}
	command := m.conn.client.Noop()
	return func() { _ = command.Wait() }
}

// background runs an exchange with the server that may outlive the call that wanted it. The
// session's Close waits for it.
func (m *maildrop) background(exchange func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
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

func (m *maildrop) stillWaits(p *part) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.waitFor[p.at] {
		if w == p {
			return true
		}
	}
	return false
}

// takeBack removes a waiting part; false: somebody has answered it.
func (m *maildrop) takeBack(p *part) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, w := range m.waitFor[p.at] {
		if w == p {
			m.forget(p.at, i)
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

// piece is what a server gave of a message.
type piece struct {
	at     place
	octets []byte
	whole  bool // more than was asked for: the message, if the server says its size again
}

// piecesMost is how many pieces an answer about one part may have.
const piecesMost = 8

// receive runs one FETCH and hands what comes to whoever waits for it, once the server has
// completed the command: a literal that was announced longer than it is has swallowed that, and
// other responses, and is nobody's message.
func (m *maildrop) receive(conn *connection, at place, length int64) (found bool, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: at.offset, Size: length}}
	command := conn.client.Fetch(imap.UIDSetNum(at.uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	var pieces []piece
	for message := command.Next(); message != nil; message = command.Next() {
		got, err := m.readPieces(conn.client, message, at, length)
		if err != nil {
			// The library goes on once a literal has failed, and reading the rest of the
			// answer would be at the same time as it.
			_ = conn.client.Close()
			return false, backends.Fail(backends.Temporary, "fetch: %w", err)
		}
		pieces = append(pieces, got...)
	}
	if err := command.Close(); err != nil {
		if status := (*imap.Error)(nil); !errors.As(err, &status) {
			_ = conn.client.Close() // it is over, and the library says so in a moment
		}
		return false, failure("fetch", conn.client.explain(err), backends.Temporary)
	}
	if err := m.replaced(); err != nil {
		return false, err
	}
	if err := m.areWhole(conn.client, at.uid, pieces); err != nil {
		return false, err
	}
	m.fruitless.Store(0)
	for _, got := range pieces {
		found = found || got.at == at
		if p := m.waiter(got.at); p != nil {
			p.answer(got.octets, true, nil)
		}
	}
	return found, nil
}

// readPieces reads the answer about one message.
func (m *maildrop) readPieces(c *client, message *imapclient.FetchMessageData, at place, length int64) (pieces []piece, err error) {
	var uid imap.UID
	for item := message.Next(); item != nil; item = message.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataBodySection:
			if len(pieces) == piecesMost {
				return nil, fmt.Errorf("more than %d parts in an answer about one: %w off", piecesMost, errBroken)
			}
			got := piece{at: place{at.uid, offsetOf(item, at)}}
			if item.Literal != nil { // NIL, as some servers say of a part beyond the end, is nothing
				most := m.longest(got.at, at, length)
				if got.whole = item.Literal.Size() > most && m.mayBeWhole(got.at, item.Literal.Size()); got.whole {
					most = wholeMost
				}
				if got.octets, err = c.readLiteral(item.Literal, most); err != nil {
					return nil, err
				}
			}
			pieces = append(pieces, got)
		}
	}
	for i := range pieces {
		pieces[i].at.uid = uid
	}
	return pieces, nil
}

// mayBeWhole says whether a literal in place of a part can be the whole message, as servers give it that
// ignore which part they are asked for: it has the size that was listed.
func (m *maildrop) mayBeWhole(at place, octets int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at.offset == 0 && octets <= wholeMost && octets == m.sizes[at.uid]
}

// areWhole asks anew for the size of a message that came whole in place of a part. Another size, or
// none, says that the literal was no message, and the server is not listened to any longer.
func (m *maildrop) areWhole(c *client, uid imap.UID, pieces []piece) error {
	for _, got := range pieces {
		if !got.whole {
			continue
		}
		size, _, err := sizeOf(c, uid)
		if err != nil || got.at.uid != uid || size != int64(len(got.octets)) {
			err = fmt.Errorf("the server sent %d octets of message %d in place of a part, and says that it has %d: %w off", len(got.octets), uid, size, errBroken)
			c.end(err)
			return backends.Fail(backends.Temporary, "fetch: %w", err)
		}
		m.partsIgnored.Store(true)
		return nil // the others are the same message
	}
	return nil
}

// sizeOf asks for a message's RFC822.SIZE; -1: the server does not say it. It says, too, whether the
// server told anything of the message.
func sizeOf(c *client, uid imap.UID) (size int64, told bool, err error) {
	size = -1
	err = c.fetchListed(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, RFC822Size: true}, func(one listed) {
		told = told || one.uid == uid
		if one.uid == uid && one.sized {
			size = one.entry.Size
		}
	})
	return size, told, err
}

// longest is how many octets a part has been asked for, by the command for the part at and by those
// that wait.
func (m *maildrop) longest(of, at place, length int64) (most int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.waitFor[of] {
		most = max(most, p.length)
	}
	if of == at {
		return max(most, length)
	}
	if most == 0 {
		return partMost
	}
	return most
}

// offsetOf is where a part begins. A server that has nothing to give may leave that out.
func offsetOf(item imapclient.FetchItemDataBodySection, at place) int64 {
	switch {
	case item.Section != nil && item.Section.Partial != nil:
		return item.Section.Partial.Offset
	case item.Literal == nil || item.Literal.Size() == 0:
		return at.offset
	}
	return 0
}

// errBroken: the connection broke in the middle of a literal, or is broken off there.
var errBroken = errors.New("the connection broke")

// readLiteral reads a literal of at most some octets. A server that sends more than it was
// asked for is not listened to any longer: that might have no end. After errBroken nothing of
// the answer may be read.
func (c *client) readLiteral(literal imap.LiteralReader, most int64) ([]byte, error) {
	if size := literal.Size(); size > most {
		c.wire.end(fmt.Errorf("the server sent %d octets for %d", size, most))
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
