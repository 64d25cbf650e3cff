package maildir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pickup"
)

// outgoing is a message that was taken.
type outgoing struct {
	backends.Outgoing
	content *pickup.Content
	path    string
	dir, id string
}

// open opens a message that was taken; nil: all of its recipients are finished.
func (o *outboxes) open(ctx context.Context, d *directory, a *account, dir, id, path string) (*outgoing, error) {
	f, err := o.disk.Open(path)
	if err != nil {
		return nil, err
	}
	was, regular, err := f.stat()
	if err == nil && !regular {
		err = errNoRegular
	}
	var m *outgoing
	if err == nil {
		m, err = o.addressed(d, a, dir, id, path, io.NewSectionReader(f, 0, was.Size))
	}
	if m == nil || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m.content = pickup.NewContent(ctx, opened{f}, was, m.Size, func(err error) error { return storageFailure("reading a message in the outbox", err) })
	m.Size = -1
	return m, nil
}

// addressed reads the envelope. Size is where the message begins.
func (o *outboxes) addressed(d *directory, a *account, dir, id, path string, file io.ReadSeeker) (*outgoing, error) {
	out, begins, err := o.use.outgoingOf(d, a, file)
	if err != nil {
		return nil, err
	}
	finished, err := o.finished(dir, id)
	if err != nil {
		return nil, err
	}
	out.Recipients = without(out.Recipients, finished)
	if len(out.Recipients) == 0 {
		return nil, o.remove(dir, id, path)
	}
	info, err := o.disk.Lstat(path)
	if err != nil {
		return nil, err
	}
	out.ID, out.Size, out.Queued = backends.MessageID(a.address.String()+"/"+id), begins, info.ModTime()
	if now := o.now(); out.Queued.After(now) {
		out.Queued = now
	}
	return &outgoing{Outgoing: out, path: path, dir: dir, id: id}, nil
}

// without leaves out the recipients that are finished.
func without(all []backends.Recipient, finished map[string]bool) []backends.Recipient {
	return slices.DeleteFunc(all, func(r backends.Recipient) bool { return finished[strings.ToLower(r.Address)] })
}

// finished are the recipients of a message that are finished while others are not, in lower case.
func (o *outboxes) finished(dir, id string) (map[string]bool, error) {
	f, err := o.disk.Open(filepath.Join(dir, "cur", "."+id+settledMark))
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = recipientsMost * 1100
	text, err := io.ReadAll(io.LimitReader(f, most))
	finished := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		finished[strings.TrimSuffix(line, "\n")] = true
	}
	return finished, err
}

// remove forgets a message, durably.
func (o *outboxes) remove(dir, id, path string) error {
	if err := o.disk.Remove(path); err != nil && !isGone(err) {
		return err
	}
	if err := o.disk.SyncDir(filepath.Join(dir, "cur")); err != nil {
		return err
	}
	if err := o.disk.Remove(filepath.Join(dir, "cur", "."+id+settledMark)); err != nil && !isGone(err) {
		return err
	}
	return nil
}

// giveBack has a message that the gateway did not take handed over again at once.
func (o *outboxes) giveBack(m *outgoing) {
	to := filepath.Join(m.dir, "cur", claimed(m.id, time.Time{}))
	if err := o.disk.Rename(m.path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.leave(m.path, err, "a message in the outbox cannot be given back: it is handed over again when its lease is over")
	}
}

// opened is the file of a message in an outbox.
type opened struct{ readable }

// Look implements [pickup.File].
func (o opened) Look() (pickup.Sight, error) {
	now, _, err := o.stat()
	return now, err
}
