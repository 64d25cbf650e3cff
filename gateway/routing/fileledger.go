package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// FileLedger is a Ledger in a folder: one small file for each unfinished attempt, named
// "<fingerprint>.<key>". Make it with [OpenLedger]. One process uses a folder.
type FileLedger struct {
	o     LedgerOptions
	mu    sync.Mutex
	known map[string][]*record // by fingerprint
	order []*record            // oldest first; those that are gone are skipped
	count int
}

// LedgerOptions are what a FileLedger is made of. Log and Dir are needed; the rest has
// defaults, given in brackets.
type LedgerOptions struct {
	Log zerolog.Logger
	Dir string // made where it is missing
	// Keep is how long an attempt is remembered: as long as clients try again (RFC 5321
	// §4.5.4.1 has four to five days) [7 days].
	Keep time.Duration
	// Most is how many are remembered; the oldest goes first [10,000].
	Most int
	Now  func() time.Time // [time.Now]

	// step is asked before each step of writing, for tests that break it off there.
	step func(name string) error
}

// record is an attempt's place in the folder.
type record struct {
	fingerprint, key string
	written          time.Time
	taken, gone      bool
}

func (r *record) name() string { return r.fingerprint + "." + r.key }

// OpenLedger opens a folder, and removes from it what is too old or was never finished.
func OpenLedger(o LedgerOptions) (*FileLedger, error) {
	defaultTo(&o.Keep, 7*24*time.Hour)
	defaultTo(&o.Most, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.step == nil {
		o.step = func(string) error { return nil }
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	files, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &FileLedger{o: o, known: make(map[string][]*record)}
	for _, file := range files {
		l.find(file)
	}
	slices.SortFunc(l.order, func(a, b *record) int { return a.written.Compare(b.written) })
	l.trim()
	return l, nil
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// find takes a file of an earlier process in.
func (l *FileLedger) find(file fs.DirEntry) {
	fingerprint, key, ok := strings.Cut(file.Name(), ".")
	info, err := file.Info()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	if !ok || strings.HasSuffix(key, tempSuffix) || len(fingerprint) != 64 {
		_ = os.Remove(filepath.Join(l.o.Dir, file.Name())) // it is tried again at the next start
		return
	}
	l.insert(&record{fingerprint: fingerprint, key: key, written: info.ModTime()})
}

func (l *FileLedger) insert(r *record) {
	l.known[r.fingerprint] = append(l.known[r.fingerprint], r)
	l.order = append(l.order, r)
	l.count++
}

// trim forgets what is too old, and the oldest beyond the bound. One that a transaction has
// taken is left to it.
func (l *FileLedger) trim() {
	limit := l.o.Now().Add(-l.o.Keep)
	kept := l.order[:0]
	for _, r := range l.order {
		switch {
		case r.gone:
		case !r.taken && (r.written.Before(limit) || l.count > l.o.Most):
			l.remove(r)
		default:
			kept = append(kept, r)
		}
	}
	clear(l.order[len(kept):])
	l.order = kept
}

// remove forgets a record and its file.
func (l *FileLedger) remove(r *record) {
	r.gone = true
	l.count--
	rest := slices.DeleteFunc(l.known[r.fingerprint], func(k *record) bool { return k == r })
	if len(rest) == 0 {
		delete(l.known, r.fingerprint)
	} else {
		l.known[r.fingerprint] = rest
	}
	if err := os.Remove(filepath.Join(l.o.Dir, r.name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.o.Log.Error().Err(err).Msg("cannot forget a delivery; its recipients may be left out of an identical message")
	}
}

// Len is the number of attempts that are remembered.
func (l *FileLedger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Take implements [Ledger].
func (l *FileLedger) Take(_ context.Context, fingerprint string, recipients []string) (*Attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range slices.Clone(l.known[fingerprint]) {
		if r.taken || r.written.Before(l.o.Now().Add(-l.o.Keep)) {
			continue
		}
		a, err := l.read(r)
		if err != nil {
			l.o.Log.Error().Err(err).Msg("a delivery's record cannot be read; it is forgotten")
			l.remove(r)
			continue
		}
		if a.knows(recipients) {
			r.taken = true
			return a, nil
		}
	}
	return newAttempt(fingerprint, l.o.Now()), nil
}

func (l *FileLedger) read(r *record) (*Attempt, error) {
	octets, err := os.ReadFile(filepath.Join(l.o.Dir, r.name()))
	if err != nil {
		return nil, err
	}
	a := &Attempt{Fingerprint: r.fingerprint, Again: true}
	if err := json.Unmarshal(octets, a); err != nil {
		return nil, err
	}
	if a.Key != r.key {
		return nil, fmt.Errorf("the record %s is another's", r.name())
	}
	return a, nil
}

// Put implements [Ledger]. Writers of several attempts do not wait for each other.
func (l *FileLedger) Put(_ context.Context, a *Attempt) error {
	r := l.recordOf(a)
	switch {
	case a.empty() && r == nil:
		return nil
	case a.empty():
		return l.forget(r)
	}
	there, err := l.write(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r != nil:
		// After an error the old record stays. Whom it names has a copy of these very octets:
		// at worst an identical message of the next days is not delivered a second time.
		r.taken = false
	case there:
		l.insert(&record{fingerprint: a.Fingerprint, key: a.Key, written: l.o.Now()})
	}
	if l.due() {
		l.trim()
	}
	return err
}

// forget removes a record for good: one that came back after a power failure would keep an
// identical message of later from its recipients.
func (l *FileLedger) forget(r *record) error {
	l.mu.Lock()
	l.remove(r)
	l.mu.Unlock()
	return syncDir(l.o.Dir)
}

// due says that trim has something to do: expiry needs no timer of its own.
func (l *FileLedger) due() bool {
	if len(l.order) == 0 {
		return false
	}
	oldest := l.order[0]
	return l.count > l.o.Most || len(l.order) > 2*l.count+100 || oldest.gone || oldest.written.Before(l.o.Now().Add(-l.o.Keep))
}

func (l *FileLedger) recordOf(a *Attempt) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.known[a.Fingerprint] {
		if r.key == a.Key {
			return r
		}
	}
	return nil
}

const tempSuffix = ".tmp"

// write puts an attempt on stable storage: the file under another name, synced, renamed, and
// the folder synced. A reader finds the old one or the new one; there says that it would be the
// new one, even where it is not known to be durable.
func (l *FileLedger) write(a *Attempt) (there bool, err error) {
	octets, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("ledger: %w", err)
	}
	path := filepath.Join(l.o.Dir, a.Fingerprint+"."+a.Key)
	temp := path + tempSuffix
	defer func() {
		if err != nil {
			err = fmt.Errorf("ledger: %w", errors.Join(err, removeIfThere(temp)))
		}
	}()
	if err := l.writeSynced(temp, octets); err != nil {
		return false, err
	}
	if err := l.o.step("rename"); err != nil {
		return false, err
	}
	if err := os.Rename(temp, path); err != nil {
		return false, err
	}
	if err := l.o.step("sync folder"); err != nil {
		return true, err
	}
	return true, syncDir(l.o.Dir)
}

func (l *FileLedger) writeSynced(path string, octets []byte) (err error) {
	if err := l.o.step("create"); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	half := len(octets) / 2
	if _, err := f.Write(octets[:half]); err != nil {
		return err
	}
	if err := l.o.step("write"); err != nil {
		return err
	}
	if _, err := f.Write(octets[half:]); err != nil {
		return err
	}
	if err := l.o.step("sync"); err != nil {
		return err
	}
	return f.Sync()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
