package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// Memory is a vault that ends with the process, for tests and examinations. The zero value is ready.
type Memory struct {
	// Now is the clock of the state; nil: [time.Now].
	Now func() time.Time

	mu      sync.Mutex
	entries map[string]*remembered
}

// remembered is an entry with its lease.
type remembered struct {
	value          []byte
	version        int64
	put            time.Time
	expires, until time.Time // zero: never; there is no lease
	holder         string
}

var (
	_ Vault     = (*Memory)(nil)
	_ Abandoner = (*Memory)(nil)
	_ Extender  = (*Memory)(nil)
)

var (
	errFull  = errors.New("the vault has room for 8192 entries")
	errLarge = errors.New("the vault has room for 16 MiB")
)

func (m *Memory) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// at is the entry with a name, which is made where there is none. The lock is held.
func (m *Memory) at(name string) (*remembered, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	e := m.entries[name]
	if e == nil && len(m.entries) >= EntriesMost {
		m.forget()
	}
	if e == nil && len(m.entries) >= EntriesMost {
		return nil, errFull
	}
	if e == nil {
		if m.entries == nil {
			m.entries = make(map[string]*remembered)
		}
		e = &remembered{}
		m.entries[name] = e
	}
	return e, nil
}

// fits says whether the vault has room for a value in the place of an entry's. The lock is held.
func (m *Memory) fits(in *remembered, value []byte) bool {
	all := len(value) - len(in.value)
	for _, e := range m.entries {
		all += len(e.value)
	}
	return all <= Room(len(in.value))
}

// forget makes room: what has expired goes. The lock is held.
func (m *Memory) forget() {
	now := m.now()
	for name, e := range m.entries {
		if !e.expires.IsZero() && !now.Before(e.expires) && !now.Before(e.until) {
			delete(m.entries, name)
		}
	}
}

func (r *remembered) entry(now time.Time) Entry {
	if r.value == nil || !r.expires.IsZero() && !now.Before(r.expires) {
		return Entry{Version: r.version}
	}
	return Entry{Value: bytes.Clone(r.value), Version: r.version, Age: now.Sub(r.put)}
}

// Values are all that it has, by name, for tests.
func (m *Memory) Values() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string][]byte)
	for name, e := range m.entries {
		if e.value != nil {
			all[name] = bytes.Clone(e.value)
		}
	}
	return all
}

// Get implements [Vault].
func (m *Memory) Get(_ context.Context, name string) (Entry, error) {
	if err := CheckName(name); err != nil {
		return Entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[name]; e != nil {
		return e.entry(m.now()), nil
	}
	return Entry{}, nil
}

// Lease implements [Vault].
func (m *Memory) Lease(_ context.Context, name string, life time.Duration) (Lease, error) {
	if err := CheckLife(life); err != nil {
		return Lease{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.at(name)
	if err != nil {
		return Lease{}, err
	}
	now := m.now()
	l := Lease{Entry: e.entry(now)}
	if e.holder != "" && now.Before(e.until) {
		return l, nil
	}
	l.Abandoned = e.holder != ""
	e.holder, e.until = rand.Text(), now.Add(life)
	l.ID = e.holder
	return l, nil
}

// Put implements [Vault].
func (m *Memory) Put(_ context.Context, name string, c Change) (stored bool, err error) {
	if err := c.Check(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.at(name)
	if err != nil || e.version != c.Version {
		return false, err
	}
	if len(c.Value) > len(e.value) && !m.fits(e, c.Value) {
		m.forget()
		if m.entries[name] = e; !m.fits(e, c.Value) { // its version counts, although it may have expired
			return false, errLarge
		}
	}
	now := m.now()
	e.value, e.version, e.put, e.expires = bytes.Clone(c.Value), e.version+1, now, time.Time{}
	if c.Keep > 0 {
		e.expires = now.Add(c.Keep)
	}
	if c.Lease != "" && e.holder == c.Lease {
		e.holder = ""
	}
	return true, nil
}

// Release implements [Vault].
func (m *Memory) Release(_ context.Context, name, lease string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[name]; e != nil && lease != "" && e.holder == lease {
		e.holder = ""
	}
	return CheckName(name)
}

// Abandon implements [Abandoner].
func (m *Memory) Abandon(_ context.Context, name, lease string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[name]; e != nil && lease != "" && e.holder == lease {
		e.until = time.Time{}
	}
	return CheckName(name)
}

// Extend implements [Extender].
func (m *Memory) Extend(_ context.Context, name, lease string, life time.Duration) (held bool, err error) {
	if err := errors.Join(CheckName(name), CheckLife(life)); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[name]
	if e == nil || lease == "" || e.holder != lease {
		return false, nil
	}
	e.until = m.now().Add(life)
	return true, nil
}
