package drop

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pickup"
)

// settledMost bounds a file that says who is finished.
const settledMost = 16 << 20

// Settle implements [backends.Outbox]. A message that is not there was settled before.
func (f *Folder) Settle(ctx context.Context, settlements []backends.Settlement) error {
	if len(settlements) == 0 {
		return nil
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	files := make(map[string]string, len(settlements)) // by id
	for _, one := range settlements {
		files[string(one.ID)] = ""
	}
	if _, err := names(root, math.MaxInt, func(e fs.DirEntry) {
		id, _, ok := claimOf(e.Name())
		if _, wanted := files[id]; ok && wanted {
			files[id] = e.Name()
		}
	}); err != nil {
		return err
	}
	var failures []error
	for _, one := range settlements {
		if err := ctx.Err(); err != nil {
			return backends.Fail(backends.Temporary, "settling: %w", err)
		}
		if name := files[string(one.ID)]; name != "" {
			failures = append(failures, f.settle(root, one, name))
		}
	}
	return errors.Join(failures...)
}

// settle settles a message: it is removed when each of its recipients is finished, and otherwise its lease starts again.
func (f *Folder) settle(root *os.Root, one backends.Settlement, name string) error {
	id := string(one.ID)
	if len(one.Verdicts) > 0 {
		left, err := f.note(root, id, name, one.Verdicts)
		if err != nil {
			return err
		}
		if !left {
			return remove(root, id, name)
		}
	}
	f.mu.Lock()
	lease := f.lease
	f.mu.Unlock()
	if err := root.Rename(name, claimed(id, f.now().Add(lease))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storage("leasing a message in the Drop folder", err)
	}
	return nil
}

// note writes down the recipients that are finished, and says whether there are others left.
func (f *Folder) note(root *os.Root, id, name string, verdicts []backends.Verdict) (left bool, err error) {
	file, _, err := openFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, storage("opening a message in the Drop folder", err)
	}
	defer file.Close()
	e, _, err := pickup.ReadInjected(file)
	if err != nil {
		return false, storage("reading a message in the Drop folder", err)
	}
	done, err := finished(root, id)
	if err != nil {
		return false, err
	}
	for _, v := range verdicts {
		done[strings.ToLower(v.Recipient)] = true
	}
	if len(outgoingOf("", e, done).Recipients) == 0 {
		return false, nil
	}
	return true, f.write(root, id, done)
}

// finished are the recipients of a message that are finished while others are not, in small letters.
func finished(root *os.Root, id string) (map[string]bool, error) {
	done := make(map[string]bool)
	file, _, err := openFile(root, id+settled)
	if errors.Is(err, fs.ErrNotExist) {
		return done, nil
	}
	if err != nil {
		return nil, storage("opening what is known of a message in the Drop folder", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, settledMost))
	if err != nil {
		return nil, storage("reading what is known of a message in the Drop folder", err)
	}
	for line := range strings.Lines(string(text)) {
		done[strings.TrimSuffix(line, "\n")] = true
	}
	return done, nil
}

// write makes the list of who is finished durable.
func (f *Folder) write(root *os.Root, id string, done map[string]bool) error {
	tmp := id + settled + unwritten
	file, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return storage("writing into the Drop folder", err)
	}
	var text strings.Builder
	for _, address := range sorted(done) {
		text.WriteString(address + "\n")
	}
	_, err = io.WriteString(file, text.String())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = root.Rename(tmp, id+settled)
	}
	if err != nil {
		return storage("writing into the Drop folder", errors.Join(err, root.Remove(tmp)))
	}
	if err := f.sync(f.path); err != nil {
		return storage("writing into the Drop folder", err)
	}
	return nil
}

func sorted(done map[string]bool) (all []string) {
	for address := range done {
		all = append(all, address)
	}
	slices.Sort(all)
	return all
}

// remove forgets a message: what is known of it last.
func remove(root *os.Root, id, name string) error {
	for _, one := range []string{name, id + settled, id + settled + unwritten} {
		if err := root.Remove(one); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storage("removing a message from the Drop folder", err)
		}
	}
	return nil
}
