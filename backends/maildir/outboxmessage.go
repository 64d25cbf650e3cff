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
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// outgoing is a message that was taken.
type outgoing struct {
	backends.Outgoing
	content *outgoingContent
	path    string
	dir, id string
}

// open opens a message that was taken; nil: all of its recipients are finished.
func (o *outboxes) open(ctx context.Context, d *directory, a *account, dir, id, path string) (*outgoing, error) {
	f, err := o.disk.Open(path)
	if err != nil {
		return nil, err
	}
	size, regular, err := f.stat()
	if err == nil && !regular {
		err = errNoRegular
	}
	var m *outgoing
	if err == nil {
		m, err = o.addressed(d, a, dir, id, path, io.NewSectionReader(f, 0, size))
	}
	if m == nil || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m.content = &outgoingContent{ctx: ctx, file: f, size: size, src: io.NewSectionReader(f, m.Size, size-m.Size)}
	m.content.Reader, m.Size = crlf.NewReader(m.content.src), -1
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

// outgoingContent is a message on its way out of an outbox.
type outgoingContent struct {
	*crlf.Reader
	ctx  context.Context
	file readable
	src  io.Reader
	size int64
	err  error
}

// Read implements [io.Reader]. A file that has grown, or become shorter, is no complete message.
func (c *outgoingContent) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, backends.Fail(backends.Temporary, "reading a message: %w", err)
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		size, _, changed := c.file.stat()
		if changed == nil && size != c.size {
			changed = errors.New("it has another size than when it was opened: a message is put into new when it is complete")
		}
		if changed != nil {
			err = backends.Fail(backends.Temporary, "reading a message in the outbox: %w", changed)
		}
	} else if err != nil {
		err = storageFailure("reading a message in the outbox", err)
	}
	c.err = err
	return n, err
}

// Size implements [backends.Content].
func (c *outgoingContent) Size() int64 { return -1 }

// Close implements [backends.Content].
func (c *outgoingContent) Close() error {
	c.Release()
	return c.file.Close()
}
