package imap

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/filelock"
)

// copies is the folder of the messages whose copies for the Sent folders are to be made. For each message that is sent it has
//
//	<name>.eml   the message, on the disk before it is sent, until its copy is made. Whoever works on it has locked it.
//	<name>.sent  what is known of it (record), from before it is sent, for keptFor after the copy was made
//
// where the name is made of the login and the delivery's key. So whatever ends between the sending and the copy, the copy is made, by this
// process or by the next one; and a retry leaves out whom an earlier process has sent the message.
//
// Both names are on the disk by one sync of the folder, which all share who send just then. After that a record only grows.
type copies struct {
	dir    string
	shared sharedFolder // dir
}

// sharedFolder is a folder whose syncs are shared, see [durable.Folder].
type sharedFolder interface {
	Mark() durable.Mark
	Sync(since durable.Mark) error
}

// record is what is known of a message. Its file has one line of JSON for each thing that has become known; a line that was cut off says
// nothing.
type record struct {
	Mailbox    string    `json:"mailbox,omitempty"` // whose Sent folder gets the copy
	Key        string    `json:"key,omitempty"`
	Kept       time.Time `json:"kept,omitzero"`        // when it was to be sent
	Sent       time.Time `json:"sent,omitzero"`        // when somebody was first sent it; zero: nobody is known to have been
	Due        time.Time `json:"due,omitzero"`         // when the copy is made
	Recipients []string  `json:"recipients,omitempty"` // who were sent the message
	// Others says whether, by the last attempt, there are recipients who may be sent it later.
	Others *bool     `json:"others,omitempty"`
	Copied time.Time `json:"copied,omitzero"`
}

// add takes another line of the record in.
func (r *record) add(line record) {
	r.Mailbox, r.Key = cmp.Or(r.Mailbox, line.Mailbox), cmp.Or(r.Key, line.Key)
	r.Kept, r.Sent, r.Due = cmp.Or(r.Kept, line.Kept), cmp.Or(r.Sent, line.Sent), cmp.Or(r.Due, line.Due)
	r.sentTo(line.Recipients)
	if line.Others != nil {
		r.Others = line.Others
	}
	if !line.Copied.IsZero() {
		r.Copied = line.Copied
	}
}

// sentTo adds recipients that it does not have yet.
func (r *record) sentTo(recipients []string) {
	if len(r.Recipients) == 0 || len(recipients) == 0 {
		r.Recipients = append(r.Recipients, recipients...)
		return
	}
	has := make(map[string]bool, len(r.Recipients))
	for _, to := range r.Recipients {
		has[to] = true
	}
	for _, to := range recipients {
		if !has[to] {
			r.Recipients = append(r.Recipients, to)
		}
	}
}

// outlasts is for how long the record is kept after its copy was made.
func (r *record) outlasts() time.Duration {
	if r.Others != nil && *r.Others {
		return giveUpAfter
	}
	return keptFor
}

const (
	// keptFor is how long it is remembered whom a message was sent whose copy is made, while the store runs: the gateway tries again sooner
	// what it does not know the end of. Between two of its attempts there are four hours by default, and a day at the most (relay.retry).
	keptFor = 25 * time.Hour
	// giveUpAfter is how long a copy is tried, a message kept of which nobody knows whether it was sent, and it is remembered who was
	// sent one that others are still to be sent: it is as long as the gateway tries any message, by default.
	giveUpAfter = 7 * 24 * time.Hour
	// triesFor is for how long a process tries what is older than that.
	triesFor = time.Hour

	messageEnd, recordEnd, partEnd = ".eml", ".sent", ".part"
)

// newCopies makes the folder in a store's state folder.
func newCopies(stateDir string) (*copies, error) {
	dir := filepath.Join(stateDir, "sent-copies")
	return &copies{dir, durable.NewFolder(dir)}, os.MkdirAll(dir, 0o700)
}

// nameOf names a message.
func nameOf(account, key string) string {
	sum := sha256.Sum256([]byte(account + "\x00" + key))
	return hex.EncodeToString(sum[:16])
}

func (c *copies) path(name, end string) string { return filepath.Join(c.dir, name+end) }

// errDamaged is that of a record which says nothing, now or later.
var errDamaged = errors.New("a record of a sent message is damaged")

// read gives what is known of a message; nil: nothing is. A record that is damaged is errDamaged; any other failure may pass.
func (c *copies) read(name string) (*record, error) {
	text, err := os.ReadFile(c.path(name, recordEnd))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readRecord(text)
}

// readRecord reads a record's text.
func readRecord(text []byte) (*record, error) {
	r, known := new(record), false
	for line := range bytes.Lines(text) {
		var more record
		if json.Unmarshal(line, &more) == nil {
			r.add(more)
			known = true
		}
	}
	if !known {
		return nil, fmt.Errorf("%w: no line of its %d octets can be read", errDamaged, len(text))
	}
	return r, nil
}

// note adds to what is known of a message, and has it on the disk.
func (c *copies) note(name string, more record) error {
	path, mark := c.path(name, recordEnd), c.shared.Mark()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	err = errors.Join(writeLine(file, more), file.Sync(), file.Close())
	if err == nil && isNew {
		err = c.shared.Sync(mark)
	}
	return err
}

// writeLine adds a line to a record, in one piece. What stands before it may have been cut off.
func writeLine(file *os.File, line record) error {
	text, err := json.Marshal(line)
	if err == nil {
		_, err = file.WriteString("\n" + string(text) + "\n")
	}
	return err
}

// lockedMessage is a message in the folder that nobody else works on.
type lockedMessage struct {
	*copies
	name string
	file *os.File
	size int64
}

// open opens and locks a message; nil: there is none, or somebody else works on it.
func (c *copies) open(name string) *lockedMessage {
	path := c.path(name, messageEnd)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	info, err := file.Stat()
	if err == nil {
		err = filelock.Try(file)
	}
	if err == nil { // it may have gone, or have got another's place, before it was locked
		var there fs.FileInfo
		if there, err = os.Stat(path); err == nil && os.SameFile(info, there) {
			return &lockedMessage{c, name, file, info.Size()}
		}
	}
	_ = file.Close() // it was not read
	return nil
}

// keep has a message on the disk, with a first line of what is known of it, and locks it.
func (c *copies) keep(name string, first record, content io.Reader) (*lockedMessage, error) {
	if err := c.write(name, first, content); err != nil {
		if known := (*backends.Failure)(nil); errors.As(err, &known) {
			return nil, err
		}
		return nil, backends.Fail(backends.Temporary, "keep a message: %w", err)
	}
	k := c.open(name)
	if k == nil {
		return nil, backends.Fail(backends.Temporary, "keep a message: somebody else has taken %s", c.path(name, messageEnd))
	}
	return k, nil
}

// write writes a message whole, or nothing. A power failure may leave a record behind that says nothing, until it is noted that the message
// was sent: the line is synced with that.
func (c *copies) write(name string, first record, content io.Reader) error {
	file, err := os.CreateTemp(c.dir, name+".*"+partEnd)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone once it has its name
	_, err = io.Copy(file, content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	mark := c.shared.Mark()
	made, err := c.begin(name, first)
	if err == nil {
		err = os.Rename(file.Name(), c.path(name, messageEnd))
	}
	if err == nil {
		if err = c.shared.Sync(mark); err == nil {
			return nil
		}
		_ = os.Remove(c.path(name, messageEnd)) // nobody knows what of it is on the disk
	}
	if made {
		c.remove(name)
	}
	return err
}

// begin makes a record with its first line, if there is none.
func (c *copies) begin(name string, first record) (made bool, err error) {
	file, err := os.OpenFile(c.path(name, recordEnd), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(writeLine(file, first), file.Close())
}

// isThere says whether there is a message, whoever works on it, how long it is, and when it was written.
func (c *copies) isThere(name string) (info fs.FileInfo, there bool) {
	info, err := os.Lstat(c.path(name, messageEnd))
	return info, err == nil
}

// reader gives the message from its beginning.
func (k *lockedMessage) reader() io.Reader { return io.NewSectionReader(k.file, 0, k.size) }

// close lets others work on the message.
func (k *lockedMessage) close() { _ = k.file.Close() } // it was read alone

// discard takes the message away: it was sent to nobody, or its record says that its copy is made.
func (k *lockedMessage) discard() {
	k.close() // Windows removes no file that is open
	_ = os.Remove(k.path(k.name, messageEnd))
}

// remove takes a record away.
func (c *copies) remove(name string) { _ = os.Remove(c.path(name, recordEnd)) } // it is looked at again

// sentTo are those who were sent a message, as far as it is known here. If the disk does not say it now the message has to wait: they would be
// sent it again.
func (c *copies) sentTo(account, key string) ([]string, error) {
	r, err := c.known(nameOf(account, key))
	if err != nil || r == nil {
		return nil, err
	}
	return r.Recipients, nil
}

// known is read for a message that is to be sent: a damaged record says nothing, and another failure is a temporary one.
func (c *copies) known(name string) (*record, error) {
	r, err := c.read(name)
	if err != nil && !errors.Is(err, errDamaged) {
		return nil, backends.Fail(backends.Temporary, "what is known of a sent message cannot be read, and it may have been sent already: %w", err)
	}
	return r, nil
}

// names are those of all messages, and of what is known of them.
func (c *copies) names(ctx context.Context, each func(name string) bool) error {
	folder, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // it is read alone
	for ctx.Err() == nil {
		some, err := folder.Readdirnames(1000)
		for _, file := range some {
			if name, is := strings.CutSuffix(file, recordEnd); is && !each(name) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// sweep takes away what was cut off while it was written a week ago, and gives the names of messages as old that have no record.
func (c *copies) sweep(now time.Time) (without []string, err error) {
	all, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if filepath.Ext(e.Name()) == recordEnd { // most are such
			continue
		}
		name, end := strings.CutSuffix(e.Name(), messageEnd)
		info, err := e.Info()
		switch {
		case err != nil || now.Sub(info.ModTime()) < giveUpAfter:
		case !end:
			_ = os.Remove(filepath.Join(c.dir, e.Name())) // it is tried again
		default:
			if r, err := c.read(name); r == nil && err == nil {
				without = append(without, name)
			}
		}
	}
	return without, nil
}
