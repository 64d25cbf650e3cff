package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// mostAccounts is how large an accounts file may be, in octets: some hundred thousand accounts.
const mostAccounts = 64 << 20

// accountsFile keeps the accounts file in memory and reads it again when it has changed. A
// file that cannot be used leaves the last good one in force, and Health says so.
type accountsFile struct {
	path string
	log  zerolog.Logger
	now  func() time.Time

	mu      sync.Mutex
	current *directory
	seen    fileState
	problem error // what was wrong at the last look; nil: nothing
}

// fileState tells one version of a file from another.
type fileState struct {
	info    fs.FileInfo // nil: there was no file
	settled bool        // it was old enough for a later change to show in its time
}

// coarseTime is how far apart two changes must be to have different times on a bad file system.
const coarseTime = 2 * time.Second

func (s fileState) same(info fs.FileInfo) bool {
	if s.info == nil || info == nil {
		return s.info == nil && info == nil
	}
	return s.settled && os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// load reads the file for the first time. No file is no accounts.
func (f *accountsFile) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refresh()
}

// directory is the accounts as they stand now.
func (f *accountsFile) directory() *directory {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.problem
	if err := f.refresh(); err != nil && (before == nil || before.Error() != err.Error()) {
		f.log.Error().Err(err).Str("file", f.path).Msg("the accounts file cannot be used; the accounts stay as they were")
	}
	return f.current
}

// health is what is wrong with the file.
func (f *accountsFile) health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refresh()
}

// refresh reads the file if it has changed since the last look.
func (f *accountsFile) refresh() error {
	info, err := os.Stat(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.problem = err
		return err
	}
	if f.current != nil && f.seen.same(info) {
		return f.problem
	}
	looked := f.now()
	fresh, err := f.read(info)
	f.seen = fileState{info: info, settled: info != nil && looked.Sub(info.ModTime()) > coarseTime}
	f.problem = err
	if err == nil {
		f.current = fresh
	}
	return err
}

func (f *accountsFile) read(info fs.FileInfo) (*directory, error) {
	if info == nil {
		if f.current != nil && len(f.current.accounts) > 0 {
			return nil, fmt.Errorf("%s is gone", f.path)
		}
		return parseAccounts(nil)
	}
	text, err := readAccounts(f.path)
	if err != nil {
		return nil, err
	}
	d, err := parseAccounts(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return d, nil
}

// readAccounts is the content of an accounts file.
func readAccounts(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostAccounts+1))
	if err == nil && len(text) > mostAccounts {
		err = fmt.Errorf("%s is larger than %d octets", path, mostAccounts)
	}
	return text, err
}
