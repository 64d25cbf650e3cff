package main

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

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/identity"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/lease"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/retention"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/state"
)

// gateway is the gateway while it runs. Its state is changed by one goroutine at a time: the
// one that starts, reloads and stops it.
type gateway struct {
	log  zerolog.Logger
	gate *levelGate

	// What outlives every configuration.
	router        *routing.Router
	authenticator *login.Authenticator
	locks         lease.Locks
	openings      lease.Openings
	dedup         *routing.StoredDedup
	policies      *policy.Current
	sessions      *policy.Sessions
	watcher       *edge.Watcher // of the certificates' files
	db            *state.DB
	index         *index.Index
	throttle      *login.SharedThrottle
	guard         *login.Guard
	tempDir       string
	lock          *stateLock

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

// newGateway prepares a gateway: folders, what is shared, sockets. Nothing is served yet, and
// what has been taken is given back by stop.
func newGateway(ctx context.Context, log zerolog.Logger, gate *levelGate, cfg *config.Config) (*gateway, error) {
	g := &gateway{
		log: log, gate: gate, cfg: cfg,
		router:   &routing.Router{},
		watcher:  &edge.Watcher{Log: log},
		policies: &policy.Current{}, sessions: &policy.Sessions{},
		tempDir: filepath.Join(cfg.StateFolder, "tmp"),
		stores:  make(map[string]*running), engines: make(map[engine]struct{}),
		failed: make(chan error, 1),
	}
	g.base, g.cut = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.openState(ctx); err != nil {
		return g, stateError(err)
	}
	g.guard = login.NewGuard(login.GuardOptions{Log: log, Throttle: g.throttle, Floor: cfg.Login.Throttle.Refusal.Std()})
	g.authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: log, Guard: g.guard,
		Directory: func() login.Directory { return g.router.Table() },
		Passwords: passwords.New(g.db), Policy: loginPolicy(cfg),
	})
	secure, err := tlsOf(cfg)
	if err != nil {
		return g, err
	}
	listening, _, err := g.openListeners(cfg)
	if err != nil {
		return g, withCode(exitTemporary, err)
	}
	for i, l := range listening {
		l.certs.current.Store(secure.configs[i])
	}
	g.watcher.Watch(secure.pairs)
	g.listening = listening
	return g, nil
}

// openState makes the state folder this process's own, and opens the database.
func (g *gateway) openState(ctx context.Context) error {
	if err := state.MakeFolder(g.tempDir); err != nil {
		return fmt.Errorf("the state folder: %w", err)
	}
	lock, err := lockState(g.cfg.StateFolder)
	if err != nil {
		return err
	}
	g.lock = lock
	if g.db, err = state.Open(ctx, stateOptions(g.log, g.cfg)); err != nil {
		return err
	}
	g.throttle = login.NewThrottle(g.log, g.db, throttleLimits(g.cfg))
	g.index = index.New(index.Options{Log: g.log, DB: g.db})
	g.openings = lease.NewOpenings(g.db)
	g.locks = lease.New(lease.Options{Log: g.log, DB: g.db, Time: g.cfg.Timeouts.Lease.Std()})
	g.dedup, err = routing.OpenDedup(ctx, routing.DedupOptions{Log: g.log, DB: g.db, Files: filepath.Join(g.cfg.StateFolder, "ledger")})
	return err
}

// openListeners gives the listeners of a configuration, with those that are there already, and
// those that it does not have any more. On an error nothing has changed.
func (g *gateway) openListeners(cfg *config.Config) (all, gone []*listening, err error) {
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

// begin starts the stores and serves.
func (g *gateway) begin(ctx context.Context) error {
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
func (g *gateway) tasks() []state.Task {
	sweeper := &maildrop.Sweeper{
		Log: g.log, Kept: &retention.Keeper{DB: g.db}, Locks: g.locks, Mailboxes: &identity.Keys{DB: g.db},
		Directory: func() login.Directory { return g.router.Table() },
	}
	tasks := slices.Concat(g.index.Tasks(), g.locks.Tasks(), g.openings.Tasks(), g.dedup.Tasks(), []state.Task{sweeper.Task()})
	return append(tasks, g.throttle.Tasks()...)
}

// stop ends the gateway: no new connections, sessions end once they have finished what they
// are at or when the context ends, and then the plugins. It is called once.
func (g *gateway) stop(ctx context.Context) error {
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
	g.lock.release()
	return errors.Join(errs...)
}
