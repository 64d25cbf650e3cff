package maildir

import (
	"context"
	"path/filepath"

	"github.com/dipylon/dipylon/backends"
)

// MarkSeen implements [backends.Marker]: the flag S, which belongs to messages in cur.
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	if err := m.usable(); err != nil {
		return err
	}
	run := &removing{drop: m}
	run.act = run.see
	var first *backends.Failure
	for _, id := range ids {
		if failed := run.one(ctx, string(id)); first == nil {
			first = failed
		}
	}
	if err := run.sync(); err != nil {
		return storageFailure("syncing a folder after marking messages", err)
	}
	if first != nil {
		return first
	}
	return nil
}

func (r *removing) see(m record) error {
	if m.cur && len(m.name) > m.base && hasFlag(m.name, 'S') {
		return nil
	}
	return r.move(m, filepath.Join(r.dir("cur"), withFlag(m.name, 'S')))
}
