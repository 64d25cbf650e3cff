package maildir

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

// An account's outbox is the Maildir++ folder .Outbox in its mailbox. A program of this machine puts a message into new,
// complete, by renaming it there from tmp. What the gateway has is in cur, under a name that is made for it, with the end
// of its lease:
//
//	1764000000.M123456P789Q12_8v3k5m….host,claimed=1764000300000
//
// The name up to the comma is the message's id as long as it lives: a program may use its own names again and again. The
// time is in milliseconds since 1970, and 0 once the gateway has given the message back. A rename takes a message,
// so that of several gateways one gets it.
const (
	outboxFolder = ".Outbox"
	claimMark    = ",claimed="
	// settledMark ends the name of the file, beside the message, that has the recipients that are finished while others
	// are not, each in a line.
	settledMark = ".settled"
	// leaseMost is the longest that is believed: a clock may have been wrong.
	leaseMost = 24 * time.Hour
	// leaseUsual is the lease of who does not say one.
	leaseUsual = 5 * time.Minute
	// againAfter is when an outbox is looked at again in which the disk has failed, as it may have been full: its folders do
	// not change by that.
	againAfter = time.Minute
	// oddMost bounds how many files are known in memory that are no messages, or cannot be taken.
	oddMost = 10_000
)

// outboxes are the accounts' outboxes.
type outboxes struct {
	use  *inUse
	disk fileSystem
	now  func() time.Time
	log  zerolog.Logger

	mu    sync.Mutex
	known map[address]*outbox
	odd   map[string]bool // paths of files that were told of in the log
	first int             // at whose outbox the next look begins
	lease time.Duration   // of the last Collect
}

func newOutboxes(use *inUse, disk fileSystem, now func() time.Time, log zerolog.Logger) *outboxes {
	return &outboxes{use: use, disk: disk, now: now, log: log, known: map[address]*outbox{}, odd: map[string]bool{}, lease: leaseUsual}
}

// outbox is what is known of one. It is used with outboxes.mu held.
type outbox struct {
	dir string
	// files are those of the last look that nobody has tried to take yet.
	files []outboxFile
	// looked are the times of the folders at the last look, taken whether something was taken of what it had found, and
	// due when to look although they have not: the first lease runs out, or what has failed is tried again; zero: never.
	looked, quiet outboxTimes
	taken         bool
	due           time.Time
}

// outboxTimes are when new and cur have changed; zero: another look may see more.
type outboxTimes struct{ fresh, cur time.Time }

// outboxFile is a file that may be a message to take.
type outboxFile struct {
	part, name string // "new" or "cur", and the name there
	id         string // empty: it has none yet
}

// claimOf reads the name of a file in cur; not ok: it has no claim.
func claimOf(name string) (id string, until time.Time, ok bool) {
	base := baseOf(name)
	id, text, found := strings.Cut(base, claimMark)
	millis, err := strconv.ParseInt(text, 10, 64)
	if !found || err != nil || !isID(id) || text == "" {
		return "", time.Time{}, false
	}
	return id, time.UnixMilli(millis), true
}

func claimed(id string, until time.Time) string {
	return id + claimMark + strconv.FormatInt(max(0, until.UnixMilli()), 10)
}

// next takes a message for the time of a lease; nil: there is none.
func (o *outboxes) next(ctx context.Context, lease time.Duration) (*outgoing, error) {
	d := o.use.accounts.directory()
	if len(d.accounts) == 0 {
		return nil, nil
	}
	o.mu.Lock()
	first := o.first % len(d.accounts)
	o.mu.Unlock()
	for i := range d.accounts {
		at := (first + i) % len(d.accounts)
		a := d.accounts[at]
		for looked := false; !a.disabled; {
			if err := ctx.Err(); err != nil {
				return nil, backends.Fail(backends.Temporary, "looking for mail: %w", err)
			}
			file, dir, ok := o.candidate(a, &looked)
			if !ok {
				break
			}
			m, err := o.take(ctx, d, a, dir, file, lease)
			if m != nil || err != nil {
				o.mu.Lock()
				o.first = at
				o.mu.Unlock()
				return m, err
			}
		}
	}
	return nil, nil
}

// turn has the next look begin with another account: none has to wait for all of another's mail.
func (o *outboxes) turn() {
	o.mu.Lock()
	o.first++
	o.mu.Unlock()
}

// candidate is a file of an account's outbox that may be a message to take. Its folders are looked at once.
func (o *outboxes) candidate(a *account, looked *bool) (file outboxFile, dir string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	box := o.known[a.address]
	if box == nil {
		box = &outbox{dir: filepath.Join(boxDir(o.use.Root, a.address), outboxFolder)}
		o.known[a.address] = box
	}
	if len(box.files) == 0 {
		if *looked || !o.look(box) {
			return outboxFile{}, "", false
		}
		*looked = true
	}
	file, box.files = box.files[0], box.files[1:]
	return file, box.dir, true
}

// look reads an outbox's folders, if they have changed or a lease has run out. It says whether there are files.
func (o *outboxes) look(box *outbox) bool {
	now := o.now()
	times, there := o.times(box.dir, now)
	if !there {
		return false
	}
	if times == box.looked && !box.taken {
		box.quiet = times // all that it had seen was odd
	}
	due := !box.due.IsZero() && !now.Before(box.due)
	if box.quiet == times && times != (outboxTimes{}) && !due {
		return false
	}
	box.looked, box.quiet, box.taken, box.due = times, outboxTimes{}, false, time.Time{}
	box.files = o.read(box, now)
	return len(box.files) > 0
}

// times are those of the folders, zero where a change may not show yet.
func (o *outboxes) times(dir string, now time.Time) (t outboxTimes, there bool) {
	fresh, err := o.disk.Lstat(filepath.Join(dir, "new"))
	if isGone(err) && o.make(dir) {
		fresh, err = o.disk.Lstat(filepath.Join(dir, "new"))
	}
	if err != nil {
		return t, false
	}
	cur, err := o.disk.Lstat(filepath.Join(dir, "cur"))
	if err != nil {
		return t, false
	}
	whole, err := o.disk.Lstat(dir)
	if err != nil {
		return t, false
	}
	if !whole.IsDir() || !fresh.IsDir() || !cur.IsDir() { // a link would have the gateway take another's mail for this account's
		o.tell(dir, errNoFolder, "the outbox is not looked at")
		return t, false
	}
	if now.Sub(fresh.ModTime()) > coarseTime && now.Sub(cur.ModTime()) > coarseTime {
		t = outboxTimes{fresh.ModTime(), cur.ModTime()}
	}
	return t, true
}

// make makes the outbox of a mailbox that is there.
func (o *outboxes) make(dir string) bool {
	if _, err := o.disk.Lstat(filepath.Dir(dir)); err != nil {
		return false
	}
	err := mkdirs(o.disk, dir)
	if err == nil {
		err = makeFolder(o.disk, dir)
	}
	if err != nil {
		o.tell(dir, err, "the outbox cannot be made")
	}
	return err == nil
}

// read are the files in an outbox that nobody has, as far as the names say, in the names' order: that is mostly that
// of time.
func (o *outboxes) read(box *outbox, now time.Time) (files []outboxFile) {
	fresh, err := o.disk.Names(filepath.Join(box.dir, "new"))
	if err != nil {
		o.tell(box.dir, err, "the outbox cannot be read")
		box.lookBy(now.Add(againAfter))
	}
	for _, name := range fresh {
		if name[0] != '.' {
			files = append(files, outboxFile{part: "new", name: name})
		}
	}
	cur, err := o.disk.Names(filepath.Join(box.dir, "cur"))
	if err != nil {
		o.tell(box.dir, err, "the outbox cannot be read")
		box.lookBy(now.Add(againAfter))
	}
	for _, name := range cur {
		id, until, ok := claimOf(name)
		switch {
		case name[0] == '.':
		case ok && now.Before(until) && until.Before(now.Add(leaseMost)):
			box.lookBy(until)
		default: // one without a claim was moved there by another program
			files = append(files, outboxFile{part: "cur", name: name, id: id})
		}
	}
	slices.SortFunc(files, func(a, b outboxFile) int { return strings.Compare(a.name, b.name) })
	return files
}

// lookBy has another look at a time, whether the folders have changed or not.
func (b *outbox) lookBy(at time.Time) {
	if b.due.IsZero() || at.Before(b.due) {
		b.due = at
	}
}

// tell logs once what is wrong with a file. The file stays where it is.
func (o *outboxes) tell(path string, err error, what string) {
	if len(o.odd) >= oddMost {
		clear(o.odd) // some are told of again
	}
	if !o.odd[path] {
		o.odd[path] = true
		o.log.Warn().Err(err).Str("file", path).Msg(what)
	}
}

// leave is tell for who does not hold mu.
func (o *outboxes) leave(path string, err error, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell(path, err, what)
}

// later has another look at an account's outbox after a while.
func (o *outboxes) later(a *account) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[a.address].lookBy(o.now().Add(againAfter))
}

// errNoFolder says that the outbox, or new or cur in it, is none.
var errNoFolder = errors.New("it, or new or cur in it, is a link or another thing, and not a folder")

// errNoRegular says that a name is not that of a regular file.
var errNoRegular = errors.New("it is not a regular file")

// take takes a file; nil: it is no message, or another gateway was first. The error is the disk's.
func (o *outboxes) take(ctx context.Context, d *directory, a *account, dir string, f outboxFile, lease time.Duration) (*outgoing, error) {
	from := filepath.Join(dir, f.part, f.name)
	info, err := o.disk.Lstat(from)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoRegular
	}
	if err != nil {
		if !isGone(err) {
			o.leave(from, err, "what lies in the outbox is not sent")
		}
		if !isGone(err) && !errors.Is(err, errNoRegular) {
			o.later(a)
		}
		return nil, nil
	}
	if f.id == "" {
		f.id = o.use.names.unique("outbox")
	}
	to := filepath.Join(dir, "cur", claimed(f.id, o.now().Add(lease)))
	if err := o.disk.Rename(from, to); err != nil {
		if !isGone(err) {
			o.leave(from, err, "a message in the outbox cannot be taken: the gateway has to be allowed to rename it")
			o.later(a)
		}
		return nil, nil
	}
	o.mu.Lock()
	o.known[a.address].taken = true
	o.mu.Unlock()
	// A claim that is lost with the power would have the message under another id.
	if err := syncDirs(o.disk, filepath.Join(dir, "cur"), filepath.Join(dir, f.part)); err != nil {
		return nil, storageFailure("claiming a message", err)
	}
	m, err := o.open(ctx, d, a, dir, f.id, to)
	if err != nil {
		o.leave(filepath.Join(dir, "cur", f.id), err, "a message in the outbox cannot be read: it is tried again when its lease is over")
		return nil, nil
	}
	return m, nil
}
