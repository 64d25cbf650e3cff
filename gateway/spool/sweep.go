package spool

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// sweepPage is how much is looked at before others get their turn.
	sweepPage = 256
	// sweepPause is how long they have it.
	sweepPause = 20 * time.Millisecond
	// sweepEvery is how often it is done again.
	sweepEvery = 24 * time.Hour
)

// sweep finds what processes that died have left behind, after the start and then once a day, until ctx
// ends.
func (s *Spool) sweep(ctx context.Context) {
	s.sweepOnce(ctx)
	close(s.swept)
	for pause.For(ctx, sweepEvery) {
		s.sweepOnce(ctx)
	}
}

func (s *Spool) sweepOnce(ctx context.Context) {
	steps := []func(context.Context) error{s.sweepFiles, s.checkFiles, s.sweepChunks, s.sweepStrays, s.sweepRemembered, s.sweepAsked}
	if s.db.Shared() {
		steps = []func(context.Context) error{s.sweepChunks, s.sweepStrays, s.sweepRemembered, s.sweepAsked}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn().Err(err).Msg("the spool cannot be swept; it is tried again in a day")
		}
	}
}

// sweepFiles removes files of earlier processes that no message has.
func (s *Spool) sweepFiles(ctx context.Context) error {
	folder, err := os.Open(s.files.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	removed := 0
	for {
		entries, err := folder.ReadDir(sweepPage)
		for _, entry := range entries {
			orphan, err := s.orphan(ctx, entry.Name())
			if err != nil {
				return err
			}
			if orphan && os.Remove(s.files.folder+string(os.PathSeparator)+entry.Name()) == nil {
				removed++
			}
		}
		if errors.Is(err, io.EOF) || !pause.For(ctx, sweepPause) {
			break
		}
		if err != nil {
			return err
		}
	}
	if removed > 0 {
		s.o.Log.Warn().Int("files", removed).Msg("removed files of messages that never came into the spool, or have left it: the gateway had ended in between")
	}
	return nil
}

// orphan says whether a file is one of an earlier process that no message has.
func (s *Spool) orphan(ctx context.Context, name string) (bool, error) {
	id, is := idOf(name)
	if !is || id >= s.files.first {
		return false, nil
	}
	var there bool
	err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM spool_messages WHERE id = $1 AND place = 1)", int64(id)).Scan(&there)
	return !there, err
}

// checkFiles finds messages whose file is missing or short, and holds them.
func (s *Spool) checkFiles(ctx context.Context) error {
	type message struct {
		id   ID
		size int64
	}
	for last := ID(0); ; {
		var page []message
		err := s.db.Read(ctx, func(tx *state.Tx) error {
			page = nil
			return tx.Query(func(scan func(...any) error) error {
				var m message
				err := scan(&m.id, &m.size)
				page = append(page, m)
				return err
			}, "SELECT id, size FROM spool_messages WHERE place = 1 AND place > 0 AND id > $1 ORDER BY id LIMIT 256", int64(last))
		})
		if err != nil {
			return err
		}
		for _, m := range page {
			if what, is := isDamage(s.files.look(m.id, m.size)); is && s.there(ctx, m.id) {
				if err := s.hold(ctx, oddRow{m.id, -1, what}); err != nil {
					return err
				}
			}
			last = m.id
		}
		if len(page) < sweepPage || !pause.For(ctx, sweepPause) {
			return nil
		}
	}
}

// there says whether a message is in the spool still: its file is removed after its row.
func (s *Spool) there(ctx context.Context, id ID) bool {
	var there bool
	err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM spool_messages WHERE id = $1)", int64(id)).Scan(&there)
	return err == nil && there
}

// chunkWalk are the next messages that have parts, behind $1 and in their order, and whether a message never came and
// nobody completes its parts any more. It walks along the index from one message to the next, whatever number of parts each has.
const chunkWalk = `WITH RECURSIVE walk (message) AS (
	SELECT MIN(message) FROM spool_chunks WHERE message > $1
	UNION ALL
	SELECT (SELECT MIN(message) FROM spool_chunks WHERE message > walk.message) FROM walk WHERE walk.message IS NOT NULL
), page AS (SELECT message FROM walk WHERE message IS NOT NULL LIMIT 256)
SELECT message, (SELECT id FROM spool_messages WHERE id = page.message) IS NULL AND `

// leftChunks says of the parts of a message by the process that has written them that nobody completes them any more:
// it has ended ($2 is this one), or began a sweep ago ($3 is a number from then, and numbers grow). No clock says so, as those of
// several gateways differ. Those of a version that did not note its process yet are a day old by the database's.
const leftChunks = chunkWalk + `EXISTS (SELECT 1 FROM (
	SELECT message, node FROM spool_chunks WHERE message = page.message ORDER BY number LIMIT 1
) AS first WHERE CASE node WHEN '' THEN message < ((` + databaseNow + ` - 86400000000) << 10) WHEN $2 THEN message < $3
ELSE node NOT IN (SELECT node FROM spool_nodes) END) FROM page ORDER BY message`

// leftChunksAlone is leftChunks for SQLite, where parts come with a move alone, before a gateway starts.
const leftChunksAlone = chunkWalk + `1 = 1 FROM page ORDER BY message`

// sweepChunks removes parts of contents whose message never came.
func (s *Spool) sweepChunks(ctx context.Context) error {
	before := s.sweptTo
	s.sweptTo = s.ids.next()
	all := int64(0)
	for last := ID(0); ; {
		left, walked, err := s.leftChunks(ctx, &last, before)
		if err != nil {
			return err
		}
		for _, id := range left {
			removed, err := s.removeLeft(ctx, id)
			if err != nil {
				return err
			}
			all += removed
		}
		if walked < sweepPage || !pause.For(ctx, sweepPause) {
			break
		}
	}
	if all > 0 {
		s.o.Log.Warn().Int64("parts", all).Msg("removed parts of messages that never came into the spool: a gateway had ended in between")
	}
	return nil
}

// leftChunks looks at a page of messages that have parts behind the last, which it sets: those whose parts are left, and how
// many it has looked at.
func (s *Spool) leftChunks(ctx context.Context, last *ID, before ID) (left []ID, walked int, err error) {
	query, args := leftChunksAlone, []any{int64(*last)}
	if s.db.Shared() {
		query, args = leftChunks, append(args, s.leases.node, int64(before))
	}
	behind := *last
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		left, walked = nil, 0
		return tx.Query(func(scan func(...any) error) error {
			var is bool
			if err := scan(&behind, &is); err != nil {
				return err
			}
			if walked++; is {
				left = append(left, behind)
			}
			return nil
		}, query, args...)
	})
	*last = behind
	return left, walked, err
}

// removeLeft removes the parts of a content, unless its message has come by now. Who takes it in at this moment has its first
// part locked ([content.verify]), and is waited for.
func (s *Spool) removeLeft(ctx context.Context, id ID) (parts int64, err error) {
	err = s.db.Write(ctx, func(tx *state.Tx) error {
		if s.db.Shared() {
			if _, err := tx.One([]any{new(int64)}, "SELECT number FROM spool_chunks WHERE message = $1 ORDER BY number LIMIT 1 FOR UPDATE", int64(id)); err != nil {
				return err
			}
		}
		parts, err = tx.Exec("DELETE FROM spool_chunks WHERE message = $1 AND NOT EXISTS (SELECT 1 FROM spool_messages WHERE id = $1)", int64(id))
		return err
	})
	return parts, err
}

// sweepRemembered forgets keys whose time is over. They have a day more, as the clock of whoever noted them may be
// behind this one's.
func (s *Spool) sweepRemembered(ctx context.Context) error {
	now := s.o.Now().Add(-sweepEvery).UnixMicro()
	for {
		var rows int64
		err := s.db.Write(ctx, func(tx *state.Tx) (err error) {
			rows, err = tx.Exec("DELETE FROM spool_remembered WHERE key IN (SELECT key FROM spool_remembered WHERE until < $1 LIMIT 256)", now)
			return err
		})
		if err != nil {
			return err
		}
		if rows < sweepPage || !pause.For(ctx, sweepPause) {
			return nil
		}
	}
}

// sweepStrays looks whether each destination that has mail has its row. None should be without.
func (s *Spool) sweepStrays(ctx context.Context) error {
	for last := ""; ; {
		found, err := s.strays(ctx, &last)
		if err != nil {
			return err
		}
		if !found || !pause.For(ctx, sweepPause) {
			return nil
		}
	}
}

// strays looks at a page of destinations behind the last; false: there are no more.
func (s *Spool) strays(ctx context.Context, last *string) (more bool, err error) {
	var page []announcement
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		page = nil
		name := *last
		for range sweepPage {
			found, err := tx.One([]any{&name}, "SELECT destination FROM spool_recipients WHERE destination > $1 AND due IS NOT NULL ORDER BY destination LIMIT 1", name)
			if err != nil || !found {
				return err
			}
			var n int64
			there, err := tx.One([]any{&n}, "SELECT 1 FROM spool_destinations WHERE destination = $1", name)
			if err != nil {
				return err
			}
			if *last = name; !there {
				page = append(page, announcement{name, shardOf(name), s.o.Now().UnixMicro()})
			}
			more = true
		}
		return nil
	})
	if err != nil || len(page) == 0 {
		return more, err
	}
	rows := s.schedule.rowsNow()
	if err := s.db.Write(ctx, func(tx *state.Tx) error { return s.schedule.announce(tx, page) }); err != nil {
		return false, err
	}
	s.schedule.announced(page, rows)
	s.o.Log.Error().Int("destinations", len(page)).Str("first", page[0].destination).Msg("destinations had mail in the spool that nothing led to; it is tried now")
	return more, nil
}
