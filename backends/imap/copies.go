package imap

import (
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
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/filelock"
)

// copies is the folder of the messages whose copies for the Sent folders are to be made. For each message that is sent it has
//
//	<name>.eml   the message, on the disk before it is sent, until its copy is made. Whoever works on it has locked it.
//	<name>.sent  what is known of it, from when somebody was sent it (record), for keptFor after the copy was made
//
// where the name is made of the login and the delivery's key. So whatever ends between the sending and the copy, the copy is made, by this
// process or by the next one; and a retry leaves out whom an earlier process has sent the message.
type copies struct {
	dir string
	mu  sync.Mutex // held while a record is changed
}

// record is what is known of a message that was sent.
type record struct {
	Mailbox    string    `json:"mailbox"` // whose Sent folder gets the copy
	Key        string    `json:"key"`
	Recipients []string  `json:"recipients"` // who were sent the message
	Sent       time.Time `json:"sent"`
	Due        time.Time `json:"due"` // when the copy is made
	Copied     time.Time `json:"copied,omitzero"`
}

const (
	// keptFor is how long it is remembered whom a message was sent whose copy is made: the gateway tries again sooner.
	keptFor = time.Hour
	// giveUpAfter is how long a copy is tried, and a message kept of which nobody knows whether it was sent.
	giveUpAfter = 7 * 24 * time.Hour

	messageEnd, recordEnd, partEnd = ".eml", ".sent", ".part"
)

// newCopies makes the folder in a store's state folder.
func newCopies(stateDir string) (*copies, error) {
	c := &copies{dir: filepath.Join(stateDir, "sent-copies")}
	return c, os.MkdirAll(c.dir, 0o700)
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
	var r record
	if err == nil {
		if odd := json.Unmarshal(text, &r); odd != nil {
			err = fmt.Errorf("%w: %w", errDamaged, odd)
		}
	}
	return &r, err
}

// change changes what is known of a message, and has it on the disk.
func (c *copies) change(name string, change func(*record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := c.read(name)
	if err != nil {
		return err
	}
	if r == nil {
		r = new(record)
	}
	change(r)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.Replace(c.path(name, recordEnd), text)
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

// keep has a message on the disk, and locks it.
func (c *copies) keep(name string, content io.Reader) (*lockedMessage, error) {
	if err := c.write(name, content); err != nil {
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

// write writes a message whole, or nothing.
func (c *copies) write(name string, content io.Reader) error {
	file, err := os.CreateTemp(c.dir, name+".*"+partEnd)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone once it has its name
	_, err = io.Copy(file, content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), c.path(name, messageEnd)); err != nil {
		return err
	}
	return durable.SyncFolder(c.dir)
}

// isThere says whether there is a message, whoever works on it.
func (c *copies) isThere(name string) bool {
	_, err := os.Lstat(c.path(name, messageEnd))
	return err == nil
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

// sentTo are those who were sent a message, as far as it is known here.
func (c *copies) sentTo(account, key string) []string {
	r, err := c.read(nameOf(account, key))
	if err != nil || r == nil {
		return nil
	}
	return r.Recipients
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

// sweep takes away what has no record and is old: messages that were sent to nobody, as far as it is known, and what was cut off while it
// was written.
func (c *copies) sweep(now time.Time) error {
	all, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		end := filepath.Ext(e.Name())
		info, err := e.Info()
		if err != nil || end == recordEnd || now.Sub(info.ModTime()) < giveUpAfter {
			continue
		}
		if name := strings.TrimSuffix(e.Name(), messageEnd); end == messageEnd {
			if r, err := c.read(name); r != nil || err != nil {
				continue
			}
		}
		_ = os.Remove(filepath.Join(c.dir, e.Name())) // it is tried again
	}
	return nil
}
