package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
)

// entry is a message that is being taken in.
type entry struct {
	Message
	id       ID
	size     int64
	envelope string
	rank     int64
	rows     []recipientRow
	content  content
	again    bool // it was there already
	client   bool // somebody else keeps it if it is not taken in
	// rowsBefore is [schedule.rowsNow] before the transaction.
	rowsBefore uint64
	// claimable are the destinations that have something to be tried, and when first.
	claimable []announcement
}

// Accept takes a message in. When it returns nil, all of it is on the disk (I1), or was already under
// the same key, for these recipients among others, or is remembered. Any other outcome is an error to answer with 4xx; nothing of the message is tried then,
// unless it is the commit's outcome that is not known.
//
// The body must be committed. A file of the spool's own [Spool.Storage] becomes the message's; the caller
// discards the buffer in any case.
func (s *Spool) Accept(ctx context.Context, m Message, body *buffer.Buffer) error {
	err := s.accept(ctx, m, body)
	if s.partitions.refused(err) {
		err = s.accept(ctx, m, body)
	}
	return err
}

func (s *Spool) accept(ctx context.Context, m Message, body *buffer.Buffer) error {
	e, err := s.prepare(ctx, m, body)
	if err != nil {
		return err
	}
	e.client = true
	err = s.db.Write(ctx, func(tx *state.Tx) error { return s.enter(tx, e) })
	s.entered(e, err)
	return err
}

// prepare does all that can be done outside of the transaction: large content goes to its place.
func (s *Spool) prepare(ctx context.Context, m Message, body *buffer.Buffer) (*entry, error) {
	e := &entry{Message: m, size: body.Size(), rowsBefore: s.schedule.rowsNow(), rank: rankOf(m.Envelope.Priority)}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	if err := e.pack(s.o.Now().UnixMicro()); err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	var err error
	if e.id, e.content, err = s.keep(ctx, body); err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	return e, nil
}

// check refuses what the databases cannot hold, or what would lie there for ever.
func (e *entry) check() error {
	texts := []string{e.Key, e.Trace, e.Envelope.From, e.Envelope.ID, e.Peer.Address, e.Origin.Device, e.Origin.Place, e.Origin.Owner}
	for _, r := range e.Recipients {
		if r.Destination == "" {
			return errors.New("a recipient has no destination")
		}
		if r.State == InFlight {
			return errors.New("a recipient is in flight before it is taken in")
		}
		texts = append(texts, r.Address, r.OriginalRecipient, r.Destination)
	}
	switch {
	case e.Key == "":
		return errors.New("a message has no key")
	case len(e.Recipients) == 0:
		return errors.New("a message has no recipients")
	case slices.ContainsFunc(texts, func(text string) bool { return !utf8.ValidString(text) || strings.ContainsRune(text, 0) }):
		return errors.New("an address or a parameter is not UTF-8, or has a null character")
	}
	return nil
}

// pack makes the rows.
func (e *entry) pack(now int64) error {
	envelope, err := json.Marshal(envelopeRow{e.Envelope, e.Peer, e.Trace, e.Origin})
	if err != nil {
		return err
	}
	e.envelope = string(envelope)
	e.rows = make([]recipientRow, len(e.Recipients))
	for i, r := range e.Recipients {
		row := recipientRow{number: int64(i), recipient: r, shard: shardOf(r.Destination)}
		if row.parameters, err = (parametersRow{r.Notify, r.OriginalRecipient}).text(); err != nil {
			return err
		}
		if r.State.claimable() {
			row.due = max(state.Micros(r.Due), now+r.Wait.Microseconds())
			e.claimable = append(e.claimable, announcement{r.Destination, row.shard, row.due})
		}
		e.rows[i] = row
	}
	e.claimable = earliest(e.claimable)
	return nil
}

// enter writes a message's rows.
func (s *Spool) enter(tx *state.Tx, e *entry) error {
	e.again = false
	if known, err := e.remember(tx); known || err != nil {
		return err
	}
	rows, err := e.insert(tx)
	if err != nil {
		return err
	}
	if rows == 0 {
		return s.recognise(tx, e)
	}
	if err := e.content.verify(tx, e.id); err != nil {
		return err
	}
	if err := e.insertRecipients(tx); err != nil {
		return err
	}
	return s.schedule.announce(tx, e.claimable)
}

// insertPassing inserts a message whose content is in a partition, with a row of that: the whole content, or an empty one that comes
// behind the parts of a large one. So a message comes into no partition that is closed, and one is not closed before the
// transaction has ended.
const insertPassing = `WITH message AS (
	INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id
) INSERT INTO spool_contents (slot, message, number, content) SELECT $8::bigint, id, $9::bigint, $10::bytea FROM message`

// insert writes the message's row; 0 rows: it is there already.
func (e *entry) insert(tx *state.Tx) (rows int64, err error) {
	args := []any{int64(e.id), e.Key, e.envelope, state.Micros(e.Received), state.Micros(e.Expires), e.size, len(e.rows), e.content.place}
	switch {
	case !passing(e.content.place):
		return tx.Exec(`INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`, append(args, e.content.body)...)
	case e.content.body == nil:
		return tx.Exec(insertPassing, append(args, -1, []byte{})...)
	}
	return tx.Exec(insertPassing, append(args, 0, e.content.body)...)
}

// remember makes a key known that outlives its message; known: it was already.
func (e *entry) remember(tx *state.Tx) (known bool, err error) {
	if e.Remembered.IsZero() {
		return false, nil
	}
	rows, err := tx.Exec("INSERT INTO spool_remembered (key, until) VALUES ($1, $2) ON CONFLICT DO NOTHING", e.Key, state.Micros(e.Remembered))
	e.again = err == nil && rows == 0
	return e.again, err
}

// errSameID says that another message has the number. It is chance, and hardly ever comes.
var errSameID = errors.New("the spool: two messages were given the same number, try again")

// errOthers says that a message is there under its key already, for others. It would be for nobody to deliver to
// those who are new.
var errOthers = backends.Fail(backends.Temporary, "the spool: the message is there already, and not for all of these recipients").
	Say("the message is being delivered to others, try again later")

// recognise is for a message that could not be inserted: it is there already, for all of its recipients.
func (s *Spool) recognise(tx *state.Tx, e *entry) error {
	var id int64
	found, err := tx.One([]any{&id}, "SELECT id FROM spool_messages WHERE key = $1", e.Key)
	if err != nil {
		return err
	}
	if !found {
		return errSameID
	}
	if e.again = true; !e.client {
		return nil
	}
	there := make(map[string]bool)
	err = tx.Query(func(scan func(...any) error) error {
		var address string
		err := scan(&address)
		there[address] = true
		return err
	}, "SELECT address FROM spool_recipients WHERE message = $1", id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(e.Recipients, func(r Recipient) bool { return !there[r.Address] }) {
		return errOthers
	}
	return nil
}

func (e *entry) insertRecipients(tx *state.Tx) error {
	for rest, size := e.rows, len(insertRecipients)-1; len(rest) > 0; {
		for len(rest) < 1<<size {
			size--
		}
		args := make([]any, 0, 9<<size)
		for i := range rest[:1<<size] {
			r := &rest[i]
			var due any
			if r.due != 0 {
				due = r.due
			}
			args = append(args, int64(e.id), r.number, r.recipient.Address, r.parameters, r.recipient.Destination, r.shard, e.rank, int64(r.recipient.State), due)
		}
		if _, err := tx.Exec(insertRecipients[size], args...); err != nil {
			return err
		}
		rest = rest[1<<size:]
	}
	return nil
}

// entered is called when it is known whether a message was taken in.
func (s *Spool) entered(e *entry, err error) {
	switch {
	case err != nil:
		s.drop(e, err)
	case e.again:
		s.drop(e, nil)
	default:
		e.content.adopt()
		s.schedule.add(e)
	}
}
