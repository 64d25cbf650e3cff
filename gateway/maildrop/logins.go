package maildrop

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// Logins is where it is remembered when maildrops were opened last, for LOGIN-DELAY
// (RFC 2449 §6.5). It is asked by who has the maildrop's lock.
type Logins interface {
	// Last is when a maildrop was opened last; zero: not lately.
	Last(ctx context.Context, key LockKey) (time.Time, error)
	// Note notes that it was opened.
	Note(ctx context.Context, key LockKey, at time.Time) error
}

// loginsMost bounds a MemoryLogins. The maildrop that was not opened for longest goes first.
const loginsMost = 100_000

// MemoryLogins are the logins of one process. The zero value is ready.
type MemoryLogins struct {
	mu     sync.Mutex
	byKey  map[LockKey]*list.Element
	recent list.List // of opening; front: opened last
}

type opening struct {
	key LockKey
	at  time.Time
}

// Last implements [Logins].
func (m *MemoryLogins) Last(_ context.Context, key LockKey) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.byKey[key]; ok {
		return element.Value.(opening).at, nil
	}
	return time.Time{}, nil
}

// Note implements [Logins].
func (m *MemoryLogins) Note(_ context.Context, key LockKey, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.byKey[key]; ok {
		element.Value = opening{key, at}
		m.recent.MoveToFront(element)
		return nil
	}
	if m.byKey == nil {
		m.byKey = make(map[LockKey]*list.Element)
	}
	for len(m.byKey) >= loginsMost {
		delete(m.byKey, m.recent.Remove(m.recent.Back()).(opening).key)
	}
	m.byKey[key] = m.recent.PushFront(opening{key, at})
	return nil
}

// tooSoon refuses a login that comes before its time: -ERR [LOGIN-DELAY] (RFC 2449 §8.1.1). The
// credentials were right, so it does not count as a failure; and one that is refused does not
// begin the delay anew, or a client that keeps trying would never get in.
func (o *Options) tooSoon(ctx context.Context, key LockKey) error {
	if o.LoginDelay <= 0 {
		return nil
	}
	last, err := o.Logins.Last(ctx, key)
	if err != nil {
		return err
	}
	left := o.LoginDelay - o.Now().Sub(last)
	if last.IsZero() || left <= 0 {
		return nil
	}
	return &pop3.Error{
		Code: "LOGIN-DELAY", Text: "this mailbox was opened a short while ago, try again later",
		Err: backends.Fail(backends.InUse, "%s was opened %v ago", key.Account, o.LoginDelay-left).After(left),
	}
}

// opened notes a login that is let in.
func (o *Options) opened(ctx context.Context, key LockKey) error {
	if o.LoginDelay <= 0 {
		return nil
	}
	return o.Logins.Note(ctx, key, o.Now())
}
