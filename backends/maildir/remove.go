package maildir

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
)

// trash is the folder that Maildir++ has for deleted mail.
const trash = ".Trash"

// Remove implements [backends.Maildrop].
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	run := &removing{drop: m}
	switch {
	case disposal == backends.DisposalRemove:
		run.act = run.unlink
	case disposal == backends.DisposalMark:
		run.act = run.mark
	case disposal == backends.DisposalTrash && filepath.Base(m.folder.dir) != trash:
		run.act = run.toTrash
	default:
		return nil, backends.Fail(backends.Unsupported, "disposal %d of a message in %s", disposal, m.folder.dir)
	}
	if len(ids) > 0 && disposal == backends.DisposalTrash {
		if err := m.box.makeTrash(); err != nil {
			return nil, storageFailure("making the folder for deleted mail", err)
		}
	}
	removals := make([]backends.Removal, len(ids))
	for i, id := range ids {
		removals[i] = backends.Removal{ID: id, Failure: run.one(ctx, string(id))}
	}
	if err := run.sync(); err != nil { // what is not durable was not done
		for i := range removals {
			if removals[i].Failure == nil {
				removals[i].Failure = storageFailure("syncing a folder after removals", err)
			}
		}
	}
	return removals, nil
}

// makeTrash makes the folder for deleted mail, durably.
func (b *box) makeTrash() error {
	dir := filepath.Join(b.dir, trash)
	if err := mkdirs(b.disk, dir); err != nil {
		return err
	}
	if err := makeFolder(b.disk, dir); err != nil {
		return err
	}
	return b.disk.SyncDir(b.dir)
}

// removing is one Remove under way.
type removing struct {
	drop *maildrop
	act  func(record) error
	// fresh says that the folder was read meanwhile.
	fresh bool
	// into and outOf are folders with changes that are not durable yet. What was moved is
	// made durable where it went before it is where it came from: after a power cut it may
	// be in both places, and not in none.
	into, outOf []changed
}

// changed is a folder in which names are added or removed.
type changed struct {
	dir    string
	before durable.Mark
}

// one removes one message, wherever other programs have moved it meanwhile.
func (r *removing) one(ctx context.Context, id string) *backends.Failure {
	if !isID(id) {
		return nil // there is none, so it is gone
	}
	err := ctx.Err()
	if err == nil {
		err = r.drop.locateSince(ctx, id, &r.fresh, r.act)
	}
	if err == nil || errors.Is(err, errNotFound) {
		return nil
	}
	return storageFailure("removing or marking a message", err)
}

func (r *removing) dir(part string) string { return filepath.Join(r.drop.folder.dir, part) }

func (r *removing) unlink(m record) error {
	from := m.path(r.drop.folder.dir)
	r.outOf = r.noted(r.outOf, filepath.Dir(from))
	return r.drop.store.disk.Remove(from)
}

func (r *removing) mark(m record) error {
	return r.move(m, filepath.Join(r.dir("cur"), withFlag(m.name, 'T')))
}

func (r *removing) toTrash(m record) error {
	name := m.name
	if len(name) == m.base {
		name += string(infoSeparator) + "2,"
	}
	return r.move(m, filepath.Join(r.drop.box.dir, trash, "cur", name))
}

func (r *removing) move(m record, to string) error {
	from := m.path(r.drop.folder.dir)
	r.into, r.outOf = r.noted(r.into, filepath.Dir(to)), r.noted(r.outOf, filepath.Dir(from))
	return r.drop.store.disk.Rename(from, to)
}

// noted adds a folder that is about to be changed, if it is not there yet.
func (r *removing) noted(folders []changed, dir string) []changed {
	if slices.ContainsFunc(folders, func(c changed) bool { return c.dir == dir }) {
		return folders
	}
	return append(folders, changed{dir, r.drop.store.syncs.Mark(dir)})
}

// sync makes the changes durable, each folder once. The syncs are shared with deliveries: one that fails has failed for these, too.
func (r *removing) sync() error {
	s := r.drop.store
	for _, c := range append(r.into, r.outOf...) {
		if err := s.syncs.Sync(c.dir, c.before, s.disk.SyncDir); err != nil {
			return err
		}
	}
	return nil
}
