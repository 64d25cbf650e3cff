package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

const (
	// reconnectionsMost bounds how often one session opens a connection again.
	reconnectionsMost = 64
	// fruitlessMost is how often it does so in a row without any message having come.
	fruitlessMost = 8
)

// mayRetry says whether an error may be another's, or the connection's: a connection is shared by
// all that is under way on it, and what ends it, or brings it into disorder, fails them all.
func (m *maildrop) mayRetry(err error) bool {
	return backends.KindOf(err) == backends.Temporary && m.replaced() == nil && m.alive.Err() == nil
}

// fetchAlone asks for a part once more, with nothing else under way. What fails on a connection that
// was opened for it is the message's own failure, and remembered.
func (m *maildrop) fetchAlone(ctx context.Context, p *part) (octets []byte, found bool, err error) {
	again := &part{at: p.at, length: p.length, arrived: make(chan struct{})}
	started := m.background(func() {
		m.gate.Lock()
		defer m.gate.Unlock()
		cause := p.err
		fresh := p.err != nil && p.conn == m.conn || m.lost()
		for ctx.Err() == nil {
			if fresh {
				if err := m.reconnect(cause); err != nil {
					again.answer(nil, false, err)
					return
				}
			}
			found, err := m.askAlone(again)
			if err != nil && !fresh && m.mayRetry(err) {
				fresh, cause = true, err
				continue
			}
			if err != nil && m.mayRetry(err) {
				m.blame(p.at.uid, err)
			}
			if m.takeBack(again) {
				again.answer(nil, found, err)
			}
			return
		}
	})
	if !started {
		return nil, false, backends.Fail(backends.Temporary, "fetch: %w", errClosed)
	}
	return again.wait(ctx)
}

// askAlone asks for a part. The gate is closed.
func (m *maildrop) askAlone(p *part) (found bool, err error) {
	client := m.conn.client
	defer context.AfterFunc(m.alive, func() { client.end(errClosed) })()
	defer client.wire.expect()()
	m.mu.Lock()
	p.conn = m.conn
	if !slices.Contains(m.waitFor[p.at], p) {
		m.waitFor[p.at] = append(m.waitFor[p.at], p)
	}
	m.mu.Unlock()
	return m.ask(p)
}

func (m *maildrop) blame(uid imap.UID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed[uid] = err
}

// failedBefore is what a message has failed with in this session, when it was asked for alone. It
// would fail its neighbours, too, and is not asked for again.
func (m *maildrop) failedBefore(uid imap.UID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[uid]
}

// lost says whether the connection is. The gate is held.
func (m *maildrop) lost() bool {
	select {
	case <-m.conn.client.Closed():
		return true
	default:
		return m.detached
	}
}

// brokeOff says whether an exchange has failed by the connection's end, which it then waits for.
func (m *maildrop) brokeOff(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil || isRefusal(err) || errors.Is(err, errStray) || !m.mayRetry(failure("exchange", err, backends.Permanent)) {
		return false
	}
	m.gate.RLock()
	defer m.gate.RUnlock()
	_ = m.conn.client.Close() // one that is closed is
	return true
}

// attach sees to it that there is a connection.
func (m *maildrop) attach() error {
	m.gate.RLock()
	lost := m.lost()
	m.gate.RUnlock()
	if !lost {
		return nil
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	if !m.lost() {
		return nil
	}
	return m.reconnect(nil)
}

// reconnect opens the same mailbox on another connection. The gate is closed.
func (m *maildrop) reconnect(cause error) error {
	switch {
	case m.alive.Err() != nil:
		return backends.Fail(backends.Temporary, "%w", errClosed)
	case m.replaced() != nil:
		return m.replaced()
	case m.validity == 0:
		return backends.Fail(backends.Temporary, "the connection is lost, and the server has no UIDVALIDITY to know the mailbox again by (%v)", cause)
	case m.reconnections >= reconnectionsMost || m.fruitless.Load() >= fruitlessMost:
		return backends.Fail(backends.Temporary, "the connection was lost %d times (%v)", m.reconnections+1, cause)
	}
	m.reconnections++
	m.fruitless.Add(1)
	if cause == nil {
		cause = m.conn.client.cause()
	}
	if !m.detached {
		m.store.pool.release(m.conn, false)
		m.detached = true
	}
	conn, err := m.store.acquire(m.alive, m.credential)
	if err != nil {
		return backends.Fail(backends.Temporary, "connect again, as the connection ended (%v): %w", cause, err)
	}
	opened, err := m.selectFolder(m.alive, conn)
	if err == nil && opened.validity != m.validity {
		m.mu.Lock()
		m.replacedBy, m.isReplaced = opened.validity, true
		m.mu.Unlock()
		err = m.replaced()
	}
	if err != nil {
		m.store.pool.release(conn, false)
		return backends.Fail(backends.Temporary, "open the mailbox again, as the connection ended (%v): %w", cause, err)
	}
	m.mu.Lock()
	m.conn, m.exists = conn, opened.exists
	m.mu.Unlock()
	m.detached = false
	m.store.log.Warn().AnErr("cause", cause).Str("account", m.account.ID).Msg("the connection to the IMAP server was lost in a session, and is opened again")
	return nil
}

// isThere asks again for a message of which nothing comes: after a NOOP, by which the server tells
// what others have removed, and in two ways. size is what RFC822.SIZE says now, -1: nothing.
func (m *maildrop) isThere(ctx context.Context, uid imap.UID) (there bool, size int64, err error) {
	type answer struct {
		there bool
		size  int64 // 0 may be that the server says none
	}
	got, err := exchange(ctx, m, func() (a answer, err error) {
		client := m.conn.client
		defer client.wire.expect()()
		if err := client.Noop().Wait(); err != nil {
			return a, err
		}
		found, err := client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(uid)}}, nil).Wait()
		if err != nil {
			return a, err
		}
		set, _ := found.All.(imap.UIDSet)
		a.there = a.there || set.Contains(uid)
		a.size = -1
		size, told, err := sizeOf(client, uid)
		if a.there = a.there || told; size > 0 {
			a.size = size
		}
		return a, err
	})
	if err == nil {
		err = m.replaced()
	}
	if err != nil {
		return false, -1, failure(fmt.Sprintf("ask whether message %d is there", uid), err, backends.Temporary)
	}
	return got.there, got.size, nil
}
