package maildir

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pause"
)

var errNoOutbox = backends.Fail(backends.Unsupported, "the store has no outboxes: set outbox")

// lookShare is how much longer than a look the pause behind it is: looking takes one part in 50 of a processor at most.
const lookShare = 50

// Collect implements [backends.Outbox]: outboxes in turn, and the messages of each in the order of their names.
func (s *Store) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	use, err := s.inUse()
	if err != nil {
		return err
	}
	if !use.Outbox {
		return errNoOutbox
	}
	if err := use.rootIsThere(); err != nil {
		return err
	}
	o, end := use.outboxes, time.Now().Add(min(request.Wait, backends.CollectWaitMost))
	lease := cmp.Or(request.Lease, leaseUsual)
	o.mu.Lock()
	o.lease = lease
	o.mu.Unlock()
	defer o.turn()
	for n := 0; request.Most == 0 || n < request.Most; {
		if _, err := s.inUse(); err != nil {
			return err
		}
		begun := time.Now()
		m, err := o.next(ctx, lease)
		switch {
		case err != nil:
			return err
		case m != nil:
			if err := o.handOver(ctx, m, accept); err != nil {
				return err
			}
			n++
		case n > 0 || !pauseUntil(ctx, end, max(lookEvery, lookShare*time.Since(begun))):
			if err := ctx.Err(); err != nil {
				return backends.Fail(backends.Temporary, "waiting for mail: %w", err)
			}
			return nil
		}
	}
	return nil
}

// handOver gives the gateway a message, or has it back.
func (o *outboxes) handOver(ctx context.Context, m *outgoing, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	err := accept(ctx, m.Outgoing, m.content)
	_ = m.content.Close() // it was for reading
	if err != nil {
		o.giveBack(m)
	}
	return err
}

// pauseUntil waits for a while, and says whether there is time left before the end.
func pauseUntil(ctx context.Context, end time.Time, most time.Duration) bool {
	left := time.Until(end)
	if left <= 0 {
		return false
	}
	return pause.For(ctx, min(most, left))
}

// Settle implements [backends.Outbox]. A message that is not there was settled before.
func (s *Store) Settle(ctx context.Context, settlements []backends.Settlement) error {
	use, err := s.inUse()
	if err != nil {
		return err
	}
	if !use.Outbox {
		return errNoOutbox
	}
	run := settling{outboxes: use.outboxes, d: use.accounts.directory(), names: make(map[string]map[string]string)}
	var failures []error
	for _, settlement := range settlements {
		if err := ctx.Err(); err != nil {
			return backends.Fail(backends.Temporary, "settling: %w", err)
		}
		if err := run.one(settlement); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return storageFailure("settling messages of an outbox", errors.Join(failures...))
	}
	return nil
}

// settling is one Settle.
type settling struct {
	*outboxes
	d     *directory
	names map[string]map[string]string // by outbox and id: the files in cur
}

// file is where a message is; empty: it is gone.
func (s *settling) file(dir, id string) (string, error) {
	if s.names[dir] == nil {
		names, err := s.disk.Names(filepath.Join(dir, "cur"))
		if err != nil && !isGone(err) {
			return "", err
		}
		s.names[dir] = make(map[string]string, len(names))
		for _, name := range names {
			if id, _, ok := claimOf(name); ok {
				s.names[dir][id] = name
			}
		}
	}
	name := s.names[dir][id]
	if name == "" {
		return "", nil
	}
	return filepath.Join(dir, "cur", name), nil
}

// one settles a message.
func (s *settling) one(settlement backends.Settlement) error {
	text := string(settlement.ID)
	at := strings.LastIndexByte(text, '/')
	of, err := parseAddress(text[:max(0, at)])
	id := text[at+1:]
	if err != nil || !isID(id) {
		return nil // none of ours
	}
	dir := filepath.Join(boxDir(s.use.Root, of), outboxFolder)
	path, err := s.file(dir, id)
	if path == "" || err != nil {
		return err
	}
	if len(settlement.Verdicts) > 0 {
		left, err := s.note(of, dir, id, path, settlement.Verdicts)
		if err != nil {
			return err
		}
		if !left {
			return s.remove(dir, id, path)
		}
	}
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	name := claimed(id, s.now().Add(lease))
	if err := s.disk.Rename(path, filepath.Join(dir, "cur", name)); err != nil && !isGone(err) {
		return err
	}
	s.names[dir][id] = name
	return nil
}

// note writes down the recipients that are finished, and says whether there are others left.
func (s *settling) note(of address, dir, id, path string, verdicts []backends.Verdict) (left bool, err error) {
	a := s.d.mail[of]
	if a == nil {
		return false, nil // nobody's mail is handed over for less than all of it
	}
	f, err := s.disk.Open(path)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	now, _, err := f.stat()
	if err != nil {
		return false, err
	}
	out, _, err := s.use.outgoingOf(s.d, a, io.NewSectionReader(f, 0, now.Size))
	if err != nil {
		return false, err
	}
	finished, err := s.finished(dir, id)
	if err != nil {
		return false, err
	}
	if finished == nil {
		finished = make(map[string]bool)
	}
	for _, v := range verdicts {
		finished[strings.ToLower(v.Recipient)] = true
	}
	if len(without(out.Recipients, finished)) == 0 {
		return false, nil
	}
	return true, s.write(dir, id, finished)
}

// write makes the list of who is finished durable.
func (s *settling) write(dir, id string, finished map[string]bool) error {
	tmp := filepath.Join(dir, "tmp", s.use.names.unique("settled"))
	f, err := s.disk.Create(tmp)
	if err != nil {
		return err
	}
	var text strings.Builder
	for address := range finished {
		text.WriteString(address + "\n")
	}
	_, err = io.WriteString(f, text.String())
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.disk.Rename(tmp, filepath.Join(dir, "cur", "."+id+settledMark))
	}
	if err != nil {
		return errors.Join(err, s.disk.Remove(tmp))
	}
	return s.disk.SyncDir(filepath.Join(dir, "cur"))
}
