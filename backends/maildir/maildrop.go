package maildir

import (
	"context"
	"errors"
	"io"
	"iter"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// Open implements [backends.Reader].
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	use, err := s.inUse()
	if err != nil {
		return nil, err
	}
	a, err := s.login(ctx, use, request.Credential)
	if err != nil {
		return nil, err
	}
	if err := use.rootIsThere(); err != nil {
		return nil, err
	}
	b := use.boxes.of(a.address)
	if err := b.make(); err != nil {
		return nil, storageFailure("making a mailbox", err)
	}
	dir, err := b.open(request.Folder)
	if err != nil {
		return nil, err
	}
	id, err := b.folderID(dir)
	if err != nil {
		return nil, storageFailure("opening a folder", err)
	}
	b.sweep()
	return &maildrop{
		store: s, account: a.view(), box: b, names: use.names, id: id,
		folder: folder{disk: s.disk, dir: dir},
	}, nil
}

// open finds a folder.
func (b *box) open(name string) (dir string, err error) {
	for _, encode := range []func(string) (string, error){folderDir, folderDirUTF8} {
		sub, err := encode(name)
		if err != nil {
			return "", backends.Fail(backends.NotFound, "%q: %w", name, err).Say("there is no such folder")
		}
		dir := filepath.Join(b.dir, sub)
		info, err := b.disk.Lstat(filepath.Join(dir, "cur"))
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err != nil && !isGone(err):
			return "", storageFailure("opening a folder", err)
		}
	}
	return "", backends.Fail(backends.NotFound, "no folder %q", name).Say("there is no such folder")
}

// maildrop is one session on one folder.
type maildrop struct {
	store   *Store
	account backends.Account
	box     *box
	names   *namer
	folder  folder
	id      string // the folder's identity
	closed  atomic.Bool

	mu    sync.Mutex
	list  listing // as last scanned; nil: not yet
	told  []int64 // of each in list, the size that sizes had; -1: none. nil: not listed
	sizes *sizes  // nil: not loaded, or not needed any more
}

// Opened implements [backends.Maildrop].
func (m *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: m.account, FolderID: m.id}
}

// Close implements [backends.Maildrop].
func (m *maildrop) Close() error {
	if !m.closed.Swap(true) {
		m.saveSizes()
	}
	return nil
}

// usable fails when the session or the store has been closed.
func (m *maildrop) usable() error {
	if m.closed.Load() {
		return backends.Fail(backends.Temporary, "the maildrop has been closed")
	}
	if m.store.closed.Load() {
		return errClosed
	}
	return nil
}

// scan reads the folder and remembers it.
func (m *maildrop) scan(ctx context.Context) (listing, error) {
	l, err := m.folder.scan(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list, m.told = l, nil
	return l, nil
}

func (m *maildrop) scanned() listing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list
}

// knownSizes are the folder's sizes, read once.
func (m *maildrop) knownSizes() *sizes {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sizes == nil {
		m.sizes = loadSizes(m.store.disk, m.folder.dir)
	}
	return m.sizes
}

// saveSizes keeps what has been learned for the next session.
func (m *maildrop) saveSizes() {
	m.mu.Lock()
	l, s := m.list, m.sizes
	m.mu.Unlock()
	if l == nil || s == nil {
		return
	}
	if err := s.save(l, m.names.unique(sizesName)); err != nil {
		m.store.log.Warn().Err(err).Str("folder", m.folder.dir).Msg("sizes of messages cannot be kept; they will be counted again")
	}
}

// listed ends a List: the sizes are kept for the next session, and of those of this list no more
// than a number each. An idle session would otherwise hold every id twice.
func (m *maildrop) listed(l listing) {
	m.saveSizes()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sizes == nil || len(l) == 0 || len(m.list) != len(l) || &m.list[0] != &l[0] {
		return // there is another list by now
	}
	if told, saved := m.sizes.of(l); saved {
		m.told, m.sizes = told, nil
	}
}

// remembered is what is known of a message's size from reading it, now or in an earlier session.
func (m *maildrop) remembered(id string) (int64, bool) {
	m.mu.Lock()
	if m.sizes == nil && m.told != nil {
		defer m.mu.Unlock()
		i, found := m.list.index(id)
		if !found || m.told[i] < 0 {
			return 0, false
		}
		return m.told[i], true
	}
	m.mu.Unlock()
	return m.knownSizes().get(id)
}

// List implements [backends.Maildrop].
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		l, err := m.scan(ctx)
		if err == nil {
			err = m.usable()
		}
		if err != nil {
			yield(backends.Entry{}, err)
			return
		}
		defer m.listed(l)
		for _, r := range l {
			if r.cur && len(r.name) > r.base && hasFlag(r.name, 'T') {
				continue // marked as deleted, here or by another program
			}
			entry, err := m.entry(ctx, r)
			if errors.Is(err, errNoMessage) {
				continue
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

var errNoMessage = errors.New("this is no message")

// entry describes a message. errNoMessage: it is none.
func (m *maildrop) entry(ctx context.Context, r record) (backends.Entry, error) {
	e := backends.Entry{ID: backends.MessageID(r.id()), Exact: true}
	if r.arrived > 0 {
		e.Received = time.UnixMicro(r.arrived).UTC()
	}
	e.Seen = r.cur && len(r.name) > r.base && hasFlag(r.name, 'S')
	size, err := m.size(ctx, r)
	switch {
	case err == nil && size == noMessage:
		return e, errNoMessage
	case err == nil:
		e.Size = size
	case ctx.Err() != nil || m.usable() != nil:
		return e, backends.AsFailure(err)
	case errors.Is(err, errNotFound):
		return e, errNoMessage // removed since the scan
	default:
		// One message that cannot be read does not hide the others (I8); fetching it will tell.
		m.store.log.Error().Err(err).Str("folder", m.folder.dir).Str("message", r.id()).Msg("a message cannot be read")
		e.Size, e.Exact = -1, false
	}
	return e, nil
}

// size is the length of a message in canonical form: from what was learned before, from its
// name, or by reading it.
func (m *maildrop) size(ctx context.Context, r record) (int64, error) {
	known := m.knownSizes()
	if size, ok := known.get(r.id()); ok {
		return size, nil
	}
	if size, ok := canonicalSize(r.id()); ok && isOurs(r.id()) {
		return size, nil
	}
	if err := m.usable(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	size, err := m.measure(ctx, r)
	if err == nil {
		known.set(r.id(), size)
	}
	return size, err
}

// measure looks into a file for its length in canonical form. The W= that another program
// wrote counts line ends, and is right if the file's length is the one in the name and its
// last line has an end.
func (m *maildrop) measure(ctx context.Context, r record) (int64, error) {
	f, length, err := m.openFile(ctx, r.id())
	if errors.Is(err, errNoMessage) {
		return noMessage, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size, ok := told(f, length, r.id()); ok {
		return size, nil
	}
	return crlf.Length(&source{ctx: ctx, closed: m.isClosed, src: f})
}

func (m *maildrop) isClosed() bool { return m.usable() != nil }

// told is the size that a name tells, if it can be believed.
func told(f io.ReaderAt, length int64, id string) (int64, bool) {
	canonical, ok := canonicalSize(id)
	stored, alsoOK := storedSize(id)
	if !ok || !alsoOK || stored != length || canonical < stored || canonical > 2*stored || stored == 0 {
		return 0, false
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], stored-1); err != nil || last[0] != '\n' {
		return 0, false
	}
	return canonical, true
}
