package spool

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
)

// Where a content is: the column spool_messages.place. A greater one is the slot of a partition of spool_contents.
const (
	inRow    int64 = 0
	inFile   int64 = 1
	inChunks int64 = 2
)

// passing says that a content is in a partition of spool_contents: it is not deleted, and may be put elsewhere while its message
// waits.
func passing(place int64) bool { return place > inChunks }

// chunkSize is how many octets each part of a large content in PostgreSQL has, but for the last.
const chunkSize = 256 << 10

// content is where the content of a message that is being taken in has been put.
type content struct {
	place  int64
	body   []byte // of inRow
	file   *file  // of inFile
	copied bool   // file is not the buffer's
}

// keep puts a content where it will stay.
func (s *Spool) keep(ctx context.Context, body *buffer.Buffer) (ID, content, error) {
	if body.Size() <= s.inRow() {
		octets := body.Memory()
		if spare := cap(octets) - len(octets); octets != nil && spare > len(octets)/4 {
			octets = bytes.Clone(octets) // what waits in memory is counted by its length
		}
		if octets == nil {
			octets = make([]byte, body.Size())
			if _, err := io.ReadFull(body.Reader(), octets); err != nil {
				return 0, content{}, err
			}
		}
		return s.ids.next(), content{place: s.partitions.place(inRow), body: octets}, nil
	}
	if s.db.Shared() {
		return s.keepParts(ctx, body)
	}
	if own := s.files.own(body.File()); own != nil {
		return own.id, content{place: inFile, file: own}, nil
	}
	made, err := s.files.copyInto(body.Reader())
	if err != nil {
		return 0, content{}, err
	}
	return made.id, content{place: inFile, file: made, copied: true}, nil
}

// inRow is how many octets a content has at most that is in one piece. In PostgreSQL it is never more than a part, so that each is
// found in the same way.
func (s *Spool) inRow() int64 {
	if s.db.Shared() {
		return min(int64(s.o.InRow), chunkSize)
	}
	return int64(s.o.InRow)
}

// keepParts writes a large content into PostgreSQL.
func (s *Spool) keepParts(ctx context.Context, body *buffer.Buffer) (ID, content, error) {
	id, slot := s.ids.next(), s.partitions.place(0)
	if slot != 0 {
		err := writeParts(ctx, s.db, body.Reader(), "INSERT INTO spool_contents (message, number, content, slot) VALUES ($1, $2, $3, $4)", id, slot)
		if !s.partitions.refused(err) {
			return id, content{place: slot}, err
		}
	}
	return id, content{place: inChunks}, writeChunks(ctx, s.db, id, s.leases.node, body.Reader())
}

// writeChunks writes a large content to where those lie that wait. What is left of one whose message never comes is swept once
// the process, which node names, has ended.
func writeChunks(ctx context.Context, db database, id ID, node string, from io.Reader) error {
	return writeParts(ctx, db, from, "INSERT INTO spool_chunks (message, number, content, node) VALUES ($1, $2, $3, $4)", id, node)
}

// writeParts writes a large content in transactions of its own, so that none is long.
func writeParts(ctx context.Context, db database, from io.Reader, insert string, id ID, last any) error {
	part := make([]byte, chunkSize)
	for number := 0; ; number++ {
		n, err := io.ReadFull(from, part)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		err = db.Write(ctx, func(tx *state.Tx) error {
			_, err := tx.Exec(insert, int64(id), number, part[:n], last)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// errSwept says that a content's parts are gone before its message has come. Who gives no sign of life for too long is taken
// for dead by other gateways.
var errSwept = backends.Fail(backends.Temporary, "the spool: another gateway has taken this one for dead, and has removed the parts of a message on its way in").
	Say("the message could not be stored, try again later")

// verify makes sure, inside of the transaction that takes a message in, that its parts are there until it ends: a sweep
// removes all of them or none, and locks the first.
func (c content) verify(tx *state.Tx, id ID) error {
	if c.place != inChunks {
		return nil
	}
	found, err := tx.One([]any{new(int64)}, "SELECT number FROM spool_chunks WHERE message = $1 AND number = 0 FOR KEY SHARE", int64(id))
	if err == nil && !found {
		return errSwept
	}
	return err
}

// adopt says that a content belongs to a message now.
func (c content) adopt() {
	if c.file != nil {
		c.file.kept.Store(true)
		if c.copied {
			_ = c.file.Discard() // it is only closed
		}
	}
}

// drop takes back what was done for a message that was not taken in. Where nobody knows whether it was,
// its content stays: the next sweep finds out.
func (s *Spool) drop(e *entry, failed error) {
	switch {
	case e.content.file != nil && failed != nil && errors.Is(failed, state.ErrUnsynced):
		e.content.adopt()
	case e.content.copied:
		_ = e.content.file.Discard() // the next start's sweep finds what stays
	case e.content.place == inChunks && failed == nil:
		s.dropChunks(e.id)
	}
}

// dropChunks removes the parts of a content; the sweep finds what stays.
func (s *Spool) dropChunks(id ID) {
	err := s.db.Write(context.Background(), func(tx *state.Tx) error {
		_, err := tx.Exec("DELETE FROM spool_chunks WHERE message = $1", int64(id))
		return err
	})
	if err != nil {
		s.o.Log.Warn().Err(err).Stringer("message", id).Msg("the content of a message could not be removed from the spool; it is swept later")
	}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// Open opens the content. It may be opened again, and by several at once, until the delivery is settled.
// [ErrDamaged] says that it is not there as a whole, here or while it is read.
func (d *Delivery) Open(ctx context.Context) (io.ReadSeekCloser, error) {
	if d.body != nil {
		return nopCloser{bytes.NewReader(d.body)}, nil
	}
	content, err := d.spool.open(ctx, d.ID, d.Size, d.place)
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	return content, nil
}

// open opens the content of a message that is in the database.
func (s *Spool) open(ctx context.Context, id ID, size, place int64) (io.ReadSeekCloser, error) {
	if place == inFile {
		return s.files.open(id, size)
	}
	return openRows(ctx, s.db, id, size, place)
}

// openRows opens a content that is in rows of the database.
func openRows(ctx context.Context, db database, id ID, size, place int64) (io.ReadSeekCloser, error) {
	parts := &partReader{ctx: ctx, db: db, id: id, place: place, at: -1}
	if place == inChunks || passing(place) && size > chunkSize {
		return nopCloser{io.NewSectionReader(parts, 0, size)}, nil
	}
	if err := parts.load(0); err != nil {
		return nil, err
	}
	if int64(len(parts.part)) != size {
		return nil, damagedf("its content has %d octets in place of %d", len(parts.part), size)
	}
	return nopCloser{bytes.NewReader(parts.part)}, nil
}

// partReader reads a content that is in rows, one at a time.
type partReader struct {
	ctx   context.Context //nolint:containedctx // it is the reader's whole life
	db    database
	id    ID
	place int64
	at    int64 // the number of the part; -1: there is none
	part  []byte
}

// ReadAt implements [io.ReaderAt], for one goroutine.
func (r *partReader) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		if err := r.load((offset + int64(n)) / chunkSize); err != nil {
			return n, fmt.Errorf("the spool: %w", err)
		}
		within := (offset + int64(n)) % chunkSize
		if within >= int64(len(r.part)) {
			return n, fmt.Errorf("the spool: %w", damagedf("part %d of its content is too short", r.at))
		}
		n += copy(p[n:], r.part[within:])
	}
	return n, nil
}

func (r *partReader) load(number int64) error {
	if r.at == number {
		return nil
	}
	r.at = -1
	part, err := r.read(number)
	for errors.Is(err, sql.ErrNoRows) {
		moved, failed := r.moved()
		switch {
		case failed != nil:
			err = failed
		case moved:
			part, err = r.read(number)
		default:
			err = damagedf("part %d of its content is missing", number)
		}
	}
	if err == nil {
		r.at, r.part = number, part
	}
	return err
}

// read reads a part from where the content is, as far as it is known.
func (r *partReader) read(number int64) (part []byte, err error) {
	switch {
	case r.place == inRow:
		err = r.db.QueryRow(r.ctx, "SELECT body FROM spool_messages WHERE id = $1 AND $2 = 0", int64(r.id), number).Scan(&part)
	case passing(r.place):
		err = r.db.QueryRow(r.ctx, "SELECT content FROM spool_contents WHERE slot = $3 AND message = $1 AND number = $2", int64(r.id), number, r.place).Scan(&part)
	default:
		err = r.db.QueryRow(r.ctx, "SELECT content FROM spool_chunks WHERE message = $1 AND number = $2", int64(r.id), number).Scan(&part)
	}
	return part, err
}

// moved looks whether the content was put where those lie that wait.
func (r *partReader) moved() (bool, error) {
	was := r.place
	if !passing(was) {
		return false, nil
	}
	err := r.db.QueryRow(r.ctx, "SELECT place FROM spool_messages WHERE id = $1", int64(r.id)).Scan(&r.place)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return r.place != was, err
}
