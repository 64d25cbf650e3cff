package spool

import (
	"context"
	"fmt"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// restMost is how many small contents one transaction puts where those lie that wait, and restParts how many parts of a
	// large one: a megabyte.
	restMost  = 100
	restParts = 4
)

// remove closes a partition, puts contents of what still waits elsewhere, and drops it. Each step can be the last for now: a
// further round goes on. No step waits long for others, and none is taken before the one before it is in the database:
//
//  1. closed: a trigger refuses what comes. Who was writing into it is waited for.
//  2. emptied: no message has its content there. That stays so: a message comes with a row of its partition (insertPassing).
//  3. detached, beside those who read or write elsewhere. One that was broken off is finished.
//  4. dropped, unless a message has its content there, whatever the reason.
func (p *partitions) remove(ctx context.Context, one partition) error {
	if !one.closed {
		if err := p.close(ctx, one); err != nil {
			return fmt.Errorf("%s cannot be closed: %w", one.name(), err)
		}
	}
	if one.attached {
		left, err := p.empty(ctx, one)
		if err != nil || left {
			return err
		}
		if err := p.detach(ctx, one); err != nil {
			return fmt.Errorf("%s cannot be detached: %w", one.name(), err)
		}
	}
	return p.drop(ctx, one)
}

// close has a partition refuse what comes.
func (p *partitions) close(ctx context.Context, one partition) error {
	return p.spool.db.Write(ctx, func(tx *state.Tx) error {
		if err := limitWait(tx, lockPatience); err != nil {
			return err
		}
		_, err := tx.Exec("CREATE TRIGGER closed BEFORE INSERT ON " + one.name() + " FOR EACH ROW EXECUTE FUNCTION spool_contents_closed()")
		return err
	})
}

// detach makes a table of its own of a partition, or finishes that. Behind a pooler others wait for it: what detaches beside them cannot
// be in a transaction, and its bound on waiting cannot be outside of one.
func (p *partitions) detach(ctx context.Context, one partition) error {
	statement := "ALTER TABLE spool_contents DETACH PARTITION " + one.name()
	if !one.detaching && !p.spool.db.Pooled() {
		return p.spool.db.Alter(ctx, lockPatience, statement+" CONCURRENTLY")
	}
	patience := pausePatience
	if one.detaching {
		patience, statement = lockPatience, statement+" FINALIZE"
	}
	return p.spool.db.Write(ctx, func(tx *state.Tx) error {
		if err := limitWait(tx, patience); err != nil {
			return err
		}
		_, err := tx.Exec(statement)
		return err
	})
}

// drop drops what was a partition.
func (p *partitions) drop(ctx context.Context, one partition) error {
	return p.spool.db.Write(ctx, func(tx *state.Tx) error {
		if err := limitWait(tx, lockPatience); err != nil {
			return err
		}
		if err := refuseDumped(tx); err != nil {
			return err
		}
		needed, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_messages WHERE place = $1 AND place > 0 LIMIT 1", one.slot)
		if err == nil && needed {
			err = fmt.Errorf("%s has contents of mail in transit, and is no partition any more: ALTER TABLE spool_contents ATTACH PARTITION %s FOR VALUES IN (%d) brings them back",
				one.name(), one.name(), one.slot)
		}
		if err == nil {
			_, err = tx.Exec("DROP TABLE " + one.name())
		}
		return err
	})
}

// resting is a message whose content is to be put where those lie that wait.
type resting struct {
	id   ID
	size int64
}

// empty puts the contents of all messages that have one in a partition where those lie that wait. Left are messages that others
// are working on at this moment.
func (p *partitions) empty(ctx context.Context, one partition) (left bool, err error) {
	for last := ID(0); ; {
		page, err := p.inside(ctx, one, last)
		if err != nil {
			return false, err
		}
		if len(page) == 0 {
			break
		}
		last = page[len(page)-1].id
		if err := p.rest(ctx, one, page); err != nil {
			return false, err
		}
		if !pause.For(ctx, sweepPause) {
			return true, nil
		}
	}
	page, err := p.inside(ctx, one, 0)
	return len(page) > 0, err
}

// inside are messages that have their contents in a partition.
func (p *partitions) inside(ctx context.Context, one partition, after ID) (page []resting, err error) {
	err = p.spool.db.Read(ctx, func(tx *state.Tx) error {
		page = nil
		return tx.Query(func(scan func(...any) error) error {
			var m resting
			err := scan(&m.id, &m.size)
			page = append(page, m)
			return err
		}, "SELECT id, size FROM spool_messages WHERE place = $1 AND place > 0 AND id > $2 ORDER BY id LIMIT $3", one.slot, int64(after), restMost)
	})
	return page, err
}

// rest moves the contents of a page of messages. It reads the partition by its own name: while one is being detached,
// spool_contents has nothing of it, and all that waits would be taken for damaged.
func (p *partitions) rest(ctx context.Context, one partition, page []resting) error {
	var small []int64
	for _, m := range page {
		if m.size <= p.spool.inRow() {
			small = append(small, int64(m.id))
			continue
		}
		if err := p.restLarge(ctx, one, m); err != nil {
			return err
		}
	}
	if len(small) == 0 {
		return nil
	}
	return p.spool.db.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(`WITH free AS MATERIALIZED (SELECT id FROM spool_messages WHERE id = ANY($1) AND place = $2 FOR UPDATE SKIP LOCKED)
UPDATE spool_messages m SET place = 0, body = (SELECT content FROM `+one.name()+` WHERE slot = $2 AND message = m.id AND number = 0)
FROM free WHERE m.id = free.id`, small, one.slot)
		return err
	})
}

// restLarge copies the parts of a content, some in each transaction, as long as the message is there and nobody works on it.
func (p *partitions) restLarge(ctx context.Context, one partition, m resting) error {
	for number, parts := int64(0), (m.size+chunkSize-1)/chunkSize; number < parts; number += restParts {
		there := false
		err := p.spool.db.Write(ctx, func(tx *state.Tx) (err error) {
			there, err = tx.One([]any{new(int)}, "SELECT 1 FROM spool_messages WHERE id = $1 AND place = $2 FOR UPDATE SKIP LOCKED", int64(m.id), one.slot)
			if err != nil || !there {
				return err
			}
			// Where this was broken off, some of them are there already.
			_, err = tx.Exec(`INSERT INTO spool_chunks (message, number, content, node) SELECT message, number, content, '' FROM `+one.name()+`
WHERE slot = $1 AND message = $2 AND number >= $3 AND number < $4 ON CONFLICT DO NOTHING`, one.slot, int64(m.id), number, number+restParts)
			if err == nil && number+restParts >= parts {
				_, err = tx.Exec("UPDATE spool_messages SET place = 2 WHERE id = $1", int64(m.id))
			}
			return err
		})
		if err != nil || !there {
			return err
		}
	}
	return nil
}
