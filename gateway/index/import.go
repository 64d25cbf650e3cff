package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
)

// importsMost bounds the imports of one folder.
const importsMost = 1_000_000

// Import is a unique-id that is waiting for its message.
type Import struct {
	UIDL string
	// ID is the store's id of the message, where that is known; then nothing is compared.
	ID string
	// MessageID and, where Digested, Digest are of the message's fingerprint.
	MessageID string
	Digest    [16]byte
	Digested  bool
	// Size in octets tells messages with the same header apart; below zero: not known.
	Size int64
}

// errNothing is an import that says nothing of its message.
var errNothing = errors.New("it says neither an id, nor a Message-ID, nor a digest")

// check says what is wrong with an import.
func (i *Import) check() error {
	switch {
	case !uidl.Valid(i.UIDL):
		return fmt.Errorf("the unique-id %.80q does not have 1 to %d characters of 0x21 to 0x7E (RFC 1939 §7)", i.UIDL, uidl.Most)
	case i.ID == "" && i.MessageID == "" && !i.Digested:
		return errNothing
	}
	return nil
}

// The forms of an entry. The numbers are in the database.
const (
	byMessageID = 1
	byDigest    = 2
	byBoth      = 3
)

// short is a Message-ID as it waits: 16 octets, however long it is.
func short(messageID string) (key [16]byte) {
	sum := sha256.Sum256([]byte(messageID))
	copy(key[:], sum[:16])
	return key
}

func (b *batch) imported(i *Import) {
	form := 0
	if i.MessageID != "" {
		form |= byMessageID
	}
	if i.Digested {
		form |= byDigest
	}
	b.number(uint64(form))
	if form&byMessageID != 0 {
		key := short(i.MessageID)
		*b = append(*b, key[:]...)
	}
	if i.Digested {
		*b = append(*b, i.Digest[:]...)
	}
	b.number(uint64(i.Size + 1))
	b.text(i.UIDL)
}

// pending is an import as it waits in the database.
type pending struct {
	uidl              string
	messageID, digest [16]byte
	form              uint64
	size              int64
}

func (e *entries) pending() (p pending) {
	if p.form = e.number(); p.form == 0 || p.form > byBoth {
		e.fail()
	}
	if p.form&byMessageID != 0 {
		copy(p.messageID[:], e.octets(16))
	}
	if p.form&byDigest != 0 {
		copy(p.digest[:], e.octets(16))
	}
	p.size = int64(e.number()) - 1
	p.uidl = e.text()
	return p
}

// Import keeps unique-ids for the messages of a folder: those whose id is known at once, the
// others until a login recognises their messages. What the folder was to import before and has
// not found is replaced; what it has found stays. Nothing is kept when an import is wrong, or two
// have one unique-id.
func (x *Index) Import(ctx context.Context, key folder.Key, imports []Import) error {
	if len(imports) > importsMost {
		return fmt.Errorf("there are more than %d unique-ids", importsMost)
	}
	known, waiting := newBatch(), newBatch()
	seen := make(map[string]int, len(imports))
	for n := range imports {
		i := &imports[n]
		if err := i.check(); err != nil {
			return fmt.Errorf("the %d. unique-id: %w", n+1, err)
		}
		if first, twice := seen[i.UIDL]; twice {
			return fmt.Errorf("the %d. unique-id, %s, is that of the %d. message already", n+1, i.UIDL, first)
		}
		seen[i.UIDL] = n + 1
		if i.ID != "" {
			known.text(i.ID)
			known.text(i.UIDL)
		} else {
			waiting.imported(i)
		}
	}
	octets := key.Hash()
	return x.write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("DELETE FROM folder_parts WHERE folder = $1 AND kind = $2", octets, kindImport); err != nil {
			return err
		}
		if err := x.put(tx, key, octets, kindUIDL, known); err != nil {
			return err
		}
		return x.put(tx, key, octets, kindImport, waiting)
	})
}

// Waiting says whether there are imported unique-ids whose messages were not found yet.
func (f *Folder) Waiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting) > 0
}

// Known says whether a message has been looked at for an import, or was given a unique-id.
func (f *Folder) Known(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.uidls[id]
	return known
}

// Candidate is a message that may be one of those that imports wait for.
type Candidate struct {
	ID string
	Fingerprint
	Size int64 // below zero: not known
}

// Recognise gives messages, in the order of the list, the unique-ids that wait for them, and
// returns when that is on the disk. Those that nothing waits for are not looked at again.
//
// A message is recognised by Message-ID and digest, or else by the digest, or else by a
// Message-ID that nobody else has, in the import or among these. Several with the same
// fingerprint are told apart by their sizes, and then by their order.
func (f *Folder) Recognise(ctx context.Context, candidates []Candidate) error {
	f.mu.Lock()
	m := newMatcher(f.waiting, f.taken)
	f.mu.Unlock()
	return f.Pin(ctx, m.match(candidates))
}

// matcher finds the imports of messages. A stranger can send any number of messages with one
// fingerprint, so imports wait in queues, also by size: none is looked at again for each message.
type matcher struct {
	waiting     []pending
	used        []bool
	byDigest    map[likeness][]int
	byMessageID map[likeness][]int
	same        map[[16]byte]int // imports with one Message-ID
}

// likeness is a digest or a Message-ID, and a size or anySize.
type likeness struct {
	of   [16]byte
	size int64
}

const anySize = -1

func newMatcher(waiting []pending, taken map[string]struct{}) *matcher {
	m := &matcher{
		waiting: waiting, used: make([]bool, len(waiting)),
		byDigest: make(map[likeness][]int), byMessageID: make(map[likeness][]int), same: make(map[[16]byte]int),
	}
	for n, p := range waiting {
		if _, m.used[n] = taken[p.uidl]; m.used[n] {
			continue
		}
		if p.form&byDigest != 0 {
			queue(m.byDigest, p.digest, p.size, n)
		}
		if p.form&byMessageID != 0 {
			queue(m.byMessageID, p.messageID, p.size, n)
			m.same[p.messageID]++
		}
	}
	return m
}

func queue(in map[likeness][]int, of [16]byte, size int64, n int) {
	in[likeness{of, anySize}] = append(in[likeness{of, anySize}], n)
	if size >= 0 {
		in[likeness{of, size}] = append(in[likeness{of, size}], n)
	}
}

// match gives each message its unique-id, or an empty one. The surer ways go first, so that a
// message does not take what is another's.
func (m *matcher) match(candidates []Candidate) map[string]string {
	found := make(map[string]string, len(candidates))
	same := make(map[string]int) // messages with one Message-ID
	for _, c := range candidates {
		same[c.MessageID]++
	}
	for _, way := range []func(c Candidate) int{
		func(c Candidate) int {
			if c.Size < 0 {
				return -1
			}
			return m.take(m.byDigest, likeness{c.Digest, c.Size}, c.MessageID)
		},
		func(c Candidate) int { return m.take(m.byDigest, likeness{c.Digest, anySize}, c.MessageID) },
		func(c Candidate) int {
			if c.MessageID == "" {
				return -1
			}
			id := short(c.MessageID)
			if c.Size >= 0 {
				if n := m.take(m.byMessageID, likeness{id, c.Size}, c.MessageID); n >= 0 {
					return n
				}
			}
			if m.same[id] > 1 || same[c.MessageID] > 1 {
				return -1
			}
			return m.take(m.byMessageID, likeness{id, anySize}, c.MessageID)
		},
	} {
		for _, c := range candidates {
			if found[c.ID] != "" {
				continue
			}
			found[c.ID] = ""
			if n := way(c); n >= 0 {
				found[c.ID] = m.waiting[n].uidl
			}
		}
	}
	return found
}

// take finds the first import of a likeness that is still free and has no other Message-ID.
// (A digest is of the Message-ID, too: another one under the same digest is an import's mistake.)
func (m *matcher) take(from map[likeness][]int, key likeness, messageID string) int {
	among := from[key]
	for len(among) > 0 && m.used[among[0]] {
		among = among[1:]
	}
	from[key] = among
	id := short(messageID)
	at := slices.IndexFunc(among, func(n int) bool {
		p := &m.waiting[n]
		return !m.used[n] && (p.form&byMessageID == 0 || p.messageID == id)
	})
	if at < 0 {
		return -1
	}
	m.used[among[at]] = true
	return among[at]
}
