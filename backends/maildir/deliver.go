package maildir

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
)

// Deliver implements [backends.Receiver].
func (s *Store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	use, err := s.inUse()
	if err != nil {
		return nil, err
	}
	if err := checkEnvelope(d); err != nil {
		return nil, err
	}
	if err := use.rootIsThere(); err != nil {
		return nil, err
	}
	unlock, err := use.keys.lock(ctx, d.Key)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "waiting for an earlier attempt: %w", err)
	}
	defer unlock()
	run := &delivering{store: s, use: use, Delivery: d}
	run.findTargets()
	defer run.release()
	if err := run.deliver(ctx, content); err != nil {
		return nil, err
	}
	return run.verdicts(), nil
}

// checkEnvelope refuses what would make a header that the sender had no right to make (I9).
func checkEnvelope(d backends.Delivery) error {
	if d.Key == "" || len(d.Key) > 64 {
		return backends.Fail(backends.Permanent, "a delivery without a proper key")
	}
	if strings.ContainsAny(d.From, "\r\n\x00<>") {
		return backends.Fail(backends.Permanent, "the reverse-path %q is none", d.From).WithCode("5.1.7").
			Say("the sender's address is not valid")
	}
	return nil
}

// delivering is one Deliver under way.
type delivering struct {
	backends.Delivery
	store   *Store
	use     *inUse
	targets []*target // one for each account
	of      []*target // one for each recipient: several recipients may be one account
}

// target is one account's copy.
type target struct {
	to      address
	box     *box
	quota   int64
	done    bool // it is on stable storage
	failure *backends.Failure
	copy    string            // the message's id in the box, once it is done; empty: not known
	mark    durable.Mark      // of the folder that gets the copy, from before it has its name
	release func(stored bool) // of the room reserved; nil: none
}

func (t *target) open() bool { return !t.done && t.failure == nil }

func (d *delivering) verdicts() []backends.Verdict {
	verdicts := make([]backends.Verdict, len(d.Recipients))
	for i, t := range d.of {
		verdicts[i] = backends.Verdict{Recipient: d.Recipients[i].Address, Failure: t.failure}
		if t.done && t.failure == nil {
			verdicts[i].Action, verdicts[i].StoredAs = backends.ActionDelivered, backends.MessageID(t.copy)
		}
	}
	return verdicts
}

func (d *delivering) release() {
	for _, t := range d.targets {
		if t.release != nil {
			t.release(t.done)
		}
	}
}

// findTargets looks up the recipients.
func (d *delivering) findTargets() {
	dir := d.use.accounts.directory()
	byAddress := map[address]*target{}
	for _, recipient := range backends.Addresses(d.Recipients) {
		a := d.use.recipient(dir, recipient)
		if a == nil {
			d.of = append(d.of, &target{failure: dir.noSuchRecipient(recipient)})
			continue
		}
		t := byAddress[a.address]
		if t == nil {
			t = &target{to: a.address, box: d.use.boxes.of(a.address), quota: d.use.quotaOf(a)}
			byAddress[a.address] = t
			d.targets = append(d.targets, t)
		}
		d.of = append(d.of, t)
	}
}

// pending are the targets that still want a copy.
func (d *delivering) pending() []*target {
	var open []*target
	for _, t := range d.targets {
		if t.open() {
			open = append(open, t)
		}
	}
	return open
}

// failAll gives all that are still open the same failure.
func (d *delivering) failAll(f *backends.Failure) {
	for _, t := range d.pending() {
		t.failure = f
	}
}

func (d *delivering) deliver(ctx context.Context, content io.Reader) error {
	for _, t := range d.targets {
		d.prepare(t)
	}
	in := &source{ctx: ctx, closed: d.store.closed.Load, src: content, most: int64(d.use.MessageLimit)}
	if len(d.pending()) > 0 {
		m, err := d.write(in)
		if err != nil {
			return err
		}
		if m != nil {
			d.place(ctx, m)
		}
	}
	if slices.ContainsFunc(d.targets, func(t *target) bool { return t.done }) {
		return in.drain()
	}
	return nil
}

// prepare finds out whether a target has the message already, and whether it has room.
func (d *delivering) prepare(t *target) {
	if limit := int64(d.use.MessageLimit); limit > 0 && d.Size > limit {
		t.failure = tooLarge(d.Size, limit)
		return
	}
	if d.wasDelivered(t) || t.failure != nil {
		return
	}
	t.release, t.failure = t.box.reserve(t.quota, max(d.Size, 1))
}

// wasDelivered says whether an earlier attempt under this key has reached the target (I2).
func (d *delivering) wasDelivered(t *target) bool {
	state := d.use.recent.get(t.to, d.Key)
	if state == delivered {
		t.done = true
		return true
	}
	if !d.Retry && state != suspect {
		return false
	}
	found, err := t.box.find(keyMark(d.Key))
	folder := filepath.Dir(found)
	switch {
	case err != nil:
		t.failure = storageFailure("looking for an earlier delivery", err)
	case found == "":
	case state == suspect:
		// A sync of this copy failed. It may look well and be lost with the next power cut:
		// it makes room for one that can be trusted.
		if err := t.box.disk.Remove(found); err != nil && !isGone(err) {
			t.failure = storageFailure("removing a delivery whose sync failed", err)
		}
	default:
		// It got its name after its content had been synced; whether the name was is not known.
		if err := d.store.syncs.Sync(folder, d.store.syncs.Mark(folder), t.box.disk.SyncDir); err != nil {
			d.use.recent.set(t.to, d.Key, suspect)
			t.failure = storageFailure("syncing an earlier delivery", err)
			break
		}
		t.done, t.copy = true, baseOf(filepath.Base(found))
		d.use.recent.set(t.to, d.Key, delivered)
	}
	return t.done
}

// find looks for a message by the mark of its key, in all folders.
func (b *box) find(mark string) (path string, err error) {
	folders, err := b.folders()
	if err != nil {
		return "", err
	}
	for _, folder := range folders {
		for _, part := range []string{"new", "cur"} {
			dir := filepath.Join(b.dir, folder, part)
			names, err := b.disk.Names(dir)
			if err != nil && !isGone(err) {
				return "", err
			}
			for _, name := range names {
				if strings.Contains(name, mark) {
					return filepath.Join(dir, name), nil
				}
			}
		}
	}
	return "", nil
}

// confirmsAtOnce is how many folders one delivery syncs at a time.
const confirmsAtOnce = 8

// place gives the written message its name in each target's new, and then makes the names
// durable, some at a time.
func (d *delivering) place(ctx context.Context, m *written) {
	var named []*target
	for _, t := range d.nameOrder(m) {
		t.mark = d.store.syncs.Mark(filepath.Join(t.box.dir, "new"))
		if err := d.name(ctx, t, m); err != nil {
			t.failure = storageFailure("giving a message its name", err)
			continue
		}
		named = append(named, t)
	}
	if !slices.Contains(named, m.owner) {
		d.discard(m.path)
	}
	if len(named) == 1 {
		d.confirm(named[0], m)
		return
	}
	var confirming sync.WaitGroup
	free := make(chan struct{}, confirmsAtOnce)
	for _, t := range named {
		free <- struct{}{}
		confirming.Go(func() {
			defer func() { <-free }()
			d.confirm(t, m)
		})
	}
	confirming.Wait()
}

// nameOrder puts the target that has the file last: the others link to what it renames.
func (d *delivering) nameOrder(m *written) []*target {
	order := d.pending()
	if i := slices.Index(order, m.owner); i >= 0 {
		order = append(slices.Delete(order, i, i+1), m.owner)
	}
	return order
}

func (d *delivering) name(ctx context.Context, t *target, m *written) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t == m.owner {
		return d.store.disk.Rename(m.path, filepath.Join(t.box.dir, "new", m.name))
	}
	return d.copyTo(t, m)
}

// confirm makes the name of a copy durable, or takes back what cannot be made so.
func (d *delivering) confirm(t *target, m *written) {
	folder := filepath.Join(t.box.dir, "new")
	if err := d.store.syncs.Sync(folder, t.mark, d.store.disk.SyncDir); err != nil {
		d.use.recent.set(t.to, d.Key, suspect)
		d.discard(filepath.Join(folder, m.name))
		t.failure = storageFailure("syncing the folder of a message", err)
		return
	}
	t.done, t.copy = true, baseOf(m.name)
	d.use.recent.set(t.to, d.Key, delivered)
}

// discard removes a file of a delivery that failed.
func (d *delivering) discard(path string) {
	if err := d.store.disk.Remove(path); err != nil && !isGone(err) {
		d.store.log.Error().Err(err).Str("file", path).Str("key", d.Key).Msg("what is left of a failed delivery cannot be removed")
	}
}

// copyTo gives a target its own name for the file; where the file system has no links, its
// own copy.
func (d *delivering) copyTo(t *target, m *written) error {
	err := t.box.make()
	if err != nil {
		return err
	}
	final := filepath.Join(t.box.dir, "new", m.name)
	err = d.store.disk.Link(m.path, final)
	if isGone(err) { // somebody has removed the mailbox's folders since they were made
		t.box.forget()
		if err = t.box.make(); err == nil {
			err = d.store.disk.Link(m.path, final)
		}
	}
	if err == nil || !cannotLink(err) {
		return err
	}
	tmp := filepath.Join(t.box.dir, "tmp", m.name)
	if err := d.duplicate(m.path, tmp); err != nil {
		d.discard(tmp)
		return err
	}
	if err := d.store.disk.Rename(tmp, final); err != nil {
		d.discard(tmp)
		return err
	}
	return nil
}

// duplicate copies a file, durably.
func (d *delivering) duplicate(from, to string) error {
	in, err := d.store.disk.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := d.store.disk.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in})
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
