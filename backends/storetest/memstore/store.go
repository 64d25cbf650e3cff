package memstore

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Store is a mail store in memory. It implements [backends.Store], [backends.Reader],
// [backends.Receiver], [backends.SessionSender], [backends.Outbox], [backends.Authenticator], [backends.Watcher] and
// [backends.SendRights].
type Store struct {
	now func() time.Time // for tests

	// alive ends with Close: every wait of the store ends with it.
	alive context.Context
	end   context.CancelFunc

	mu         sync.Mutex
	configured bool
	settings   settings
	instance   string              // makes ids unlike those of another process
	last       uint64              // the number of the newest message
	accounts   map[string]*account // by login name and by address, lower case
	mailboxes  map[string]*account // by address, lower case
	grants     map[string]grant
	taken      map[taking]backends.MessageID
	outbox     []*outgoing
	posted     chan struct{} // closed, and made anew, when something comes into outbox
	faults     []*Fault
	watchers   map[chan backends.Hint]struct{}
	sendings   int // how often EndSending was called
	sendLogins int
}

// New returns a store that is not configured yet.
func New() *Store {
	alive, end := context.WithCancel(context.Background())
	return &Store{
		now: time.Now, alive: alive, end: end, instance: random(6),
		accounts: make(map[string]*account), mailboxes: make(map[string]*account),
		grants: make(map[string]grant), taken: make(map[taking]backends.MessageID),
		watchers: make(map[chan backends.Hint]struct{}),
	}
}

// Describe says what the store is. Capabilities stay zero: it has all that it implements.
func (s *Store) Describe(context.Context) (backends.Description, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := backends.Description{
		Name:        "memstore",
		Version:     "1.0.0",
		Vendor:      "Dipylon",
		Credentials: s.credentials(),
		Mechanisms:  []string{ntlmV2},
		ExactSizes:  true,
		Limits:      backends.Limits{MessageSize: s.settings.MessageSize, FetchesAtOnce: 8},
		Reading:     backends.Reading{Disposals: []backends.Disposal{backends.DisposalTrash}, MarksSeen: true, Folders: true, Measures: true},
	}
	return d, nil
}

// Configure checks the settings and makes the accounts that they name.
func (s *Store) Configure(_ context.Context, given backends.Settings) error {
	read, err := read(given)
	if err != nil || given.Check {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings, s.faults = read, read.Faults
	for _, as := range read.Accounts {
		a := newAccount(as)
		s.accounts[strings.ToLower(as.User)] = a
		for _, address := range a.addresses() {
			s.accounts[strings.ToLower(address)] = a
			s.mailboxes[strings.ToLower(address)] = a
		}
	}
	s.configured = true
	return nil
}

// Health is nil unless a fault says otherwise.
func (s *Store) Health(ctx context.Context) error { return s.enter(ctx, "health") }

// Close ends every wait, every open maildrop and every content.
func (s *Store) Close() error {
	s.end()
	return nil
}

// enter is how every call begins: with what forbids it, the faults for it included.
func (s *Store) enter(ctx context.Context, call string) error {
	s.mu.Lock()
	configured := s.configured
	s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return backends.Fail(backends.Temporary, "%s: %w", call, ctx.Err())
	case s.alive.Err() != nil:
		return backends.Fail(backends.Temporary, "%s: the store is closed", call)
	case !configured:
		return backends.Fail(backends.Temporary, "%s: the store is not configured", call)
	}
	return s.suffer(ctx, s.strikeNow(call, before))
}

// leave is how every call ends that has done something: a late fault makes it fail after all.
func (s *Store) leave(ctx context.Context, call string) error {
	return s.suffer(ctx, s.strikeNow(call, after))
}
