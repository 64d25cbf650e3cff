package imap

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

const (
	// samplesWanted is how many messages have to have the size that the server said, before the
	// store takes its sizes for exact without looking.
	samplesWanted = 3
	// samplesTime is how long a login waits for samples.
	samplesTime = 10 * time.Second
)

// samples are what has been found out about a server's sizes. RFC822.SIZE is exact by RFC 9051
// §2.3.4, and an estimate with many servers; and a message that has a bare LF in it, or no CRLF at
// its end, is longer as POP3 sends it.
type samples struct {
	mu               sync.Mutex
	agreed, differed int
}

// add counts samples, and says whether the sizes are estimates from now on.
func (s *samples) add(agreed, differed int) (estimates bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed += agreed
	s.differed += differed
	return s.differed >= 2 && s.differed > s.agreed
}

// enough says whether no more are needed.
func (s *samples) enough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agreed >= samplesWanted && s.agreed > s.differed
}

// measured is a message that was read to know its size.
type measured struct {
	uid        imap.UID
	told, came int64 // -1: it could not be read
}

// markExact says of each entry whether its size can be told as exact. Until enough messages have
// had the size that the server said, some are read: a small one, a large one and the newest. Those
// that were found to have another size are left to the gateway to be measured, and remembered. So is
// one of no octets, which mostly means that the server does not know.
func (m *maildrop) markExact(ctx context.Context, entries []backends.Entry) {
	if !m.sizesAreTrue(ctx, entries) {
		return
	}
	for i := range entries {
		entries[i].Exact = entries[i].Size > 0 && !m.store.wrongSizes.has(m, entries[i].ID)
	}
}

func (m *maildrop) sizesAreTrue(ctx context.Context, entries []backends.Entry) bool {
	s := m.store
	if s.estimates.Load() {
		return false
	}
	if len(entries) == 0 || s.samples.enough() {
		return true
	}
	agreed, differed := 0, 0
	for _, got := range m.measure(ctx, entries) {
		switch {
		case got.came < 0:
		case got.came == got.told:
			agreed++
		default:
			differed++
			m.tellSize(got.uid, got.told, got.came)
		}
	}
	if s.samples.add(agreed, differed) && !s.estimates.Swap(true) {
		s.log.Warn().Msg("the IMAP server's sizes count as estimates from now on: each message is read once to know its size; \"sizes: measure\" in the policy does so from the first session on")
	}
	return agreed > differed
}

// measure reads samples, all at once.
func (m *maildrop) measure(ctx context.Context, entries []backends.Entry) []measured {
	ctx, cancel := context.WithTimeout(ctx, samplesTime)
	defer cancel()
	chosen := choose(entries)
	results := make([]measured, len(chosen))
	var reading sync.WaitGroup
	for n, i := range chosen {
		reading.Go(func() {
			uid, _ := m.uid(entries[i].ID)
			results[n] = measured{uid: uid, told: entries[i].Size, came: -1}
			r := m.read(ctx, uid)
			defer r.close()
			if octets, err := r.collect(); err == nil {
				results[n].came = octets
			}
		})
	}
	reading.Wait()
	return results
}

// choose takes the smallest message, the largest that is not too long to be read for this, the
// newest, and where that is one message twice, the one in the middle and the oldest.
func choose(entries []backends.Entry) (chosen []int) {
	var short []int
	for i, e := range entries {
		if 0 <= e.Size && e.Size <= collectMost {
			short = append(short, i)
		}
	}
	if len(short) == 0 {
		return nil
	}
	bySize := func(a, b int) int { return cmp.Compare(entries[a].Size, entries[b].Size) }
	smallest, largest := slices.MinFunc(short, bySize), slices.MaxFunc(short, bySize)
	for _, i := range []int{smallest, largest, short[len(short)-1], short[len(short)/2], short[0]} {
		if len(chosen) < samplesWanted && !slices.Contains(chosen, i) {
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// wrongSizesMost bounds how many messages are remembered whose sizes are wrong.
const wrongSizesMost = 10_000

// wrongSizes are the messages whose sizes are known to be wrong.
type wrongSizes struct {
	mu   sync.Mutex
	told map[string]struct{}
	// whole are the octets of those that are known to be complete.
	whole map[string]int64
}

func wrongSizeOf(m *maildrop, id backends.MessageID) string {
	return m.account.ID + "\x00" + m.folder + "\x00" + string(id)
}

// add says yes the first time, for each message.
func (w *wrongSizes) add(m *maildrop, id backends.MessageID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := wrongSizeOf(m, id)
	if _, before := w.told[key]; before {
		return false
	}
	if w.told == nil || len(w.told) >= wrongSizesMost {
		w.told = make(map[string]struct{})
	}
	w.told[key] = struct{}{}
	return true
}

func (w *wrongSizes) has(m *maildrop, id backends.MessageID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told) == 0 {
		return false
	}
	_, is := w.told[wrongSizeOf(m, id)]
	return is
}

// addWhole notes that a message is complete with so many octets.
func (w *wrongSizes) addWhole(m *maildrop, id backends.MessageID, octets int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.whole == nil || len(w.whole) >= wrongSizesMost {
		w.whole = make(map[string]int64)
	}
	w.whole[wrongSizeOf(m, id)] = octets
}

// isWhole says whether a message is known to be complete with so many octets.
func (w *wrongSizes) isWhole(m *maildrop, id backends.MessageID, octets int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, is := w.whole[wrongSizeOf(m, id)]
	return is && known == octets
}

// wholeLength is how many octets the server gives of a message that it is asked for as a whole; below 0: it gives none. They are not kept.
func (m *maildrop) wholeLength(ctx context.Context, uid imap.UID) (octets int64, err error) {
	octets, err = exchange(ctx, m, func() (int64, error) {
		client, came := m.conn.client, int64(-1)
		defer client.wire.expect()()
		command := client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
		for message := command.Next(); message != nil; message = command.Next() {
			of, n, err := countBody(message)
			if err != nil {
				_ = client.Close() // the library goes on once a literal has failed
				return came, backends.Fail(backends.Temporary, "fetch: %w", err)
			}
			if of == uid && n >= 0 {
				came = n
			}
		}
		return came, command.Close()
	})
	if err == nil {
		err = m.replaced()
	}
	if err != nil {
		return -1, failure(fmt.Sprintf("ask for message %d as a whole", uid), err, backends.Temporary)
	}
	return octets, nil
}

// countBody reads the answer about one message, and counts the octets of its body; below 0: it has none.
func countBody(message *imapclient.FetchMessageData) (uid imap.UID, octets int64, err error) {
	octets = -1
	for item := message.Next(); item != nil; item = message.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil || len(item.Section.Part) > 0 || item.Section.Partial != nil {
				continue
			}
			said := item.Literal.Size()
			if octets, err = io.Copy(io.Discard, item.Literal); err == nil && octets != said {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return uid, octets, err
			}
		}
	}
	return uid, octets, nil
}

// tellSize notes, and says in the log once, that a message has another size than the server said.
// It is served as it came.
func (m *maildrop) tellSize(uid imap.UID, told, came int64) {
	if m.store.wrongSizes.add(m, m.id(uid)) {
		m.store.log.Warn().Str("account", m.account.ID).Uint32("uid", uint32(uid)).Int64("told", told).Int64("came", came).
			Msg("a message has another size, as it is sent by POP3, than the IMAP server's RFC822.SIZE; \"sizes: measure\" in the policy is advised")
	}
}
