package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// recipientsMost bounds how many recipients one Claim hands out, in round figures.
const recipientsMost = 1000

// missedFor is how long what others are changing is left alone.
const missedFor = 100 * time.Millisecond

// Delivery is a message that was handed out, with those of its recipients that are at one destination.
type Delivery struct {
	Message // without its Recipients
	ID      ID
	Size    int64 // octets of the content
	// Destination is where the recipients are.
	Destination string
	// Recipients are those that were handed out.
	Recipients []Pending
	// Of is how many recipients the message has in all.
	Of int

	spool  *Spool
	place  int64
	body   []byte // nil: it is to be read
	shard  int64
	epoch  int64
	weight int64 // octets that it counts for in the queue, see [Delivery.weigh]
	marked []Pending
}

// Held says that the lease under which the delivery was handed out is still this gateway's. It is asked
// before the final dot.
func (d *Delivery) Held() bool { return d.spool.leases.holds(d.shard, d.epoch) }

// Claim hands out mail of a destination that is due, the highest priority first: at the most so many
// messages. They are in flight in the database when it returns: whatever happens from then on, none of
// them is tried again as if it had not been. Nothing is handed out when nothing is due.
func (s *Spool) Claim(ctx context.Context, destination string, most int) ([]*Delivery, error) {
	shard := shardOf(destination)
	for try := 0; ; try++ {
		epoch, held := s.leases.epoch(shard)
		if !held {
			return nil, ErrLease
		}
		if err := s.takeBack(ctx, destination, s.o.Now().UnixMicro()); err != nil {
			return nil, err
		}
		found, behind, now := s.schedule.take(destination, most)
		if behind {
			var err error
			if found, err = s.read(ctx, destination, most, now); err != nil {
				s.schedule.claimed(destination, nil, now)
				return nil, fmt.Errorf("the spool: %w", err)
			}
		}
		if len(found) == 0 {
			return nil, nil
		}
		claimed, missed, err := s.claim(ctx, found, shard, epoch, now)
		patience := int64(0)
		if try > 0 && len(claimed) == 0 {
			patience = missedFor.Microseconds()
		}
		if err != nil || missed {
			s.schedule.claimed(destination, nil, now+patience) // the database knows what is due
		}
		if err != nil || len(claimed) > 0 || patience > 0 {
			return claimed, err
		}
	}
}

// fresh makes the delivery to one destination of what was just taken in; nil: some of it is not due.
func (s *Spool) fresh(e *entry, a announcement, now int64) *Delivery {
	d := &Delivery{
		Message: e.Message, ID: e.id, Size: e.size, Destination: a.destination, Of: len(e.rows),
		spool: s, place: e.content.place, body: e.content.body, shard: a.shard,
	}
	d.Message.Recipients = nil
	for _, r := range e.rows {
		if r.recipient.Destination != a.destination || !r.recipient.State.claimable() {
			continue
		}
		if r.due > now {
			return nil
		}
		d.Recipients = append(d.Recipients, Pending{Recipient: r.recipient, Number: int(r.number)})
	}
	d.weight = d.weigh()
	return d
}

// recipientOctets is what a recipient takes in memory besides its addresses.
const recipientOctets = 256

// weigh is how much memory a delivery takes, about. The content counts for each of a message's destinations: they
// share it, and any of them may be the last that has it.
func (d *Delivery) weigh() int64 {
	octets := len(d.body)
	for _, r := range d.Recipients {
		octets += recipientOctets + len(r.Address) + len(r.OriginalRecipient)
	}
	return int64(octets)
}

// claim marks deliveries as in flight. What is not due any more, because others have changed it or the
// clock was set back, is missed; what cannot be delivered is held.
func (s *Spool) claim(ctx context.Context, found []*Delivery, shard, epoch, now int64) (claimed []*Delivery, missed bool, err error) {
	found = slices.DeleteFunc(found, func(d *Delivery) bool {
		damaged, failed := s.damaged(ctx, d)
		err = errors.Join(err, failed)
		return damaged
	})
	if err != nil || len(found) == 0 {
		return nil, err != nil, err
	}
	err = s.db.Write(ctx, func(tx *state.Tx) error {
		if err := s.leases.verify(tx, shard, epoch); err != nil {
			return err
		}
		for _, d := range found {
			d.marked = make([]Pending, 0, len(d.Recipients))
		}
		if s.db.Shared() {
			return markShared(tx, found, epoch, now)
		}
		return mark(tx, found, epoch, now)
	})
	if errors.Is(err, state.ErrUnsynced) {
		s.schedule.unanswered(found[0].Destination, shard, epoch, now, found)
	}
	if err != nil {
		return nil, false, err
	}
	for _, d := range found {
		missed = missed || len(d.Recipients) > len(d.marked)
		if d.Recipients = d.marked; len(d.Recipients) > 0 {
			d.epoch, d.marked = epoch, nil
			claimed = append(claimed, d)
		}
	}
	return claimed, missed, nil
}

// mark marks deliveries' recipients as in flight, and notes those that it may have.
func mark(tx *state.Tx, found []*Delivery, epoch, now int64) error {
	for _, d := range found {
		for _, r := range d.Recipients {
			rows, err := tx.Exec("UPDATE spool_recipients SET state = 1, due = NULL, epoch = $1 WHERE message = $2 AND number = $3 AND due <= $4 AND destination = $5",
				epoch, int64(d.ID), r.Number, now, d.Destination)
			if err != nil {
				return err
			}
			if rows > 0 {
				d.marked = append(d.marked, r)
			}
		}
	}
	return nil
}

// markShared is mark with one question to the server. What an administrator is changing at this moment is
// not waited for: whoever locks several rows would have to do so in the same order.
func markShared(tx *state.Tx, found []*Delivery, epoch, now int64) error {
	type recipient struct{ message, number int64 }
	var messages, numbers []int64
	for _, d := range found {
		for _, r := range d.Recipients {
			messages, numbers = append(messages, int64(d.ID)), append(numbers, int64(r.Number))
		}
	}
	marked := make(map[recipient]bool, len(messages))
	// All of them are at one destination, or were: an administrator may have given one another.
	err := tx.Query(func(scan func(...any) error) error {
		var r recipient
		err := scan(&r.message, &r.number)
		marked[r] = true
		return err
	}, `WITH free AS (SELECT r.message, r.number FROM spool_recipients r
	JOIN unnest($2::bigint[], $3::bigint[]) AS found (message, number) ON r.message = found.message AND r.number = found.number
	WHERE r.due <= $4 AND r.destination = $5 FOR UPDATE OF r SKIP LOCKED)
UPDATE spool_recipients SET state = 1, due = NULL, epoch = $1 FROM free
WHERE spool_recipients.message = free.message AND spool_recipients.number = free.number
RETURNING spool_recipients.message, spool_recipients.number`, epoch, messages, numbers, now, found[0].Destination)
	for _, d := range found {
		for _, r := range d.Recipients {
			if marked[recipient{int64(d.ID), int64(r.Number)}] {
				d.marked = append(d.marked, r)
			}
		}
	}
	return err
}

// read finds what is due in the database.
func (s *Spool) read(ctx context.Context, destination string, most int, now int64) (found []*Delivery, err error) {
	var odd []oddRow
	next := never
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		found, odd = nil, nil
		page := &page{tx: tx, destination: destination, most: most, now: now, next: never}
		if err := page.read(); err != nil {
			return err
		}
		next = page.next
		found, odd, err = s.messages(tx, page)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, o := range odd {
		if err := s.hold(ctx, o); err != nil {
			return nil, err
		}
	}
	ids := make([]ID, len(found))
	for i, d := range found {
		ids[i] = d.ID
	}
	known := s.schedule.claimed(destination, ids, next)
	for _, d := range found {
		if fresh := known[d.ID]; fresh != nil {
			d.body = fresh.body
		}
	}
	if len(found) == 0 && len(odd) > 0 {
		return s.read(ctx, destination, most, now) // each time fewer
	}
	return found, nil
}

// Each of these is one step into the index, however much there is.
const (
	dueByRank = `SELECT rank, due FROM spool_recipients
WHERE destination = $1 AND rank > $2 AND due IS NOT NULL ORDER BY rank, due LIMIT 1`
	dueOfRank = `SELECT message, number, address, parameters, state, attempts, outcome FROM spool_recipients
WHERE destination = $1 AND rank = $2 AND due <= $3 ORDER BY due, message LIMIT $4`
	laterOfRank = `SELECT due FROM spool_recipients
WHERE destination = $1 AND rank = $2 AND due > $3 ORDER BY due LIMIT 1`
)

// page is a page of recipients that are due.
type page struct {
	tx          *state.Tx
	destination string
	most        int
	now         int64

	rows     []recipientRead
	messages int
	next     int64 // when there is more than the page has
}

// recipientRead is a row of spool_recipients as it is read.
type recipientRead struct {
	message    ID
	number     int64
	address    string
	parameters string
	state      int64
	attempts   int64
	outcome    string
}

// read reads the page, one priority after the other.
func (p *page) read() error {
	for rank := int64(-1); ; {
		var due int64
		found, err := p.tx.One([]any{&rank, &due}, dueByRank, p.destination, rank)
		switch {
		case err != nil || !found:
			return err
		case due > p.now:
			p.next = min(p.next, due)
			continue
		}
		full, err := p.readRank(rank)
		if err != nil {
			return err
		}
		if full {
			p.next = p.now // there may be more of it at once
			return nil
		}
		found, err = p.tx.One([]any{&due}, laterOfRank, p.destination, rank, p.now)
		if err != nil {
			return err
		}
		if found {
			p.next = min(p.next, due)
		}
	}
}

// errPageFull ends the reading of rows.
var errPageFull = errors.New("the page is full")

// readRank reads what is due of one priority, until the page is full.
//
// A server sends all rows that a question may have, whether they are read or not. So not more are asked for than
// most messages have, and again for more where some have many recipients: a message is not handed out in parts.
func (p *page) readRank(rank int64) (full bool, err error) {
	rows, messages := len(p.rows), p.messages
	for limit := 4*(p.most-messages) + 1; ; limit *= 8 {
		p.rows, p.messages = p.rows[:rows], messages
		limit = min(limit, recipientsMost-rows)
		err := p.readRows(rank, limit)
		switch {
		case errors.Is(err, errPageFull):
			return true, nil
		case err != nil || len(p.rows) < rows+limit:
			return false, err
		case len(p.rows) == recipientsMost:
			return true, nil
		}
	}
}

// readRows reads so many rows of one priority. It ends with [errPageFull] at the first message that is too many.
func (p *page) readRows(rank int64, limit int) error {
	return p.tx.Query(func(scan func(...any) error) error {
		var r recipientRead
		if err := scan(&r.message, &r.number, &r.address, &r.parameters, &r.state, &r.attempts, &r.outcome); err != nil {
			return err
		}
		if len(p.rows) == 0 || p.rows[len(p.rows)-1].message != r.message {
			if p.messages == p.most {
				return errPageFull
			}
			p.messages++
		}
		p.rows = append(p.rows, r)
		return nil
	}, dueOfRank, p.destination, rank, p.now, limit)
}

// oddRow is a row that cannot be read.
type oddRow struct {
	message ID
	number  int64 // -1: all of the message that are due
	what    string
}

// messages reads the messages of a page's recipients. A row that cannot be read costs itself alone.
func (s *Spool) messages(tx *state.Tx, p *page) (found []*Delivery, odd []oddRow, err error) {
	var last *Delivery
	for i, r := range p.rows {
		if i == 0 || p.rows[i-1].message != r.message {
			var what string
			if last, what, err = s.message(tx, r.message, p.destination); err != nil {
				return nil, nil, err
			}
			if last == nil {
				odd = append(odd, oddRow{r.message, -1, what})
			} else {
				found = append(found, last)
			}
		}
		if last == nil {
			continue
		}
		pending, err := r.pending(p.destination)
		if err != nil {
			odd = append(odd, oddRow{r.message, r.number, err.Error()})
			continue
		}
		last.Recipients = append(last.Recipients, pending)
	}
	found = slices.DeleteFunc(found, func(d *Delivery) bool { return len(d.Recipients) == 0 })
	return found, odd, nil
}

// message reads a message without its content; nil: what is wrong with it.
func (s *Spool) message(tx *state.Tx, id ID, destination string) (d *Delivery, what string, err error) {
	d = &Delivery{ID: id, Destination: destination, spool: s, shard: shardOf(destination)}
	var envelope string
	var received, expires int64
	found, err := tx.One([]any{&d.Key, &envelope, &received, &expires, &d.Size, &d.Of, &d.place},
		"SELECT key, envelope, received, expires, size, recipients, place FROM spool_messages WHERE id = $1", int64(id))
	if err != nil {
		return nil, "", err
	}
	if !found {
		return nil, "its message is missing", nil
	}
	var row envelopeRow
	if err := json.Unmarshal([]byte(envelope), &row); err != nil {
		return nil, "the envelope cannot be read: " + err.Error(), nil //nolint:nilerr // it is told
	}
	d.Envelope, d.Peer, d.Trace, d.Origin = row.Envelope, row.Peer, row.Trace, row.Origin
	d.Received, d.Expires = state.TimeOf(received), state.TimeOf(expires)
	return d, "", nil
}

// pending makes a recipient of its row.
func (r *recipientRead) pending(destination string) (p Pending, err error) {
	var parameters parametersRow
	if err := unpack(r.parameters, &parameters); err != nil {
		return p, fmt.Errorf("the parameters of RCPT cannot be read: %w", err)
	}
	if err := unpack(r.outcome, &p.Last); err != nil {
		return p, fmt.Errorf("the last outcome cannot be read: %w", err)
	}
	p.Address, p.Notify, p.OriginalRecipient = r.address, parameters.Notify, parameters.Original
	p.Destination, p.State = destination, State(r.state)
	p.Number, p.Attempts = int(r.number), int(r.attempts)
	p.Last.Number = p.Number
	return p, nil
}

// damaged says whether a delivery's content is not there as a whole; if so, it is held.
func (s *Spool) damaged(ctx context.Context, d *Delivery) (bool, error) {
	if d.place != inFile {
		return false, nil
	}
	err := s.files.look(d.ID, d.Size)
	if what, is := isDamage(err); is {
		return true, s.hold(ctx, oddRow{d.ID, -1, what})
	}
	return false, nil // what the disk says besides is told when it is opened
}

// hold holds what cannot be delivered, and reports it: it is never dropped. What is not there any more, as an
// administrator has deleted it meanwhile, is not told.
func (s *Spool) hold(ctx context.Context, o oddRow) error {
	outcome, err := outcomeText(Outcome{At: s.o.Now(), Code: "4.3.0", Diagnostic: o.what})
	if err != nil {
		return err
	}
	var held int64
	err = s.db.Write(ctx, func(tx *state.Tx) (err error) {
		held, err = tx.Exec(`UPDATE spool_recipients SET state = 5, due = NULL, epoch = NULL, outcome = $1
WHERE message = $2 AND ($3 < 0 OR number = $3) AND due IS NOT NULL`, outcome, int64(o.message), o.number)
		return err
	})
	if err != nil {
		return fmt.Errorf("message %s cannot be delivered (%s), nor held: %w", o.message, o.what, err)
	}
	if held > 0 {
		s.o.Log.Error().Stringer("message", o.message).Str("what", o.what).
			Msg("a message in the spool cannot be delivered as it is, and is held: look at it with dipylon queue")
	}
	return nil
}
