package drop

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/backends/pickup"
)

// Collect implements [backends.Outbox]. The oldest messages come first. Without one that is due it looks again and again until the time is up, and what has just
// come may be waited for in any case.
func (f *Folder) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	lease, begun := cmp.Or(request.Lease, leaseUsual), time.Now()
	end := begun.Add(min(request.Wait, backends.CollectWaitMost))
	f.mu.Lock()
	f.lease = lease
	f.mu.Unlock()
	c := &collecting{Folder: f, root: root, lease: lease, request: request, accept: accept}
	for {
		looked := time.Now()
		due, err := f.look(root)
		if err != nil {
			return err
		}
		if err := c.all(ctx, due); err != nil || c.handed > 0 {
			return err
		}
		left := time.Until(end)
		if f.resting() {
			left = max(left, time.Until(begun.Add(2*f.Quiet)))
		}
		if left <= 0 || !pause.For(ctx, min(left, max(min(lookEvery, f.Quiet), lookShare*time.Since(looked)))) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return backends.Fail(backends.Temporary, "waiting for mail: %w", err)
	}
	return nil
}

// collecting is one Collect.
type collecting struct {
	*Folder
	root    *os.Root
	lease   time.Duration
	request backends.CollectRequest
	accept  func(context.Context, backends.Outgoing, backends.Content) error
	handed  int
}

// all hands over what is due.
func (c *collecting) all(ctx context.Context, due []candidate) error {
	for _, one := range due {
		if c.request.Most > 0 && c.handed >= c.request.Most {
			break
		}
		if err := ctx.Err(); err != nil {
			return backends.Fail(backends.Temporary, "collect: %w", err)
		}
		m, err := c.take(ctx, one)
		if err != nil { // it keeps its lease, so that others come before it is tried again
			c.mu.Lock()
			c.tell(one.name, err, "a message in the Drop folder cannot be taken now, and the others go on: see that the gateway's user may read it, and what is beside it of the same name")
			c.mu.Unlock()
		}
		if m == nil {
			continue
		}
		c.handed++
		err = c.accept(ctx, m.Outgoing, m.content)
		_ = m.content.Close() // it was for reading
		if err != nil {
			c.giveBack(m.name, claimed(string(m.ID), time.UnixMilli(0)))
			return err
		}
	}
	return nil
}

// take claims a file, and opens it; nil: there is nothing to hand over of it.
func (c *collecting) take(ctx context.Context, one candidate) (*message, error) {
	id := one.id
	if id == "" {
		id = newID(one.name)
	}
	name := claimed(id, c.now().Add(c.lease))
	switch err := c.root.Rename(one.name, name); {
	case errors.Is(err, fs.ErrNotExist): // somebody was faster
		return nil, nil
	case err != nil: // on a share a file that is still open for its writer may have no other name
		c.mu.Lock()
		c.tell(one.name, err, "a file in the Drop folder cannot be taken now: it is in use, or the gateway lacks the right to rename and delete there")
		c.mu.Unlock()
		return nil, nil
	}
	if one.id == "" { // best effort, as not every share can: with power lost after this it would come again as another message
		_ = c.sync(c.path)
	}
	file, info, err := openFile(c.root, name)
	if err != nil {
		return nil, storage("opening a message in the Drop folder", err)
	}
	m := &message{file: opened{file}, was: sightOf(info), name: name}
	m.ID = backends.MessageID(id)
	handed, err := c.address(ctx, m, one)
	if err != nil || !handed {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

// address reads the envelope of a message. It says whether the message is to be handed over: it is not where it is still being written, cannot be read, or
// each of its recipients is finished.
func (c *collecting) address(ctx context.Context, m *message, one candidate) (bool, error) {
	if one.id == "" && !m.was.Same(sightOf(one.info)) {
		c.putOff(m.name, string(m.ID)+fresh, sight{})
		return false, nil
	}
	e, begins, err := pickup.ReadInjected(io.NewSectionReader(m.file, 0, m.was.Size))
	var odd *fs.PathError
	switch {
	case errors.As(err, &odd):
		return false, storage("reading a message in the Drop folder", err)
	case errors.Is(err, pickup.ErrUnfinished) && one.id == "" && !c.waited(one.name):
		c.putOff(m.name, string(m.ID)+fresh, sight{Sight: m.was, since: c.now(), unfinished: true})
		return false, nil
	case err != nil:
		return false, c.setAside(m, err)
	}
	done, err := finished(c.root, string(m.ID))
	if err != nil {
		return false, err
	}
	m.Outgoing = outgoingOf(m.ID, e, done)
	if len(m.Recipients) == 0 {
		return false, remove(c.root, string(m.ID), m.name)
	}
	m.Queued = m.was.Changed
	if now := c.now(); m.Queued.After(now) {
		m.Queued = now
	}
	m.content = pickup.NewContent(ctx, m.file, m.was, begins, func(err error) error { return storage("reading a message in the Drop folder", err) })
	return true, nil
}

// outgoingOf is what is handed over of a message, for those who are not finished, each once.
func outgoingOf(id backends.MessageID, e pickup.Envelope, done map[string]bool) backends.Outgoing {
	out := backends.Outgoing{ID: id, Envelope: backends.Envelope{From: *e.Sender, Return: e.Return, ID: e.ID}, Size: -1}
	seen := make(map[string]bool)
	out.Recipients = slices.DeleteFunc(e.Recipients, func(r backends.Recipient) bool {
		key := strings.ToLower(r.Address)
		again := seen[key] || done[key]
		seen[key] = true
		return again
	})
	return out
}

// waited says whether a file that is not finished has been so for long enough.
func (c *collecting) waited(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[name].unfinished
}

// putOff gives a file back that is not whole, under a name by which it is taken later, and notes what it looked like.
func (c *collecting) putOff(name, to string, as sight) {
	c.giveBack(name, to)
	c.mu.Lock()
	defer c.mu.Unlock()
	if as.unfinished {
		c.seen[to] = as
	}
}

// giveBack gives a file another name.
func (c *collecting) giveBack(name, to string) {
	if err := c.root.Rename(name, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn().Err(err).Str("file", filepath.Join(c.path, name)).Msg("a message in the Drop folder cannot be given back: it is handed over again when its lease is over")
	}
}

// setAside keeps a file away whose envelope cannot be read.
func (c *collecting) setAside(m *message, why error) error {
	to := string(m.ID) + bad
	if err := c.root.Rename(m.name, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storage("setting a message in the Drop folder aside", err)
	}
	c.log.Error().Err(why).Str("file", filepath.Join(c.path, to)).
		Msg("a file in the Drop folder has no envelope that can be followed, and nobody has got it: correct its X-Sender and X-Receiver and rename it to .eml, or delete it")
	return nil
}

// message is a message that was taken.
type message struct {
	backends.Outgoing
	file    opened
	was     pickup.Sight // when it was opened
	name    string
	content *pickup.Content
}

// opened is its file.
type opened struct{ *os.File }

// Look implements [pickup.File].
func (o opened) Look() (pickup.Sight, error) {
	info, err := o.Stat()
	if err != nil {
		return pickup.Sight{}, err
	}
	return sightOf(info), nil
}
