package maildir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/backends/durable"
)

// version is the backend's own.
const version = "1.0.0"

// fetchesAtOnce is how many messages of one maildrop are worth reading at the same time.
const fetchesAtOnce = 4

// clock is the time, unless a test has its own.
var clock = time.Now

// Store is a [backends.Store], [backends.Reader], [backends.Receiver] and, if its settings say so, [backends.Outbox] on
// Maildir folders.
type Store struct {
	log      zerolog.Logger
	disk     fileSystem
	now      func() time.Time
	verifier argon2id.Verifier
	closed   atomic.Bool
	syncs    durable.Folders // of folders with messages

	mu  sync.Mutex
	use *inUse // nil: not configured

	checked atomic.Pointer[settings] // what Configure has found good
}

// inUse is what Configure puts to use. It is not changed any more.
type inUse struct {
	settings
	accounts *accountsFile
	names    *namer
	boxes    *boxes
	keys     *keyLocks
	recent   *recentKeys
	outboxes *outboxes
}

// Option changes a store that New makes.
type Option func(*Store)

// WithLogger makes the store log; without it, it is silent.
func WithLogger(log zerolog.Logger) Option { return func(s *Store) { s.log = log } }

// New returns a store that waits for Configure.
func New(options ...Option) *Store {
	s := &Store{
		log:  zerolog.Nop(),
		disk: disk{},
		now:  clock,
		// One password at a time for each processor: more would cost memory and win nothing.
		verifier: argon2id.NewVerifier(runtime.GOMAXPROCS(0)),
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// Describe implements [backends.Store].
func (s *Store) Describe(context.Context) (backends.Description, error) {
	d := backends.Description{
		Settings: schema(),
		Name:     "maildir", Version: version, Vendor: "Dipylon",
		Credentials: []backends.CredentialKind{backends.CredentialPassword},
		ExactSizes:  true,
		Limits:      backends.Limits{FetchesAtOnce: fetchesAtOnce},
		Reading: backends.Reading{
			Disposals: []backends.Disposal{backends.DisposalTrash, backends.DisposalMark}, MarksSeen: true, Folders: true,
		},
	}
	d.Capabilities = backends.CapabilitiesOf(s)
	d.Capabilities.Outbox = false
	if checked := s.checked.Load(); checked != nil {
		d.Capabilities.Outbox = checked.Outbox
		d.Limits.MessageSize = int64(checked.MessageLimit)
		if checked.ActFor {
			d.Credentials = append(d.Credentials, backends.CredentialImpersonation)
		}
	}
	return d, nil
}

// Configure implements [backends.Store].
func (s *Store) Configure(_ context.Context, in backends.Settings) error {
	checked, err := readSettings(in)
	if err != nil {
		return err
	}
	s.checked.Store(&checked) // for Describe, also where nothing but a check is asked for
	if in.Check {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.use != nil || s.closed.Load() {
		return backends.Fail(backends.Permanent, "the store has been configured already, or closed")
	}
	if err := makeRoot(checked.Root); err != nil {
		return &backends.SettingsError{Problems: []backends.SettingsProblem{{Path: "root", Problem: err.Error()}}}
	}
	accounts := &accountsFile{path: checked.Accounts, log: s.log, now: s.now}
	if err := accounts.load(); err != nil {
		return &backends.SettingsError{Problems: []backends.SettingsProblem{{Path: "accounts", Problem: err.Error()}}}
	}
	s.use = &inUse{
		settings: checked,
		accounts: accounts,
		names:    newNamer(checked.host, s.now),
		boxes:    newBoxes(s.disk, s.now, checked.Root),
		keys:     newKeyLocks(),
		recent:   newRecentKeys(recentDeliveries),
	}
	s.use.outboxes = newOutboxes(s.use, s.disk, s.now, s.log)
	return nil
}

// makeRoot makes the root folder, and those above it, durably.
func makeRoot(root string) error {
	err := disk{}.Mkdir(root)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(root) != root {
		if err := makeRoot(filepath.Dir(root)); err != nil {
			return err
		}
		err = disk{}.Mkdir(root)
	}
	if err != nil {
		info, e := os.Stat(root) // it may be a link to a folder
		if e != nil || !info.IsDir() {
			return err
		}
	}
	return durable.SyncFolder(filepath.Dir(root))
}

// inUse is what has been configured, as long as the store is open.
func (s *Store) inUse() (*inUse, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.use == nil {
		return nil, backends.Fail(backends.Temporary, "the store has not been configured")
	}
	return s.use, nil
}

var errClosed = backends.Fail(backends.Temporary, "the store has been closed")

// Health implements [backends.Store].
func (s *Store) Health(context.Context) error {
	use, err := s.inUse()
	if err != nil {
		return err
	}
	if err := use.rootIsThere(); err != nil {
		return err
	}
	if err := use.accounts.health(); err != nil {
		return backends.Fail(backends.Temporary, "the accounts file cannot be used, the last good one is in force: %w", err)
	}
	return nil
}

// rootIsThere tells a mailbox that has no folder yet from a disk that is not mounted.
func (u *inUse) rootIsThere() error {
	if err := isFolderThatHolds(u.Root); err != nil {
		return backends.Fail(backends.Temporary, "the root folder cannot be used: %w", err)
	}
	return nil
}

// Close implements [backends.Store]. Calls under way fail at their next step.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}
