package maildrop

import (
	"context"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// LockKey names what one session at a time may have: a folder of an account. Accounts are
// named by [backends.Account.ID], since one mailbox can have several login names.
type LockKey struct {
	Store, Account, Folder string
}

// Locks is where maildrops are locked (I5).
type Locks interface {
	// Acquire takes a lock, without waiting for one: held by somebody else, it is a failure
	// of the kind [backends.InUse].
	Acquire(ctx context.Context, key LockKey) (Lock, error)
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

// MemoryLocks are locks among the sessions of one process. The zero value is ready.
type MemoryLocks struct {
	mu   sync.Mutex
	held map[LockKey]*memoryLock
}

type memoryLock struct {
	locks *MemoryLocks
	key   LockKey
}

// Acquire implements [Locks].
func (m *MemoryLocks) Acquire(_ context.Context, key LockKey) (Lock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[key] != nil {
		return nil, backends.Fail(backends.InUse, "another session has %s of %s open", key.folder(), key.Account)
	}
	if m.held == nil {
		m.held = make(map[LockKey]*memoryLock)
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

func (k LockKey) folder() string {
	if k.Folder == "" {
		return "the inbox"
	}
	return k.Folder
}
