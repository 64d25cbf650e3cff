package login

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// rememberedMost bounds each kind of what is remembered: passwords, accounts, names. The one not used for longest goes first.
const rememberedMost = 10_000

// memory remembers which secrets were good, for a short while: as a hash under a key that no
// other process has, so that neither a copy of the memory's content nor a crash dump's is worth
// a dictionary's try without the key.
//
// Of application passwords it remembers the outcome of the hash, by the account's name and the
// password's id: an account may have hundreds, one for each of its devices. Of stores' own passwords it remembers one for each account, by the store's id
// of the account: a login with a changed password replaces the old one under whatever name it
// was used.
type memory struct {
	key [32]byte
	now func() time.Time

	mu       sync.Mutex
	hashed   recent[hashed]    // of application passwords, by hashedKey
	accounts recent[verified]  // by store and account id
	names    recent[string]    // the key in accounts, by store and login name
	opened   recent[opened]    // of devices, by store and login name
	changes  map[string]uint64 // how often a store has told of a change
	clears   uint64            // how often everything was forgotten
}

// hashed is an application password that its hash has proved.
type hashed struct {
	sum   sum
	until time.Time
}

// hashedKey is the key of an application password: who has it, and its id.
func hashedKey(account, id string) string { return account + "\x00" + id }

// verified is what a store has said of its own password.
type verified struct {
	sum        sum
	until      time.Time
	id         string // of the account
	generation string // see [backends.Account]
}

type sum [sha256.Size]byte

func newMemory(now func() time.Time) *memory {
	m := &memory{now: now}
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

// knows says whether an application password was good a short while ago.
func (m *memory) knows(account, id string, secret []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.hashed.get(hashedKey(account, id))
	return ok && m.now().Before(h.until) && h.sum == m.sumOf(account, id, secret)
}

// remember notes that an application password is good, for a while.
func (m *memory) remember(account, id string, secret []byte, life time.Duration) {
	if life <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashed.put(hashedKey(account, id), hashed{m.sumOf(account, id, secret), m.now().Add(life)})
}

// forgetHashed forgets one application password. Those beside it are other devices', which have not said anything wrong.
func (m *memory) forgetHashed(account, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashed.drop(hashedKey(account, id))
}

// knowsOwn gives what is remembered of a store's own password, if it is this one. The store may
// have changed its mind: what it says of the account has to be compared.
func (m *memory) knowsOwn(name string, secret []byte) (verified, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	account, _ := m.names.get(name)
	v, ok := m.accounts.get(account)
	return v, ok && m.now().Before(v.until) && v.sum == m.sumOf(account, "", secret)
}

// era is the time between two changes that a store tells of: what it says in one is not remembered in
// another.
func (m *memory) era(store string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eraOf(store)
}

// eraOf is era for those who hold m.mu.
func (m *memory) eraOf(store string) uint64 { return m.clears + m.changes[store] }

// rememberOwn notes what a store has found good, for a while, and no longer than the store says
// that the password works. Any other password of the account is forgotten. Where the era in which
// the store was asked is over, its verdict may be older than the change, and is not remembered.
func (m *memory) rememberOwn(store, name string, secret []byte, a backends.Account, life time.Duration, era uint64) {
	account := store + " " + a.ID
	until := m.now().Add(life)
	if !a.PasswordExpires.IsZero() && a.PasswordExpires.Before(until) {
		until = a.PasswordExpires
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.eraOf(store) != era {
		m.accounts.drop(account) // any other password of it may be the older one
		return
	}
	m.names.put(name, account)
	m.accounts.put(account, verified{m.sumOf(account, "", secret), until, a.ID, a.CredentialGeneration})
}

// forget forgets a store's own password of the account with a login name.
func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if account, ok := m.names.get(name); ok {
		m.accounts.drop(account)
		m.names.drop(name)
	}
}

// accountChanged forgets a store's own password of an account, as forgetAccount does, and what the
// store is saying of it at this moment.
func (m *memory) accountChanged(store, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed(store)
	m.accounts.drop(store + " " + id)
}

// changed begins another era of a store. m.mu is held.
func (m *memory) changed(store string) {
	if m.changes == nil {
		m.changes = make(map[string]uint64)
	}
	m.changes[store]++
}

// forgetAccount forgets a store's own password of an account.
func (m *memory) forgetAccount(store, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts.drop(store + " " + id)
}

// storeChanged forgets a store's own passwords of all its accounts, and what the store is saying of
// any at this moment.
func (m *memory) storeChanged(store string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed(store)
	m.accounts.dropAll(func(key string) bool { return strings.HasPrefix(key, store+" ") })
}

// clear forgets everything, and what stores are saying at this moment.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clears++
	m.hashed, m.accounts, m.names, m.opened = recent[hashed]{}, recent[verified]{}, recent[string]{}, recent[opened]{}
}

// recent is a map of at most rememberedMost entries. Its zero value is empty.
type recent[V any] struct {
	byKey map[string]*list.Element
	order list.List // of *entry[V]; front: used last
}

type entry[V any] struct {
	key   string
	value V
}

func (r *recent[V]) get(key string) (value V, ok bool) {
	element, ok := r.byKey[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(element)
	return element.Value.(*entry[V]).value, true
}

func (r *recent[V]) put(key string, value V) {
	r.drop(key)
	if r.byKey == nil {
		r.byKey = make(map[string]*list.Element)
	}
	for len(r.byKey) >= rememberedMost {
		delete(r.byKey, r.order.Remove(r.order.Back()).(*entry[V]).key)
	}
	r.byKey[key] = r.order.PushFront(&entry[V]{key, value})
}

func (r *recent[V]) drop(key string) {
	if element, ok := r.byKey[key]; ok {
		r.order.Remove(element)
		delete(r.byKey, key)
	}
}

func (r *recent[V]) dropAll(matching func(key string) bool) {
	for key := range r.byKey {
		if matching(key) {
			r.drop(key)
		}
	}
}
