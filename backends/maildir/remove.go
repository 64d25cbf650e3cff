package maildir

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/dipylon/dipylon/backends"
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
	run.sync(removals)
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
	into, outOf []string
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
	r.outOf = noted(r.outOf, filepath.Dir(from))
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
	r.into, r.outOf = noted(r.into, filepath.Dir(to)), noted(r.outOf, filepath.Dir(from))
	return r.drop.store.disk.Rename(from, to)
}

func noted(dirs []string, dir string) []string {
	if slices.Contains(dirs, dir) {
		return dirs
	}
	return append(dirs, dir)
}

// sync makes the removals durable, each folder once; what is not, was not done.
func (r *removing) sync(removals []backends.Removal) {
	err := syncDirs(r.drop.store.disk, append(r.into, r.outOf...)...)
	if err == nil {
		return
	}
	for i := range removals {
		if removals[i].Failure == nil {
			removals[i].Failure = storageFailure("syncing a folder after removals", err)
		}
	}
}
