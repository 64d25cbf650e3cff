package exchange

import (
	"context"
	"errors"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// Bounds of the session contexts that one maildrop reads with.
const (
	lanesMost = 3
	lanesFrom = partLeast // messages that are read together, from which on another session context is worth being made
)

// lanes are the session contexts of a maildrop: its first, in which it lists, removes and marks, and those that are made when several requests
// read many messages at once. The zero value is ready.
type lanes struct {
	mu     sync.Mutex
	extra  []*session
	making int
	used   map[*session]int // requests that read in it
	closed bool
}

// reading is a maildrop, read in one of its session contexts.
type reading struct {
	*maildrop
	session *session
}

// borrow returns the session context that the fewest read in, a new one if all are read in and many messages are wanted. giveBack is to be
// called once.
func (m *maildrop) borrow(ctx context.Context, wanted int) (r *reading, giveBack func()) {
	c := m.lanes.choose(m.session, wanted)
	if c == nil {
		made := make(chan *session, 1)
		// Whoever gives the read up leaves the making to its end: a server keeps a session context whose Connect was given up for
		// minutes, and nobody can end it.
		go func() { made <- m.lanes.made(m.widen(context.WithoutCancel(ctx))) }()
		select {
		case c = <-made:
		case <-ctx.Done():
		}
		c = m.lanes.take(c, m.session)
	}
	return &reading{m, c}, sync.OnceFunc(func() { m.lanes.leave(c) })
}

// choose returns the session context that the fewest read in; nil: another is to be made.
func (l *lanes) choose(first *session, wanted int) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	best := first
	for _, c := range l.extra {
		if l.used[c] < l.used[best] {
			best = c
		}
	}
	if l.used[best] > 0 && wanted >= lanesFrom && 1+len(l.extra)+l.making < lanesMost && !l.closed {
		l.making++
		return nil
	}
	l.use(best)
	return best
}

func (l *lanes) use(c *session) {
	if l.used == nil {
		l.used = make(map[*session]int)
	}
	l.used[c]++
}

// made notes a session context that was made; nil: there is none.
func (l *lanes) made(c *session) *session {
	l.mu.Lock()
	l.making--
	closed := l.closed
	if c != nil && !closed {
		l.extra = append(l.extra, c)
	}
	l.mu.Unlock()
	if c != nil && closed {
		c.close()
		return nil
	}
	return c
}

// take uses a session context, and the first one if that is none.
func (l *lanes) take(c, first *session) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == nil {
		c = first
	}
	l.use(c)
	return c
}

func (l *lanes) leave(c *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used[c]--
}

// close ends all but the first.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	extra := l.extra
	l.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range extra {
		all.Go(c.close)
	}
	all.Wait()
}

// widen makes another session context that has the folder; nil, where there is none to be had.
func (m *maildrop) widen(ctx context.Context) *session {
	c, err := m.another(ctx)
	if err != nil {
		m.store.log.Info().Err(err).Msg("no more session contexts are made for a mailbox than there are")
	}
	return c
}

func (m *maildrop) another(ctx context.Context) (*session, error) {
	c, err := m.store.connect(ctx, m.session.login, m.who)
	if err != nil {
		return nil, err
	}
	err = c.do(ctx, func(ctx context.Context) error {
		id := backends.MessageID(m.id) // ids of folders and messages are alike
		current, err := c.current(ctx, []backends.MessageID{id})
		if err != nil {
			return err
		}
		fid, known := current[id]
		if !known {
			return errors.New("the folder has no id in another session context")
		}
		c.fid = fid
		return nil
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
