package track

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// What a search takes together, at the most.
const (
	foundMost  = 1000 // events with the name
	namesMost  = 2000 // transactions and keys that they lead to
	eventsMost = 20_000
	octetsMost = 8 << 20 // of their lines
	stepsMost  = 5       // from a message to its report, and on
)

// batchTime is how much later than its first event a batch may end, with a wide margin: a search by time looks so much
// further back.
const batchTime = 10 * time.Minute

// Query says which messages are looked for.
type Query struct {
	// Name is a Message-ID, with or without its angle brackets, an address of a sender or recipient, or the
	// transaction or key of a message in the log and its Received field.
	Name         string
	Since, Until time.Time // of the events that have the name; zero: no bound
}

// Message is what became of one message, and of the reports on it, in the order of time.
type Message struct {
	Events []Event
}

// Result is what was found: messages, the oldest first.
type Result struct {
	Messages []Message
	// More says that there is more, older ones or further events: the search should be narrower.
	More bool
}

// Find looks for messages and what became of them. It reads the names of all events that are kept, some 12 octets for
// each, some times over.
func Find(ctx context.Context, db *state.DB, q Query) (r Result, err error) {
	err = db.Read(ctx, func(tx *state.Tx) error {
		s := search{tx: tx, have: make(map[string]map[int64]bool), asked: make(map[string]bool)}
		if err := s.byName(q); err != nil {
			return err
		}
		for range stepsMost {
			if fresh := s.links(); len(fresh) > 0 {
				err = s.follow(fresh)
			}
			if err != nil {
				return err
			}
		}
		r = Result{Messages: s.messages(), More: s.more}
		return nil
	})
	return r, err
}

type search struct {
	tx     *state.Tx
	events []Event
	have   map[string]map[int64]bool // events, by where and when
	asked  map[string]bool           // transactions and keys that were looked for
	octets int                       // of the events' lines
	more   bool
}

// byName finds the events with the name that is looked for, the latest first.
func (s *search) byName(q Query) error {
	names := []string{q.Name}
	if !strings.HasPrefix(q.Name, "<") {
		names = append(names, "<"+q.Name+">")
	}
	since, until := int64(0), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		since = q.Since.UnixMicro()
	}
	if !q.Until.IsZero() {
		until = q.Until.UnixMicro()
	}
	return s.look(names, foundMost, since-batchTime.Microseconds(), until, func(e *Event) bool {
		at := e.At.UnixMicro()
		return at >= since && at <= until && (e.has(names[0]) || e.has(names[len(names)-1]))
	})
}

// has says whether an event is of a name: hashes alone may be those of another one.
func (e *Event) has(name string) bool {
	return name != "" && slices.ContainsFunc(e.names(), func(own string) bool { return strings.EqualFold(own, name) })
}

// look adds events that have one of these names, and are wanted: the latest of them, and most at the most.
func (s *search) look(names []string, most int, since, until int64, wanted func(*Event) bool) error {
	batches, err := s.batches(names, since, until)
	if err != nil {
		return err
	}
	for _, b := range batches {
		found, err := s.read(b, wanted)
		if err != nil {
			return err
		}
		whole := s.add(found, most)
		most -= len(found)
		if !whole || most <= 0 {
			s.more = s.more || !whole || b != batches[len(batches)-1]
			return nil
		}
	}
	return nil
}

// add adds events of a batch: the latest, as far as there is room for them. Whole: there is for all.
func (s *search) add(found []Event, most int) (whole bool) {
	for i, e := range slices.Backward(found) {
		if len(found)-i > most || s.octets+len(e.Line) > octetsMost {
			return false
		}
		s.have[e.Node][e.At.UnixMicro()] = true
		s.events, s.octets = append(s.events, e), s.octets+len(e.Line)
	}
	return true
}

// batchName names a batch.
type batchName struct {
	first int64
	node  string
}

// batches are those that may have events with these names, the latest first.
func (s *search) batches(names []string, since, until int64) (all []batchName, err error) {
	hashes := make([]uint32, len(names))
	for i, name := range names {
		hashes[i] = hash(name)
	}
	err = s.tx.Query(func(scan func(into ...any) error) error {
		var b batchName
		var packed []byte
		if err := scan(&b.first, &b.node, &packed); err != nil {
			return err
		}
		if hasAny(packed, hashes) {
			all = append(all, b)
		}
		return nil
	}, "SELECT first, node, names FROM track WHERE first >= $1 AND first <= $2 ORDER BY first DESC, node", since, until)
	return all, err
}

// read gives the events of a batch that are wanted, and that are not there yet.
func (s *search) read(b batchName, wanted func(*Event) bool) (found []Event, err error) {
	have := s.have[b.node]
	if have == nil {
		have = make(map[int64]bool)
		s.have[b.node] = have
	}
	var events []byte
	if _, err := s.tx.One([]any{&events}, "SELECT events FROM track_events WHERE first = $1 AND node = $2", b.first, b.node); err != nil {
		return nil, err
	}
	unpack(events, b.node, func(e Event) {
		if !have[e.At.UnixMicro()] && wanted(&e) {
			found = append(found, e)
		}
	})
	return found, nil
}

// links are the names of transactions and messages that events tell of, and that were not looked for.
func (s *search) links() (fresh []string) {
	for _, e := range s.events {
		for _, name := range []string{e.Transaction, e.Key, e.Report} {
			if name == "" || s.asked[name] {
				continue
			}
			if len(s.asked) >= namesMost {
				s.more = true
				return fresh
			}
			s.asked[name] = true
			fresh = append(fresh, name)
		}
	}
	return fresh
}

// follow finds the events of transactions and keys.
func (s *search) follow(names []string) error {
	return s.look(names, eventsMost-len(s.events), math.MinInt64, math.MaxInt64, func(e *Event) bool { return s.asked[e.Transaction] || s.asked[e.Key] })
}

// messages puts events together that share a transaction or a key. A report stands with what it tells of.
func (s *search) messages() (all []Message) {
	slices.SortStableFunc(s.events, func(a, b Event) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Node, b.Node)) })
	parents := make(map[string]string)
	root := func(name string) string {
		for parents[name] != "" {
			name = parents[name]
		}
		return name
	}
	for _, e := range s.events {
		for _, other := range []string{e.Transaction, e.Report} {
			if a, b := root(e.name()), root(other); other != "" && a != b {
				parents[b] = a
			}
		}
	}
	at := make(map[string]int)
	for _, e := range s.events {
		name := root(e.name())
		i, there := at[name]
		if !there {
			i = len(all)
			at[name], all = i, append(all, Message{})
		}
		all[i].Events = append(all[i].Events, e)
	}
	return all
}

// name is what its message is called.
func (e *Event) name() string { return cmp.Or(e.Key, e.Transaction) }
