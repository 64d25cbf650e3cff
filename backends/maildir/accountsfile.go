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
	file    fs.FileInfo // what current was read from
	seen    fileState
	lacking time.Time // since when what is read lacks accounts of current, and does not count yet; zero: it does not
	problem error     // what was wrong at the last look; nil: nothing
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
	if err == nil && f.halfWritten(info, fresh, looked) {
		f.problem = nil
		return nil // the next look reads it again
	}
	f.seen = fileState{info: info, settled: info != nil && looked.Sub(info.ModTime()) > coarseTime}
	f.problem = err
	if err == nil {
		f.current, f.file = fresh, info
	}
	return err
}

// halfWritten says whether what was read may be a part of a file that is written in place: it is shorter
// than what the same file had, or empty, and accounts are missing. Who logged in would be told that the
// password is wrong. It is read again until it has been so for [coarseTime], and counts then.
func (f *accountsFile) halfWritten(info fs.FileInfo, fresh *directory, now time.Time) bool {
	if f.current == nil || info == nil {
		return false
	}
	inPlace := fresh.octets == 0 || os.SameFile(f.file, info) && fresh.octets < f.current.octets
	missing := fresh.lacks(f.current)
	if !inPlace || missing == 0 {
		f.lacking = time.Time{}
		return false
	}
	log, first := f.log.Warn().Str("file", f.path).Int("missing", missing), f.lacking.IsZero()
	if now.Sub(info.ModTime()) > coarseTime || !first && now.Sub(f.lacking) > coarseTime {
		f.lacking = time.Time{}
		log.Msg("accounts are missing in the accounts file: nobody can log in to them any more")
		return false
	}
	if first {
		f.lacking = now
		log.Msg("accounts are missing in the accounts file, which may be half written: it counts if it stays so")
	}
	return true
}

func (f *accountsFile) read(info fs.FileInfo) (*directory, error) {
	if info == nil {
		if f.current != nil && len(f.current.accounts) > 0 {
			return nil, fmt.Errorf("%s is gone", f.path)
		}
		d, err := parseAccounts(nil)
		if err == nil {
			d.nowhere = f.path
		}
		return d, err
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
