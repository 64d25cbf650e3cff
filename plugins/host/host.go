// Package host is the gateway's end of the process boundary: it runs a backend's plugin,
// watches it, restarts it, swaps it for another, and looks like a [backends.Store] meanwhile.
//
//	store := host.New(log, host.Spec{
//		Store:    "sakes",
//		Command:  []string{"/usr/bin/dipylon", "plugin", "maildir"},
//		Settings: settings,
//	})
//	defer store.Close()
//	if err := store.Start(ctx); err != nil {
//		// not ready yet: it is tried again in the background
//	}
//	drop, err := store.Open(ctx, request)
//
// A plugin may crash, hang or lie (I10). Calls that its process did not live to answer fail
// with [ErrPluginDied], calls while there is no process with [ErrNotReady], both temporary
// failures; the process is started again, at once the first time and then with growing pauses.
// A process that answers neither its health checks nor its calls is killed. What a plugin says of
// its limits, and of when to ask again, is obeyed. Else what it says is judged in
// package convert; a maildrop session whose frames break the rules ends. What it writes to its
// outputs goes to the log, bounded.
//
// [Store.Swap] puts a new process with other settings, or another program, in the place of the
// current one without dropping a session: sessions end on the process they were opened on.
// [Store.Prepare] does its first half, for whoever changes several stores or none.
//
// # Memory
//
// A content that is open costs at most Spec.FetchWindow octets, whatever its size; a list that
// is being read a few thousand entries.
package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

// readyWait is how long a call waits for a process that is being started.
const readyWait = 2 * time.Second

// What happens to a plugin's process is an event of the gateway's log (gateway/events).
const (
	eventField  = "event"
	eventPlugin = "plugin"
)

// Store is a store whose backend runs in a plugin process. Its methods may be called from
// several goroutines at once.
type Store struct {
	log zerolog.Logger

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup
	lost chan struct{} // holds a token when there is no current generation and should be one

	swapping sync.Mutex     // around Start and Swap
	retiring sync.WaitGroup // processes that end with their last session

	mu        sync.Mutex
	spec      Spec
	epoch     int         // counts the specs
	current   *generation // the one that is ready; nil: none
	started   bool
	closed    bool
	outcome   chan struct{} // closed, and made anew, when a start has succeeded or failed
	nextStart time.Time     // when the next start is due, while there is no current
	numbers   int           // of generations
	restarts  int
	failures  int // ends and failed starts in a row
	lastErr   error
	health    error

	paused pauses

	said atomic.Pointer[backends.Description] // by the latest process
}

var (
	_ backends.Store         = (*Store)(nil)
	_ backends.Reader        = (*Store)(nil)
	_ backends.Receiver      = (*Store)(nil)
	_ backends.SessionSender = (*Store)(nil)
	_ backends.Outbox        = (*Store)(nil)
	_ backends.Authenticator = (*Store)(nil)
	_ backends.Watcher       = (*Store)(nil)
	_ backends.SendRights    = (*Store)(nil)
	_ backends.Examiner      = (*Store)(nil)
)

// New makes a store of a plugin that is not running yet.
func New(log zerolog.Logger, spec Spec) *Store {
	s := &Store{
		log:     log.With().Str("store", spec.Store).Logger(),
		spec:    spec.withDefaults(),
		lost:    make(chan struct{}, 1),
		outcome: make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

var errClosed = errors.New("the store is closed")

// Start starts the plugin and waits until it is ready. When it fails, it is tried again in the
// background until Close. Wrong settings come back as a [*backends.SettingsError]. Starting a
// store that is ready does nothing.
func (s *Store) Start(ctx context.Context) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if s.started {
		defer s.mu.Unlock()
		if s.current != nil {
			return nil
		}
		return s.notReady()
	}
	s.started = true
	s.work.Go(s.supervise)
	spec, epoch := s.spec, s.epoch
	s.mu.Unlock()
	return s.try(ctx, spec, epoch)
}

// Swap starts a new process under another spec and makes it the current one; the old one
// ends with its last session, or when its drain time-out is over. On an error the old one
// stays. Wrong settings come back as a [*backends.SettingsError].
func (s *Store) Swap(ctx context.Context, spec Spec) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	p, err := s.Prepare(ctx, spec)
	if err != nil {
		return err
	}
	return p.Use()
}

// Prepared is a process that is ready under another spec and has no calls yet: what may still
// be called off. One of Use and Discard ends it.
type Prepared struct {
	store *Store
	spec  Spec
	g     *generation
}

// Prepare starts a process under another spec, beside the current one. Wrong settings come back
// as a [*backends.SettingsError].
func (s *Store) Prepare(ctx context.Context, spec Spec) (*Prepared, error) {
	spec = spec.withDefaults()
	g, err := s.launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &Prepared{store: s, spec: spec, g: g}, nil
}

// Discard ends the process. The current one has not noticed anything.
func (p *Prepared) Discard() { p.g.stop() }

// Use makes the process the current one, as [Store.Swap] does. It does not wait for anything, and
// fails only where the store is closed.
func (p *Prepared) Use() error {
	s := p.store
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		p.g.stop()
		return errClosed
	}
	defer s.mu.Unlock()
	old := s.current
	s.spec, s.failures = p.spec, 0
	s.epoch++
	s.paused.clear()
	s.install(p.g)
	if !s.started {
		s.started = true
		s.work.Go(s.supervise)
	}
	if old != nil {
		s.retire(old)
	}
	return nil
}

// retire ends a process once its last session has ended. s.mu is held.
func (s *Store) retire(g *generation) {
	s.retiring.Add(1)
	s.work.Go(func() {
		defer s.retiring.Done()
		g.retire(s.life)
	})
}

// Retire is Close for a store whose sessions are to go on: calls that begin now fail, and the
// processes end with their last sessions, or when their drain time-out is over. A Close
// meanwhile ends them at once. Retire returns when nothing is left.
func (s *Store) Retire() error {
	s.mu.Lock()
	s.closed = true
	if current := s.current; current != nil {
		s.current = nil
		s.retire(current)
	}
	s.mu.Unlock()
	s.retiring.Wait()
	return s.Close()
}

// Close ends all processes. Calls still under way fail.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.tell()
	current := s.current
	s.current = nil
	s.end()
	if current != nil {
		s.work.Go(current.stop)
	}
	s.mu.Unlock()
	s.swapping.Lock() // a Start or Swap under way ends with s.life
	defer s.swapping.Unlock()
	s.work.Wait()
	return nil
}

// Status is what an administrator wants to know of a plugin.
type Status struct {
	Store       string
	Ready       bool
	Generation  int       // counts the processes of this store; of the current one
	PID         int       // of the current process; 0: none
	Since       time.Time // when the current process was ready
	Restarts    int       // processes that ended without being asked to
	NextStart   time.Time // when a start is due, while none is ready
	LastError   error     // why there is no process, or why the last one before this one ended
	Health      error     // what the store said at the last health check; nil: well
	Description backends.Description
	Metrics     []backends.Metric  // of the current process, at the last health check
	Warnings    []backends.Warning // likewise
	Command     []string
}

// Status says how the plugin is now.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{
		Store: s.spec.Store, Restarts: s.restarts, NextStart: s.nextStart,
		LastError: s.lastErr, Health: s.health, Command: slices.Clone(s.spec.Command),
	}
	if g := s.current; g != nil {
		status.Ready, status.Generation, status.PID = true, g.number, g.proc.pid()
		status.Since, status.Description = g.since, g.desc
		if metrics := g.metrics.Load(); metrics != nil {
			status.Metrics = slices.Clone(*metrics)
		}
		if warnings := g.warnings.Load(); warnings != nil {
			status.Warnings = slices.Clone(*warnings)
		}
	}
	return status
}

// use makes the caller a user of the current generation, which it releases. While none is
// ready it waits a moment for a start that is under way or about to be.
func (s *Store) use(ctx context.Context) (*generation, error) {
	g, outcome, err := s.take()
	if g != nil || outcome == nil {
		return g, err
	}
	wait := time.NewTimer(readyWait)
	defer wait.Stop()
	select {
	case <-outcome:
		g, _, err = s.take()
		return g, err
	case <-wait.C:
		return nil, err
	case <-ctx.Done():
		return nil, backends.AsFailure(ctx.Err())
	}
}

// take returns the current generation with the caller as a user, or why there is none and, if
// that may change soon, what to wait for.
func (s *Store) take() (*generation, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.life.Err() == nil {
		s.current.acquire()
		return s.current, nil, nil
	}
	if s.started && !s.closed && time.Until(s.nextStart) < readyWait {
		return nil, s.outcome, s.notReady()
	}
	return nil, nil, s.notReady()
}

// notReady is the failure of a call that finds no process. s.mu is held.
func (s *Store) notReady() error {
	if s.lastErr != nil {
		return backends.Fail(backends.Temporary, "store %q: %w: %v", s.spec.Store, ErrNotReady, s.lastErr)
	}
	return backends.Fail(backends.Temporary, "store %q: %w", s.spec.Store, ErrNotReady)
}

// CheckSettings starts a plugin, lets it check its settings without putting them to use, and
// ends it. Wrong settings come back as a [*backends.SettingsError].
func CheckSettings(ctx context.Context, log zerolog.Logger, spec Spec) error {
	_, err := DescribeWith(ctx, log, spec)
	return err
}

// DescribeWith is CheckSettings for who wants to know what the backend can do with the settings.
func DescribeWith(ctx context.Context, log zerolog.Logger, spec Spec) (backends.Description, error) {
	spec.Settings.Check = true
	spec.Settings.StateDir = ""
	return try(ctx, log, spec, func(*generation) error { return nil })
}

// TryStore starts a plugin as [Store.Start] does, asks whether the store behind it can be used, and
// ends it again.
func TryStore(ctx context.Context, log zerolog.Logger, spec Spec) (backends.Description, error) {
	return try(ctx, log, spec, func(g *generation) error {
		sick, err := g.askHealth(ctx)
		return errors.Join(err, sick)
	})
}

// try has a plugin for as long as a question to it takes.
func try(ctx context.Context, log zerolog.Logger, spec Spec, ask func(*generation) error) (backends.Description, error) {
	spec = spec.withDefaults()
	g, err := launch(ctx, log.With().Str("store", spec.Store).Logger(), spec, 0)
	if err != nil {
		return backends.Description{}, fmt.Errorf("store %q: %w", spec.Store, err)
	}
	defer g.stop()
	if err := ask(g); err != nil {
		return g.desc, fmt.Errorf("store %q: %w", spec.Store, err)
	}
	return g.desc, nil
}
