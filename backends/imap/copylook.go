package imap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// look finds in the folder what other processes have left there, and tidies up: what is known of messages whose copies were made goes after
// some time, and what cannot be done is given up after a week, which the log says.
func (s *Store) look(ctx context.Context) {
	c, now := s.copying, time.Now()
	if !c.queue.beginLook(now) {
		return
	}
	err := c.folder.names(ctx, func(name string) bool {
		if state, known := c.queue.seen(name, now); known { // most are such, and nothing is to be done for them
			if state != owed {
				return true
			}
			if _, there := c.folder.isThere(name); there {
				return true
			}
			c.queue.leave(name) // another process has made the copy
		}
		s.lookAt(name, now)
		return true
	})
	if err == nil {
		c.queue.endLook()
		err = s.sweep(now)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn().Err(err).Msg("the folder for copies of what is sent cannot be read")
	}
}

// lookAt finds out what is to be done for a message.
func (s *Store) lookAt(name string, now time.Time) {
	c := s.copying
	r, err := c.folder.read(name)
	info, there := c.folder.isThere(name)
	switch {
	case errors.Is(err, errDamaged) && there: // it was begun, and nothing that was known of it has reached the disk
		r = &record{Kept: info.ModTime()}
	case errors.Is(err, errDamaged):
		c.forget(name)
		return
	case err != nil: // the disk does not say it now: the message stays
		s.log.Warn().Err(err).Msg("what is known of a sent message cannot be read: its copy waits")
		return
	case r == nil: // it is gone
		return
	}
	begun := cmp.Or(r.Sent, r.Kept)
	over := c.queue.over(begun, now)
	switch {
	case !r.Copied.IsZero():
		if until := c.queue.remembers(r); now.After(until) {
			c.forget(name)
		} else {
			c.queue.remember(name, until)
		}
	case !there && over:
		c.forget(name)
	case !there: // it is about to be sent by another process, or that its copy is made could not be noted
	case over:
		s.giveUp(name, r)
	case r.Sent.IsZero():
		c.queue.unsure(name, r, info.Size())
	default:
		c.queue.owe(name, r, info.Size(), nil)
	}
}

// giveUp takes a message away that was kept for a week.
func (s *Store) giveUp(name string, r *record) {
	text := "a message was sent, and for a week no copy could be put into the Sent folder: it is given up"
	if r.Sent.IsZero() {
		text = "a message is removed of which for a week nobody knew whether it was sent"
	}
	s.log.Error().Str("mailbox", r.Mailbox).Str("key", r.Key).Time("kept", r.Kept).Time("sent", r.Sent).Int("recipients", len(r.Recipients)).Msg(text)
	s.copying.queue.gaveUp()
	s.copying.forget(name)
}

// sweep takes away what is old and has no record.
func (s *Store) sweep(now time.Time) error {
	c := s.copying
	without, err := c.folder.sweep(now)
	for _, name := range without {
		if info, there := c.folder.isThere(name); there {
			s.giveUp(name, &record{Kept: info.ModTime()})
		}
	}
	for _, name := range c.queue.tooMany() {
		if _, there := c.folder.isThere(name); !there {
			c.folder.remove(name)
		}
	}
	return err
}

// forget takes a message and what is known of it away.
func (c *copying) forget(name string) {
	if k := c.folder.open(name); k != nil {
		k.discard()
	}
	if _, there := c.folder.isThere(name); !there {
		c.folder.remove(name)
		c.queue.leave(name)
	}
}

// beginLook begins a look, unless the work has ended.
func (q *copyQueue) beginLook(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looks++
	q.began = cmp.Or(q.began, now)
	return !q.closed
}

// seen says of a message that a look need not read its record, as it is known: its copy was made (gone), it is being sent, or its copy is
// owed.
func (q *copyQueue) seen(name string, now time.Time) (state queuedState, known bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until, made := q.made[name]; made {
		if now.After(until) {
			delete(q.made, name)
		}
		return gone, !now.After(until)
	}
	m := q.known[name]
	if m == nil || m.state == unknown || now.Sub(m.since) > giveUpAfter {
		return gone, false
	}
	m.look = q.looks
	return m.state, true
}

// over says that enough was done for a message of that time: for a week, and by this process for as long as it needs to try. Where none has
// run for weeks there may have been no attempt at all.
func (q *copyQueue) over(begun, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return now.Sub(begun) > giveUpAfter && now.Sub(q.began) > triesFor
}

// endLook forgets the messages that the look has not found: they were another process's to copy.
func (q *copyQueue) endLook() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, m := range q.known {
		if m.look < q.looks && m.state != beingSent {
			q.drop(name)
		}
	}
}

// remembers is until when a message is remembered whose copy is made. The time in which no process ran does not count, but for a week.
func (q *copyQueue) remembers(r *record) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	until, end := latest(q.began, r.Copied).Add(r.outlasts()), r.Copied.Add(giveUpAfter)
	if until.After(end) {
		return end
	}
	return until
}

// remember notes until when a message is remembered whose copy is made.
func (q *copyQueue) remember(name string, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.made[name] = until
	q.drop(name)
}

// tooMany are the messages that are not remembered any more, as there are too many: those whose time is over first.
func (q *copyQueue) tooMany() (names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	more := len(q.made) - madeMost
	if more <= 0 {
		return nil
	}
	names = slices.SortedFunc(maps.Keys(q.made), func(a, b string) int { return q.made[a].Compare(q.made[b]) })[:more]
	for _, name := range names {
		delete(q.made, name)
	}
	return names
}

// gaveUp counts a message that gets no copy.
func (q *copyQueue) gaveUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.without++
}

// waitsLong is when the administrator is told that copies wait, and tellsLong for how long that some were not made for want of room.
const (
	waitsLong = time.Hour
	tellsLong = 24 * time.Hour
)

// warnings tell of copies that have waited for long, and of messages that have none. c may be nil.
func (c *copying) warnings(now time.Time) (all []backends.Warning) {
	if c == nil {
		return nil
	}
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if n, since := q.oldest(owed); n > 0 && now.Sub(since) >= waitsLong {
		all = append(all, backends.Warning{
			Name: "sent-copies", Kind: backends.WarningOther, Since: since, Text: fmt.Sprintf("%d copies of sent messages could not be put into Sent folders yet", n),
			Advice: "The log says why (no copy is in the Sent folder yet). They are tried for a week.",
		})
	}
	if n, since := q.oldest(unknown); n > 0 && now.Sub(since) >= waitsLong {
		all = append(all, backends.Warning{
			Name: "sent-unknown", Kind: backends.WarningOther, Since: since, Until: since.Add(giveUpAfter),
			Text:   fmt.Sprintf("%d messages of which nobody knows whether they were sent are kept in %s; the keeping of the first one ends", n, c.folder.dir),
			Advice: "The log names each one's file (nobody knows whether a message was sent). Ask its sender, and remove what is not needed: the .eml and the .sent file.",
		})
	}
	if now.Sub(q.lastWithout) < tellsLong {
		all = append(all, backends.Warning{
			Name: "sent-without-copy", Kind: backends.WarningOther, Since: q.firstWithout, Text: fmt.Sprintf("%d messages were sent without a copy for the Sent folder, as too many copies waited", q.noRoom),
			Advice: "The log says why copies wait (no copy is in the Sent folder yet). submission.copies says how many may.",
		})
	}
	return all
}

// oldest says how many messages are in a state, and since when the first is. q.mu is held.
func (q *copyQueue) oldest(state queuedState) (n int, since time.Time) {
	for _, m := range q.known {
		if m.state != state {
			continue
		}
		if n++; n == 1 || m.since.Before(since) {
			since = m.since
		}
	}
	return n, since
}

// metrics are those of copies. c may be nil.
func (c *copying) metrics() []backends.Metric {
	if c == nil {
		return nil
	}
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return []backends.Metric{
		{Name: "sent_copies_waiting", Help: "Messages that are kept for their copies in Sent folders.", Kind: backends.MetricGauge, Value: float64(len(q.known))},
		{Name: "sent_copies_waiting_octets", Help: "What they take.", Kind: backends.MetricGauge, Value: float64(q.octets)},
		{Name: "sent_copies", Help: "Sent messages whose copies are in Sent folders.", Kind: backends.MetricCounter, Value: float64(q.copied)},
		{Name: "sent_without_copy", Help: "Sent messages that got no copy, as too many waited or they had waited for a week.", Kind: backends.MetricCounter, Value: float64(q.without)},
	}
}
