package login

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// The bounds of what is remembered.
const (
	accountsMost = 10_000 // the one not used for longest goes first
	secretsMost  = 8      // of one account: its own password and some application passwords
)

// memory remembers which secrets were good, for a short while: as a hash under a key that no
// other process has, so that neither a copy of the memory's content nor a crash dump's is worth
// a dictionary's try without the key.
type memory struct {
	key [32]byte
	now func() time.Time

	mu       sync.Mutex
	accounts map[string]*list.Element
	recent   *list.List // of *remembered; front: used last
}

type remembered struct {
	account string
	sums    map[sum]time.Time // until when
}

type sum [sha256.Size]byte

func newMemory(now func() time.Time) *memory {
	m := &memory{now: now, accounts: make(map[string]*list.Element), recent: list.New()}
	_, _ = rand.Read(m.key[:]) // never fails, crypto/rand says
	return m
}

// sumOf is the hash of a secret in its context: whose it is, and what it was compared with.
func (m *memory) sumOf(account, context string, secret []byte) sum {
	mac := hmac.New(sha256.New, m.key[:])
	for _, part := range [][]byte{[]byte(account), []byte(context), secret} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write(part)
	}
	return sum(mac.Sum(nil))
}

// knows says whether a secret was good a short while ago.
func (m *memory) knows(account, context string, secret []byte) bool {
	s := m.sumOf(account, context, secret)
	m.mu.Lock()
	defer m.mu.Unlock()
	element, ok := m.accounts[account]
	if !ok {
		return false
	}
	m.recent.MoveToFront(element)
	return m.now().Before(element.Value.(*remembered).sums[s])
}

// remember notes that a secret is good, for a while.
func (m *memory) remember(account, context string, secret []byte, life time.Duration) {
	if life <= 0 {
		return
	}
	s, now := m.sumOf(account, context, secret), m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	element, ok := m.accounts[account]
	if !ok {
		for len(m.accounts) >= accountsMost {
			oldest := m.recent.Remove(m.recent.Back()).(*remembered)
			delete(m.accounts, oldest.account)
		}
		element = m.recent.PushFront(&remembered{account: account, sums: make(map[sum]time.Time)})
		m.accounts[account] = element
	}
	sums := element.Value.(*remembered).sums
	for old, until := range sums {
		if !now.Before(until) || len(sums) >= secretsMost {
			delete(sums, old)
		}
	}
	sums[s] = now.Add(life)
}

// forget forgets all that is remembered of an account.
func (m *memory) forget(account string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.accounts[account]; ok {
		m.recent.Remove(element)
		delete(m.accounts, account)
	}
}
