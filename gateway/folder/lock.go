package folder

import (
	"context"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

// Locks is where folders are locked: one session at a time has one (I5, RFC 1939 §8).
type Locks interface {
	// Acquire takes a lock, without waiting for one: held by somebody else, it is a failure
	// of the kind [backends.InUse].
	Acquire(ctx context.Context, key Key) (Lock, error)
	// Tasks are what has to be cleaned up.
	Tasks() []state.Task
	// Close gives back what is held, and ends the renewing.
	Close()
}

// Lock is a lock that is held. Its methods may be called from any goroutine.
type Lock interface {
	// Held says whether the lock is still this session's, nil if so. It is asked before
	// messages are removed: a lease can run out under a session that hangs.
	Held(ctx context.Context) error
	// Lost says, without asking anybody, that the lock has run out, as far as can be known here:
	// a session that hears so does nothing more.
	Lost() bool
	// Release gives the lock back. Again, it does nothing.
	Release()
}

// Await takes a lock, and waits this long for one that somebody else holds.
func Await(ctx context.Context, locks Locks, key Key, most time.Duration) (Lock, error) {
	until := time.Now().Add(most)
	for again := firstAgain; ; again = min(2*again, lastAgain) {
		lock, err := locks.Acquire(ctx, key)
		left := time.Until(until)
		if backends.KindOf(err) != backends.InUse || left <= 0 || !pause.For(ctx, min(again, left)) {
			return lock, err
		}
	}
}

// The times between two attempts: a session's end is seen within milliseconds, and with a shared
// database each attempt is a query.
const (
	firstAgain = 10 * time.Millisecond
	lastAgain  = 200 * time.Millisecond
)

// MemoryLocks are locks among the sessions of one process. The zero value is ready.
type MemoryLocks struct {
	mu   sync.Mutex
	held map[Key]*memoryLock
}

type memoryLock struct {
	locks *MemoryLocks
	key   Key
}

// Acquire implements [Locks].
func (m *MemoryLocks) Acquire(_ context.Context, key Key) (Lock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[key] != nil {
		return nil, backends.Fail(backends.InUse, "another session has %s of %s open", key.name(), key.Account)
	}
	if m.held == nil {
		m.held = make(map[Key]*memoryLock)
	}
	lock := &memoryLock{locks: m, key: key}
	m.held[key] = lock
	return lock, nil
}

// Len is the number of locks held.
func (m *MemoryLocks) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

// Tasks implements [Locks]: nothing is left over.
func (*MemoryLocks) Tasks() []state.Task { return nil }

// Close implements [Locks]: what is held ends with the process.
func (*MemoryLocks) Close() {}

func (l *memoryLock) Held(context.Context) error {
	l.locks.mu.Lock()
	defer l.locks.mu.Unlock()
	if l.locks.held[l.key] != l {
		return backends.Fail(backends.Temporary, "the lock on %s is lost", l.key.Account)
	}
	return nil
}

func (l *memoryLock) Lost() bool { return l.Held(context.Background()) != nil }

func (l *memoryLock) Release() {
	l.locks.mu.Lock()
	defer l.locks.mu.Unlock()
	if l.locks.held[l.key] == l {
		delete(l.locks.held, l.key)
	}
}
