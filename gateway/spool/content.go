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

// Where a content is: the column spool_messages.place.
const (
	inRow    int64 = 0
	inFile   int64 = 1
	inChunks int64 = 2
)

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
	if body.Size() <= int64(s.o.InRow) {
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
		return s.ids.next(), content{place: inRow, body: octets}, nil
	}
	if s.db.Shared() {
		id := s.ids.next()
		return id, content{place: inChunks}, writeChunks(ctx, s.db, id, s.leases.node, body.Reader())
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

// writeChunks writes a large content in transactions of its own, so that none is long. What is left of
// one whose message never comes is swept once the process, which node names, has ended.
func writeChunks(ctx context.Context, db database, id ID, node string, from io.Reader) error {
	chunk := make([]byte, chunkSize)
	for number := 0; ; number++ {
		n, err := io.ReadFull(from, chunk)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		err = db.Write(ctx, func(tx *state.Tx) error {
			_, err := tx.Exec("INSERT INTO spool_chunks (message, number, content, node) VALUES ($1, $2, $3, $4)", int64(id), number, chunk[:n], node)
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
	switch place {
	case inFile:
		return s.files.open(id, size)
	case inChunks:
		chunks := &chunkReader{ctx: ctx, spool: s, id: id, at: -1}
		return nopCloser{io.NewSectionReader(chunks, 0, size)}, nil
	}
	var body []byte
	err := s.db.QueryRow(ctx, "SELECT body FROM spool_messages WHERE id = $1", int64(id)).Scan(&body)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if int64(len(body)) != size {
		return nil, damagedf("its content has %d octets in place of %d", len(body), size)
	}
	return nopCloser{bytes.NewReader(body)}, nil
}

// chunkReader reads a content that is in parts, one part at a time.
type chunkReader struct {
	ctx   context.Context //nolint:containedctx // it is the reader's whole life
	spool *Spool
	id    ID
	at    int64 // the number of the part in chunk; -1: none
	chunk []byte
}

// ReadAt implements [io.ReaderAt], for one goroutine.
func (c *chunkReader) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		if err := c.load((offset + int64(n)) / chunkSize); err != nil {
			return n, err
		}
		within := (offset + int64(n)) % chunkSize
		if within >= int64(len(c.chunk)) {
			return n, fmt.Errorf("the spool: %w", damagedf("part %d of its content is too short", c.at))
		}
		n += copy(p[n:], c.chunk[within:])
	}
	return n, nil
}

func (c *chunkReader) load(number int64) error {
	if c.at == number {
		return nil
	}
	c.at = -1
	var chunk []byte
	err := c.spool.db.QueryRow(c.ctx, "SELECT content FROM spool_chunks WHERE message = $1 AND number = $2", int64(c.id), number).Scan(&chunk)
	if errors.Is(err, sql.ErrNoRows) {
		err = damagedf("part %d of its content is missing", number)
	}
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	c.at, c.chunk = number, chunk
	return nil
}
