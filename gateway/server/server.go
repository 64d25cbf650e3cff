// Package server is the running gateway. It puts together the configuration (package config), the
// stores (plugins/host), the packages between (routing, login, maildrop) and the engines (pop3,
// smtp), and changes all of it while it runs.
//
//	s, err := server.New(ctx, server.Options{Log: log}, cfg)
//	if err == nil {
//		err = s.Start(ctx)
//	}
//	…
//	err = s.Reload(ctx, changed) // sessions go on
//	…
//	err = s.Shutdown(ctx) // sessions finish what they are at
//
// listener.go is why a listener never refuses a connection during a reload, and where package edge
// is put in front of the engines.
package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Server is the gateway while it runs. One goroutine at a time starts, reloads and shuts it
// down.
type Server struct {
	log      zerolog.Logger
	setLevel func(level string)

	// What outlives every configuration.
	router        *stores.Router
	authenticator *login.Authenticator
	locks         folder.Locks
	openings      folder.Openings
	dedup         *routing.StoredDedup
	policies      *policy.Current
	sessions      *policy.Sessions
	watcher       *edge.Watcher // of the certificates' files
	db            *state.DB
	index         *index.Index
	throttle      *login.SharedThrottle
	guard         *login.Guard
	buffers       buffer.Temporary // messages on their way
	lock          *StateLock

	// What the configuration of the day has made.
	cfg       *config.Config
	stores    map[string]*running
	listening []*listening
	warned    atomic.Pointer[config.Config] // cfg, for whoever looks at its certificates

	base   context.Context // of all sessions; its end is theirs, at once
	cut    context.CancelFunc
	work   sync.WaitGroup // every goroutine
	failed chan error     // why the gateway cannot go on

	mu        sync.Mutex
	listsMost int64
	pace      *maildrop.Measuring // of the configuration of the day
	lists     *maildrop.Budget    // of listsMost octets
	engines   map[engine]struct{} // old ones that still have sessions, too
}

// Options are what a [Server] is given besides its configuration.
type Options struct {
	Log zerolog.Logger
	// SetLevel takes the log level of a configuration that was reloaded. Nil: the level stays.
	SetLevel func(level string)
}

// New prepares a gateway: folders, what is shared, sockets. Nothing is served yet. What has been
// taken is given back by Shutdown, which has to be called even when there is an error. The error
// of a state that must not be used is a [*state.Unusable]; what may work later is [ErrTemporary].
func New(ctx context.Context, o Options, cfg *config.Config) (*Server, error) {
	g := &Server{
		log: o.Log, setLevel: o.SetLevel, cfg: cfg,
		router:   &stores.Router{},
		watcher:  &edge.Watcher{Log: o.Log},
		policies: &policy.Current{}, sessions: &policy.Sessions{},
		buffers: buffer.Temporary{Folder: filepath.Join(cfg.StateFolder, "tmp")},
		stores:  make(map[string]*running), engines: make(map[engine]struct{}),
		failed: make(chan error, 1),
	}
	if g.setLevel == nil {
		g.setLevel = func(string) {}
	}
	g.base, g.cut = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.openState(ctx); err != nil {
		return g, temporary(err)
	}
	g.guard = login.NewGuard(login.GuardOptions{Log: g.log, Throttle: g.throttle, Floor: cfg.Login.Throttle.Refusal.Std()})
	g.authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: g.log, Guard: g.guard,
		Table:     g.router.Table,
		Passwords: passwords.New(g.db), Policy: LoginPolicy(cfg),
	})
	secure, err := tlsOf(cfg)
	if err != nil {
		return g, err
	}
	listening, _, err := g.openListeners(cfg)
	if err != nil {
		return g, temporary(err)
	}
	for i, l := range listening {
		l.certs.current.Store(secure.configs[i])
	}
	g.watcher.Watch(secure.pairs)
	g.listening = listening
	return g, nil
}

// ErrTemporary marks what cannot be done now, and may work later: an address is in use, the
// database does not answer.
var ErrTemporary = errors.New("try again later")

// temporaryError is an [ErrTemporary] that says no more than its reason.
type temporaryError struct{ error }

func (e temporaryError) Unwrap() error      { return e.error }
func (temporaryError) Is(target error) bool { return target == ErrTemporary }

// temporary marks an error, but that of a state that does not get better by itself.
func temporary(err error) error {
	if _, wrong := errors.AsType[*state.Unusable](err); wrong {
		return err
	}
	return temporaryError{err}
}

// openState makes the state folder this process's own, and opens the database.
func (g *Server) openState(ctx context.Context) error {
	if err := state.MakeFolder(g.buffers.Folder); err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	lock, err := LockState(g.cfg.StateFolder)
	if err != nil {
		return err
	}
	g.lock = lock
	if err := g.buffers.Sweep(0); err != nil { // the folder is this process's alone
		g.log.Warn().Err(err).Msg("an earlier process's temporary files cannot be removed")
	}
	if g.db, err = state.Open(ctx, StateOptions(g.log, g.cfg)); err != nil {
		return err
	}
	g.throttle = login.NewThrottle(g.log, g.db, ThrottleLimits(g.cfg))
	g.index = index.New(index.Options{Log: g.log, DB: g.db})
	g.openings = folder.NewOpenings(g.db)
	g.locks = folder.NewLocks(folder.LockOptions{Log: g.log, DB: g.db, Time: g.cfg.Timeouts.Lease.Std()})
	g.dedup, err = routing.OpenDedup(ctx, routing.DedupOptions{Log: g.log, DB: g.db, Files: filepath.Join(g.cfg.StateFolder, "ledger")})
	return err
}

// openListeners gives the listeners of a configuration, with those that are there already, and
// those that it does not have any more. On an error nothing has changed.
func (g *Server) openListeners(cfg *config.Config) (all, gone []*listening, err error) {
	all, left := match(g.listening, cfg.Listeners)
	var fresh []*listening
	var errs []error
	for i, l := range cfg.Listeners {
		if all[i] != nil {
			continue
		}
		d, err := openListener(g.log, l.Address, proxyOf(l))
		if err != nil {
			errs = append(errs, fmt.Errorf("listening for %s: %w", l.Protocol, err))
			continue
		}
		all[i] = &listening{listener: d, certs: &listenerTLS{}, protocol: l.Protocol}
		fresh = append(fresh, all[i])
	}
	if len(errs) == 0 {
		return all, left, nil
	}
	for _, l := range fresh {
		l.listener.close()
	}
	return nil, nil, errors.Join(errs...)
}

// match finds, for each listener that is wanted, the one that is there already, or nil; left
// are those that nobody wants. A socket can go on with another protocol.
func match(there []*listening, wanted []config.Listener) (found, left []*listening) {
	found, left = make([]*listening, len(wanted)), slices.Clone(there)
	for _, fits := range []func(*listening, config.Listener) bool{
		func(l *listening, w config.Listener) bool { return l.listener.address() == w.Address },
		func(l *listening, w config.Listener) bool {
			return l.listener.asked == w.Address && l.protocol == w.Protocol
		},
		func(l *listening, w config.Listener) bool {
			return l.listener.asked == w.Address && !strings.HasSuffix(w.Address, ":0")
		},
	} {
		for i, w := range wanted {
			if found[i] != nil {
				continue
			}
			if at := slices.IndexFunc(left, func(l *listening) bool { return fits(l, w) }); at >= 0 {
				found[i] = left[at]
				left = slices.Delete(left, at, at+1)
			}
		}
	}
	return found, left
}

// maintenanceEvery is how often the state is cleaned up.
const maintenanceEvery = time.Hour

// Start starts the stores and serves. The error of settings that are wrong is a [*config.Error].
func (g *Server) Start(ctx context.Context) error {
	if err := g.startStores(ctx, g.cfg); err != nil {
		return err
	}
	table, err := g.table(g.cfg, g.stores)
	if err != nil {
		return err
	}
	g.router.Swap(table)
	g.work.Go(func() { g.watcher.Run(g.base, edge.LookEvery) })
	policies := policy.NewTable(g.cfg)
	g.policies.Put(policies)
	for i, l := range g.cfg.Listeners {
		g.serve(g.listening[i], shapeOf(g.cfg, l, policies), l.ImplicitTLS())
	}
	g.warn(g.cfg)
	g.work.Go(func() { g.watchCertificates(g.base) })
	g.work.Go(func() { state.Maintain(g.base, g.log, maintenanceEvery, g.tasks()...) })
	return nil
}

// tasks are what the state, and the mailboxes by it, have to be cleaned of.
func (g *Server) tasks() []state.Task {
	sweeper := &maildrop.Sweeper{
		Log: g.log, Retention: &folder.Retention{DB: g.db}, Locks: g.locks, Keys: folder.NewKeys(g.db, g.index),
		Table: g.router.Table,
	}
	tasks := slices.Concat(g.index.Tasks(), g.locks.Tasks(), g.openings.Tasks(), g.dedup.Tasks(), []state.Task{sweeper.Task()})
	return append(tasks, g.throttle.Tasks()...)
}

// Shutdown ends the gateway: no new connections, sessions end once they have finished what they
// are at or when the context ends, and then the plugins. It is called once.
func (g *Server) Shutdown(ctx context.Context) error {
	for _, l := range g.listening {
		l.listener.close()
	}
	g.mu.Lock()
	var engines []engine
	for e := range g.engines {
		engines = append(engines, e)
	}
	g.mu.Unlock()
	errs := make([]error, len(engines))
	var ending sync.WaitGroup
	for i, e := range engines {
		ending.Go(func() { errs[i] = e.Shutdown(ctx) })
	}
	ending.Wait()
	g.cut()
	g.closeStores()
	g.work.Wait()
	if g.db != nil {
		g.locks.Close()
		g.throttle.Close()
		errs = append(errs, g.db.Close())
	}
	g.lock.Release()
	return errors.Join(errs...)
}

// Cut ends all sessions at once. Shutdown waits for them still.
func (g *Server) Cut() { g.cut() }

// Failed tells why the gateway cannot go on: it is to be shut down then.
func (g *Server) Failed() <-chan error { return g.failed }

// Config is the configuration in force.
func (g *Server) Config() *config.Config { return g.cfg }

// Listener is a listener of the configuration in force.
type Listener struct {
	Protocol string
	Address  string // where it is, whatever port was asked for
}

// Listeners are the listeners, in the configuration's order.
func (g *Server) Listeners() []Listener {
	var all []Listener
	for _, l := range g.listening {
		all = append(all, Listener{Protocol: l.protocol, Address: l.listener.address()})
	}
	return all
}
