package drop

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/pickup"
)

const (
	// quietUsual is how long a file must not have changed to be taken, and unfinishedMost one that ends before its envelope does.
	quietUsual     = 2 * time.Second
	unfinishedMost = time.Minute
	// lookEvery is the pause between two looks, and lookShare how much longer than a look it is at least.
	lookEvery = time.Second
	lookShare = 50
	// namesMost is how many names of the folder one look takes: the others' turn is when these have left.
	namesMost = 20_000
	// leaseUsual is the lease of who does not say one, and leaseMost the longest that is believed: a clock may have been wrong.
	leaseUsual = 5 * time.Minute
	leaseMost  = 24 * time.Hour
	// toldMost bounds how many files are remembered that the log has told of.
	toldMost = 10_000
	// stemMost is how much of a file's name stays in its message's id.
	stemMost = 100
)

// The ends of the names of files.
const (
	fresh     = ".eml"
	taken     = ".taken"
	bad       = ".bad"
	settled   = ".settled"
	unwritten = ".new"
	claimMark = ",claimed="
)

// Folder is a Drop folder. Make it with [New].
type Folder struct {
	// Quiet is how long a file must not have changed to be taken [2 s]. It is set before the first use.
	Quiet time.Duration

	path string
	log  zerolog.Logger
	now  func() time.Time
	sync func(path string) error

	mu    sync.Mutex
	seen  map[string]sight // fresh files, by their names
	rest  bool             // the last look has seen fresh files that were not due
	told  map[string]bool
	lease time.Duration // of the last Collect
}

var _ backends.Outbox = (*Folder)(nil)

// New returns the folder at a path. It need not be there yet.
func New(path string, log zerolog.Logger) *Folder {
	return &Folder{Quiet: quietUsual, path: path, log: log, now: time.Now, sync: durable.SyncFolder, seen: map[string]sight{}, told: map[string]bool{}, lease: leaseUsual}
}

// sight is what a file looked like.
type sight struct {
	pickup.Sight
	since      time.Time // when it was first seen so, by this machine's clock: that of a share's server is another
	unfinished bool
}

func sightOf(info fs.FileInfo) pickup.Sight {
	return pickup.Sight{Size: info.Size(), Changed: info.ModTime()}
}

// candidate is a file that may be a message to take.
type candidate struct {
	name string
	id   string // of one that was taken before; empty: it is fresh
	info fs.FileInfo
}

// open opens the folder.
func (f *Folder) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "the Drop folder cannot be opened: mount the share, or correct outbox.drop: %w", err)
	}
	return root, nil
}

// names calls a function with what is in the folder, up to most. It says whether that was all.
func names(root *os.Root, most int, each func(fs.DirEntry)) (whole bool, err error) {
	dir, err := root.Open(".")
	if err != nil {
		return false, storage("reading the Drop folder", err)
	}
	defer dir.Close()
	for n := 0; n < most; {
		some, err := dir.ReadDir(1000)
		for _, one := range some {
			each(one)
		}
		n += len(some)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, storage("reading the Drop folder", err)
		}
	}
	return false, nil
}

func storage(what string, err error) error {
	return backends.Fail(backends.Temporary, "%s: %w", what, err)
}

// resting says whether there are files that are due once they have not changed for long enough.
func (f *Folder) resting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rest
}

// look finds the messages that are due, oldest first, and notes what there is.
func (f *Folder) look(root *os.Root) (due []candidate, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, before := f.now(), f.seen
	f.seen, f.rest = make(map[string]sight), false
	claims, left := make(map[string]bool), make(map[string]string)
	whole, err := names(root, namesMost, func(e fs.DirEntry) {
		name := e.Name()
		id, until, isClaim := claimOf(name)
		lone, isSettled := strings.CutSuffix(strings.TrimSuffix(name, unwritten), settled)
		if !isClaim && !isSettled && !isFresh(name) {
			return
		}
		info, err := e.Info()
		switch {
		case err != nil: // it is gone
		case !info.Mode().IsRegular():
			f.tell(name, errNoFile, "a file in the Drop folder is not looked at")
		case isSettled:
			left[name] = lone
		case isClaim:
			claims[id] = true
			if !now.Before(until) || until.After(now.Add(leaseMost)) {
				due = append(due, candidate{name, id, info})
			}
		case f.rests(before[name], name, info, now):
			due = append(due, candidate{name: name, info: info})
		}
	})
	if whole {
		f.sweep(root, claims, left, now)
	}
	slices.SortFunc(due, func(a, b candidate) int {
		return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), strings.Compare(a.name, b.name))
	})
	return due, err
}

// rests notes what a fresh file looks like, and says whether it has not changed for long enough.
func (f *Folder) rests(before sight, name string, info fs.FileInfo, now time.Time) bool {
	s := sight{Sight: sightOf(info), since: now}
	if before.Same(s.Sight) && !before.since.IsZero() {
		s.since, s.unfinished = before.since, before.unfinished
	}
	f.seen[name] = s
	if s.unfinished {
		return now.Sub(s.since) >= unfinishedMost
	}
	rested := now.Sub(s.since) >= f.Quiet
	f.rest = f.rest || !rested
	return rested
}

// sweep removes what says who was finished of messages that are there no more. A message is under no name for a moment, when it gets another one:
// so what is not old stays.
func (f *Folder) sweep(root *os.Root, claims map[string]bool, left map[string]string, now time.Time) {
	for name, id := range left {
		if info, err := root.Lstat(name); !claims[id] && err == nil && now.Sub(info.ModTime()) > leaseMost {
			_ = root.Remove(name) // another look tries again
		}
	}
}

// openFile opens a file that is one: no link, nothing that is waited for, and nothing that another has put in its place meanwhile.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	before, err := root.Lstat(name)
	if err == nil && !before.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = errNoFile
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

var errNoFile = errors.New("it is a link or another thing, and no file")

// tell logs once what is wrong with a file.
func (f *Folder) tell(name string, why error, what string) {
	if len(f.told) >= toldMost {
		clear(f.told) // some are told of again
	}
	if !f.told[name] {
		f.told[name] = true
		f.log.Warn().Err(why).Str("file", filepath.Join(f.path, name)).Msg(what)
	}
}

// isFresh says whether a file is one that nobody has taken: Windows does not tell small letters from capitals.
func isFresh(name string) bool {
	return len(name) > len(fresh) && name[0] != '.' && strings.EqualFold(name[len(name)-len(fresh):], fresh)
}

// claimOf reads the name of a file that was taken; not ok: it is none.
func claimOf(name string) (id string, until time.Time, ok bool) {
	base, is := strings.CutSuffix(name, taken)
	id, text, found := strings.Cut(base, claimMark)
	millis, err := strconv.ParseInt(text, 10, 64)
	return id, time.UnixMilli(millis), is && found && err == nil && millis >= 0 && isID(id)
}

func claimed(id string, until time.Time) string {
	return id + claimMark + strconv.FormatInt(max(0, until.UnixMilli()), 10) + taken
}

// newID makes the id of a message: what can be kept of its file's name, and what no other has.
func newID(name string) string {
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // it never fails
	stem := []byte(name[:len(name)-len(fresh)])
	for i, c := range stem {
		if !isPlain(c) {
			stem[i] = '_'
		}
	}
	return string(stem[:min(len(stem), stemMost)]) + "~" + hex.EncodeToString(unique[:])
}

func isPlain(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_'
}

// isID says whether a text can be what newID has made: a name in the folder, and nothing else.
func isID(text string) bool {
	stem, unique, found := strings.Cut(text, "~")
	for _, c := range []byte(stem + unique) {
		found = found && isPlain(c)
	}
	return found && len(unique) == 16 && len(stem) <= stemMost
}
