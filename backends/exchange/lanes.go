package exchange

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Bounds of the session contexts that one maildrop reads with.
const (
	lanesMost = 3
	lanesFrom = partLeast // messages that are read together, from which on another session context is worth being made
)

// lanes are the session contexts of a maildrop: its first, in which it lists, removes and marks, and those that are made when several requests
// read many messages at once. Make it with newLanes.
type lanes struct {
	idle time.Duration // for which the further ones are kept while nobody reads in them

	mu      sync.Mutex
	all     []*session // the first one first
	used    map[*session]int
	waiting []chan *session // each of many messages that wait for one which nobody reads in, in their order
	making  int
	enough  bool // the server gives no more
	closed  bool
	ending  *time.Timer
	ended   sync.WaitGroup // sessions that are being ended
}

func newLanes(first *session, idle time.Duration) *lanes {
	return &lanes{idle: idle, all: []*session{first}, used: make(map[*session]int)}
}

// reading is a maildrop, read in one of its session contexts.
type reading struct {
	*maildrop
	session *session
}

// borrow is for messages that are read together: a few in the session context that the fewest read in; many in one that nobody reads in, for which
// another is made while there are too few. Whoever borrows first reads first. What it returns waits for the session context, and is called once, as
// is giveBack.
func (m *maildrop) borrow(ctx context.Context, wanted int) (wait func() (r *reading, giveBack func())) {
	c, given, another := m.lanes.choose(wanted)
	if another {
		// Whoever gives the read up leaves the making to its end: a server keeps a session context whose Connect was given up for
		// minutes, and nobody can end it.
		go func() { m.lanes.made(m.widen(context.WithoutCancel(ctx))) }()
	}
	return func() (*reading, func()) {
		if c == nil {
			select {
			case c = <-given:
			case <-ctx.Done():
				return &reading{m, m.session}, m.lanes.forget(given)
			}
		}
		return &reading{m, c}, sync.OnceFunc(func() { m.lanes.leave(c) })
	}
}

// choose returns a session context, or what one comes by; and whether another is to be made.
func (l *lanes) choose(wanted int) (c *session, wait chan *session, another bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	best := slices.MinFunc(l.all, func(a, b *session) int { return l.used[a] - l.used[b] })
	if l.used[best] == 0 || wanted < lanesFrom || l.closed {
		l.use(best)
		return best, nil, false
	}
	wait = make(chan *session, 1)
	l.waiting = append(l.waiting, wait)
	if another = !l.enough && len(l.all)+l.making < lanesMost && l.making < len(l.waiting); another {
		l.making++
	}
	return nil, wait, another
}

func (l *lanes) use(c *session) {
	l.used[c]++
	if l.ending != nil {
		l.ending.Stop()
		l.ending = nil
	}
}

// made notes a session context that was made; nil: there is none.
func (l *lanes) made(c *session) {
	l.mu.Lock()
	l.making--
	l.enough = l.enough || c == nil
	closed := l.closed
	if c != nil && !closed {
		l.all = append(l.all, c)
		l.next(c)
	}
	l.mu.Unlock()
	if c != nil && closed {
		c.close()
	}
}

// leave notes that somebody reads in a session context no more.
func (l *lanes) leave(c *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used[c]--
	l.next(c)
}

// next gives a session context that nobody reads in to who has waited for one for the longest time. The lock is held.
func (l *lanes) next(c *session) {
	switch {
	case l.used[c] > 0:
	case len(l.waiting) > 0:
		l.use(c)
		l.waiting[0] <- c
		l.waiting = l.waiting[1:]
	case len(l.all) > 1 && !l.closed && !slices.ContainsFunc(l.all, func(c *session) bool { return l.used[c] > 0 }):
		l.ending = time.AfterFunc(l.idle, l.narrow)
	}
}

// forget is for who waits no longer. What it returns is called once, too.
func (l *lanes) forget(wait chan *session) (giveBack func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, wait); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
		return func() {}
	}
	c := <-wait
	return sync.OnceFunc(func() { l.leave(c) })
}

// narrow ends all but the first, if nobody has read in any for a while: a server allows an account some dozens, and each has a connection.
func (l *lanes) narrow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending != nil && !l.closed {
		l.ending = nil
		l.end()
	}
}

// end begins to end all but the first. The lock is held.
func (l *lanes) end() {
	for _, c := range l.all[1:] {
		delete(l.used, c)
		l.ended.Go(c.close)
	}
	clear(l.all[1:])
	l.all = l.all[:1]
}

// close ends all but the first. Nobody reads in any.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	if l.ending != nil {
		l.ending.Stop()
		l.ending = nil
	}
	l.end()
	l.mu.Unlock()
	l.ended.Wait()
}

// widen makes another session context that has the folder; nil, where there is none to be had.
func (m *maildrop) widen(ctx context.Context) *session {
	c, err := m.another(ctx)
	if err != nil {
		m.store.log.Info().Err(err).Msg("no more session contexts are made for a mailbox than there are")
		return nil
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
