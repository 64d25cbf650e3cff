package maildrop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

const (
	idMost   = 1024 // octets of a message id, by the contract
	uidlMost = 70   // RFC 1939 §7

	// derivedMark begins the unique-ids that are made by hashing. No id and no UIDL of the
	// store's is taken as it is when it begins with this, so the two never meet. The digit
	// is the version of the recipe: never change what it stands for (I7).
	derivedMark = "~1"
)

// errTooMany ends the listing of a folder that is larger than the configuration allows.
var errTooMany = errors.New("the folder has more messages than are allowed")

// snapshot is a folder's list in little memory: all ids in one string, 24 octets and a size for
// each message beside it. Messages count from 0 here.
type snapshot struct {
	arena   string
	entries []entry
	mu      sync.Mutex // guards sizes: a size may be learnt while another message is read
	sizes   []int64    // -1: not known exactly, yet
	seen    int        // messages up to the last one that the store has marked as read
}

// entry points into the arena.
type entry struct {
	id, uidl span
}

type span struct {
	start  uint32
	length uint16
}

func (s *snapshot) text(at span) string {
	return s.arena[at.start : at.start+uint32(at.length)]
}

func (s *snapshot) id(i int) backends.MessageID { return backends.MessageID(s.text(s.entries[i].id)) }
func (s *snapshot) uidl(i int) string           { return s.text(s.entries[i].uidl) }

func (s *snapshot) size(i int) (octets int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizes[i], s.sizes[i] >= 0
}

func (s *snapshot) setSize(i int, octets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[i] = octets
}

// filter keeps the messages that are wanted, in their order.
func (s *snapshot) filter(wanted func(i int) bool) {
	kept, seen := 0, 0
	for i := range s.entries {
		if !wanted(i) {
			continue
		}
		s.entries[kept], s.sizes[kept] = s.entries[i], s.sizes[i]
		kept++
		if i < s.seen {
			seen = kept
		}
	}
	s.entries, s.sizes, s.seen = s.entries[:kept], s.sizes[:kept], seen
}

// rename gives a message another unique-id, which nobody else has.
func (s *snapshot) rename(i int, uidl string) {
	s.entries[i].uidl = span{start: uint32(len(s.arena)), length: uint16(len(uidl))}
	s.arena += uidl
}

// scan is a snapshot while it is being made.
type scan struct {
	log     zerolog.Logger
	most    int
	arena   strings.Builder
	entries []entry
	sizes   []int64
	seen    int
	// told are the store's own UIDLs of entries (Entry.UIDL), by index: few stores have any.
	told map[int]string
}

// takeSnapshot reads the list to its end. An entry that breaks the contract (I10) is left out
// and logged; the others are served (I8).
func takeSnapshot(ctx context.Context, log zerolog.Logger, drop backends.Maildrop, most int) (*snapshot, error) {
	s := &scan{log: log, most: most}
	for e, err := range drop.List(ctx) {
		if err != nil {
			return nil, err
		}
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err // a list that was broken off without saying so
	}
	return s.finish()
}

func (s *scan) add(e backends.Entry) error {
	if e.ID == "" || len(e.ID) > idMost {
		s.log.Warn().Int("octets", len(e.ID)).Msg("the store lists a message whose id is empty or too long; it is left out")
		return nil
	}
	if len(s.entries) >= s.most {
		return backends.Fail(backends.Permanent, "%w (%d)", errTooMany, s.most).Say("the mailbox has too many messages")
	}
	at, err := s.put(string(e.ID))
	if err != nil {
		return err
	}
	if e.UIDL != "" {
		if s.told == nil {
			s.told = make(map[int]string)
		}
		s.told[len(s.entries)] = e.UIDL
	}
	size := e.Size
	if size < 0 || !e.Exact {
		size = -1 // an estimate is not told as a size (I6)
	}
	s.entries = append(s.entries, entry{id: at})
	s.sizes = append(s.sizes, size)
	if e.Seen {
		s.seen = len(s.entries)
	}
	return nil
}

func (s *scan) put(text string) (span, error) {
	if s.arena.Len() > math.MaxUint32-idMost {
		return span{}, backends.Fail(backends.Permanent, "the ids of the folder's messages exceed 4 GiB")
	}
	at := span{start: uint32(s.arena.Len()), length: uint16(len(text))}
	s.arena.WriteString(text)
	return at, nil
}

func (s *scan) at(p span) string { return s.arena.String()[p.start : p.start+uint32(p.length)] }

// finish leaves out what is listed twice and gives each message its unique-id.
func (s *scan) finish() (*snapshot, error) {
	ids := make(map[string]struct{}, len(s.entries))
	uidls := make(map[string]struct{}, len(s.entries))
	kept, seen := 0, 0
	for i, e := range s.entries {
		id := s.at(e.id)
		if _, twice := ids[id]; twice {
			s.log.Warn().Str("id", id).Msg("the store lists a message twice; the second is left out")
			continue
		}
		ids[id] = struct{}{}
		uidl, err := s.chooseUIDL(e.id, s.told[i], uidls)
		if err != nil {
			return nil, err
		}
		uidls[s.at(uidl)] = struct{}{}
		s.entries[kept], s.sizes[kept] = entry{id: e.id, uidl: uidl}, s.sizes[i]
		kept++
		if i < s.seen {
			seen = kept
		}
	}
	return &snapshot{arena: s.arena.String(), entries: s.entries[:kept:kept], sizes: s.sizes[:kept:kept], seen: seen}, nil
}

// chooseUIDL takes the first that is valid and free of: what clients remember from another
// server, the id itself, the id's hash. Ids differ, so the hash is free, unless somebody has
// broken SHA-256. The choice depends on the list alone, so it is the same in each session.
func (s *scan) chooseUIDL(id span, told string, taken map[string]struct{}) (span, error) {
	free := func(uidl string) bool {
		_, is := taken[uidl]
		return !is
	}
	if told != "" && validUIDL(told) && free(told) {
		return s.put(told)
	}
	if text := s.at(id); validUIDL(text) && free(text) {
		return id, nil
	}
	derived := deriveUIDL(s.at(id))
	if !free(derived) {
		return span{}, backends.Fail(backends.Permanent, "two messages have the unique-id %s", derived)
	}
	return s.put(derived)
}

// validUIDL says whether a store's text may be told as a unique-id: 1 to 70 characters of
// 0x21 to 0x7E (RFC 1939 §7), and none that could be taken for a derived one.
func validUIDL(text string) bool {
	if text == "" || len(text) > uidlMost || strings.HasPrefix(text, derivedMark[:1]) {
		return false
	}
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7e {
			return false
		}
	}
	return true
}

// deriveUIDL makes a unique-id of any id: 192 bits of its SHA-256 in 34 characters.
func deriveUIDL(id string) string {
	sum := sha256.Sum256([]byte(id))
	return derivedMark + base64.RawURLEncoding.EncodeToString(sum[:24])
}
