package maildrop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/gateway/index"
)

const (
	idMost = 1024 // octets of a message id, by the contract

	// derivedMark begins the unique-ids that are made by hashing. An id or UIDL of the store's that
	// begins with "~" is hashed too, so the two kinds never collide. The digit is the version of the
	// recipe: never change what it stands for (RFC 1939 §7, I7).
	derivedMark = "~1"
)

// sizeMost is the largest size of a message that is believed, 1 PiB. A larger one counts as not known.
const sizeMost = 1 << 50

// listFree is the octets of ids that each session has without using the budget of all sessions.
const listFree = 256 << 10

// listRoom is a session's share of the budget for all lists (I11).
type listRoom struct {
	most   int64
	all    *Budget
	octets int64 // in use
}

// errListsFull refuses a list for which the budget of all sessions has no room.
var errListsFull = errors.New("the ids in all open maildrops together have more octets than are allowed")

// grow raises the share to a number of octets in all.
func (r *listRoom) grow(octets int64) error {
	if octets <= r.octets || octets <= listFree {
		return nil
	}
	if octets > r.most {
		return backends.Fail(backends.Permanent, "%w: its ids have more than %d octets", errTooMany, r.most).Say("the mailbox has too many messages")
	}
	if !r.all.take(octets - max(r.octets, listFree)) {
		return backends.Fail(backends.Throttled, "%w", errListsFull).Say("too many large mailboxes are open, try again later")
	}
	r.octets = octets
	return nil
}

// giveBack returns the share to the budget.
func (r *listRoom) giveBack() {
	if r.octets > listFree {
		r.all.give(r.octets - listFree)
	}
	r.octets = 0
}

// errTooMany ends the listing of a folder that is larger than the configuration allows.
var errTooMany = errors.New("the folder has more messages than are allowed")

// snapshot is a folder's list as the session sees it (RFC 1939 §4), in little memory: all ids in an
// arena, and 24 octets and a size for each message. Messages are numbered from 0 here.
type snapshot struct {
	texts   *arena
	entries []entry
	mu      sync.Mutex // guards sizes: a size may be learnt while another message is read
	sizes   []int64    // -1: not known exactly, yet
	seen    int        // messages up to the last one that the store has marked as read
}

// entry points into the arena.
type entry struct {
	id, uidl span
}

func (s *snapshot) id(i int) backends.MessageID {
	return backends.MessageID(s.texts.text(s.entries[i].id))
}
func (s *snapshot) uidl(i int) string { return s.texts.text(s.entries[i].uidl) }

func (s *snapshot) size(i int) (octets int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizes[i], s.sizes[i] >= 0
}

// complete says whether all sizes are known.
func (s *snapshot) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Contains(s.sizes, -1)
}

// ids yields the id of each message.
func (s *snapshot) ids(yield func(id string) bool) {
	for _, e := range s.entries {
		if !yield(s.texts.text(e.id)) {
			return
		}
	}
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

// rename gives a message another unique-id, which no other message has.
func (s *snapshot) rename(i int, uidl string) {
	if at, err := s.texts.put(uidl); err == nil {
		s.entries[i].uidl = at
	}
}

// scan is a snapshot while it is being made.
type scan struct {
	log     func(zerolog.Level) *zerolog.Event
	space   *listRoom
	most    int
	fast    bool // estimates are told as sizes
	measure bool // no size is believed
	other   bool // messages are rendered in another form than the one whose sizes are listed
	known   *index.Folder
	pinned  bool              // known has unique-ids
	pins    map[string]string // unique-ids, by id, that are to be known from now on
	texts   *arena
	entries []entry
	sizes   []int64
	seen    int
	// told are the store's own UIDLs of entries (Entry.UIDL), by index: few stores have any.
	told       map[int]string
	toldOctets int64
}

// toldCost is about what an entry of scan.told costs beside its text.
const toldCost = 64

// takeSnapshot reads the list to its end. An entry that breaks the contract (I10) is left out
// and logged; the others are served (I8).
func (d *drop) takeSnapshot(ctx context.Context, from backends.Maildrop) (*snapshot, error) {
	d.space.giveBack() // of a list before
	d.space.most, d.space.all = d.o.ListMost, d.o.Lists
	s := &scan{texts: &arena{}, space: &d.space, log: d.log, most: d.o.MessagesMost, fast: d.policy.FastSizes, measure: d.policy.MeasureSizes, other: d.formName() != "", known: d.known}
	for e, err := range from.List(ctx) {
		if err != nil {
			return nil, err
		}
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err // the list may have ended early without an error
	}
	if err := d.recognise(ctx, s); err != nil {
		return nil, err
	}
	list, err := s.finish()
	if err != nil {
		return nil, err
	}
	if err := d.known.Pin(ctx, s.pins); err != nil {
		// They are the same in each session as long as no message is removed.
		d.log(zerolog.ErrorLevel).Err(err).Int("messages", len(s.pins)).Msg("unique-ids that do not follow from messages' ids could not be kept")
	}
	return list, nil
}

func (s *scan) add(e backends.Entry) error {
	if e.ID == "" || len(e.ID) > idMost {
		s.log(zerolog.WarnLevel).Int("octets", len(e.ID)).Msg("the store lists a message whose id is empty or too long; it is left out")
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
		s.toldOctets += int64(len(e.UIDL)) + toldCost
	}
	size := e.Size
	if size > sizeMost || size < 0 || s.measure || (!e.Exact || s.other) && !s.fast {
		size = -1 // an estimate is not told as a size (I6), unless the policy wants it
	}
	s.entries = append(s.entries, entry{id: at})
	s.sizes = append(s.sizes, size)
	if e.Seen {
		s.seen = len(s.entries)
	}
	return nil
}

func (s *scan) put(text string) (span, error) {
	at, err := s.texts.put(text)
	if err == nil {
		err = s.space.grow(s.texts.octets() + s.toldOctets)
	}
	return at, err
}

func (s *scan) at(p span) string { return s.texts.text(p) }

// finish leaves out messages that are listed twice, and gives each message its unique-id (RFC 1939 §7).
func (s *scan) finish() (*snapshot, error) {
	ids := make(map[string]struct{}, len(s.entries))
	uidls := make(map[string]struct{}, len(s.entries))
	kept, seen := 0, 0
	s.pinned = s.known.HasUIDLs()
	sized := s.known.HasSizes()
	for i, e := range s.entries {
		id := s.at(e.id)
		if _, twice := ids[id]; twice {
			s.log(zerolog.WarnLevel).Str("id", id).Msg("the store lists a message twice; the second is left out")
			continue
		}
		ids[id] = struct{}{}
		uidl, err := s.chooseUIDL(e.id, s.told[i], uidls)
		if err != nil {
			return nil, err
		}
		uidls[s.at(uidl)] = struct{}{}
		s.entries[kept], s.sizes[kept] = entry{id: e.id, uidl: uidl}, s.sizes[i]
		if sized {
			// A size that was counted replaces the store's.
			if octets, known := s.known.Size(id); known {
				s.sizes[kept] = octets
			}
		}
		kept++
		if i < s.seen {
			seen = kept
		}
	}
	return &snapshot{texts: s.texts, entries: s.entries[:kept:kept], sizes: s.sizes[:kept:kept], seen: seen}, nil
}

// chooseUIDL takes the unique-id that the index has, or else the first of these that is valid and not
// in use: the one that clients remember from another server, the id itself, the id's hash. Ids differ,
// so the hash is not in use unless SHA-256 is broken.
//
// Normally the choice depends on the message alone. If it does not, because another message has the
// unique-id, or had it when it was imported, the index keeps the choice: RFC 1939 §7 does not allow it
// to change or to be used again after the other message is gone (I7).
func (s *scan) chooseUIDL(id span, told string, taken map[string]struct{}) (span, error) {
	text, refused := s.at(id), false
	if s.pinned {
		if uidl, known := s.known.UIDL(text); known {
			if _, refused = taken[uidl]; !refused {
				return s.put(uidl)
			}
		}
	}
	at, err := s.naturalUIDL(id, told, func(uidl string) bool {
		_, is := taken[uidl]
		is = is || s.pinned && s.known.Taken(uidl)
		refused = refused || is
		return !is
	})
	if err == nil && refused {
		if s.pins == nil {
			s.pins = make(map[string]string)
		}
		s.pins[text] = s.at(at)
	}
	return at, err
}

func (s *scan) naturalUIDL(id span, told string, free func(uidl string) bool) (span, error) {
	if told != "" && validUIDL(told) && free(told) {
		return s.put(told)
	}
	text := s.at(id)
	if validUIDL(text) && free(text) {
		return id, nil
	}
	derived := deriveUIDL(text)
	if !free(derived) {
		return span{}, backends.Fail(backends.Permanent, "two messages have the unique-id %s", derived)
	}
	return s.put(derived)
}

// validUIDL says whether a store's text may be told as a unique-id: it has the form of one
// (RFC 1939 §7), and does not look like a derived one.
func validUIDL(text string) bool {
	return uidl.Valid(text) && !strings.HasPrefix(text, derivedMark[:1])
}

// deriveUIDL makes a unique-id of any id: 192 bits of its SHA-256 in 34 characters.
func deriveUIDL(id string) string {
	sum := sha256.Sum256([]byte(id))
	return derivedMark + base64.RawURLEncoding.EncodeToString(sum[:24])
}
