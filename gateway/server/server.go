// Package server is the running gateway. It puts together the configuration (package config), the
// stores (plugins/host), the packages between (routing, login, maildrop) and the engines (pop3,
// smtp), and changes all of it while it runs.
//
//	s, err := server.New(ctx, server.Options{Log: log}, cfg)
//	…
//	err = s.Run(ctx)             // until ctx ends; meanwhile, in other goroutines,
//	err = s.Reload(ctx, changed) // sessions go on
//	seen := s.Snapshot()         // listeners, stores, sessions
//	…
//	err = s.Shutdown(ctx)        // sessions finish what they are at
//
// listener.go is why a listener never refuses a connection during a reload, and where package edge
// is put in front of the engines.
package server

import (
	"cmp"
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
	"github.com/dipylon/dipylon/gateway/asking"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/dequeue"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/outbox"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/track"
	"github.com/dipylon/dipylon/gateway/vault"
)

// Server is the gateway while it runs. Its methods may be called at the same time.
type Server struct {
	log      zerolog.Logger
	setLevel func(level string)
	version  string
	began    time.Time

	// What outlives every configuration.
	router        *stores.Router
	calls         stores.Counters // of calls to the stores
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
	spool         *spool.Spool     // mail in transit
	winmail       *content.Winmail // opens TNEF in it, and in what clients read
	gate          relay.Gate       // what of it does not leave now
	quota         *quota.Counts    // of the recipients of a day
	devices       *devices.Registry
	track         *track.Recorder // what became of messages
	endTrack      func()          // once nothing is logged any more; nil: it has not begun
	routes        atomic.Pointer[route.Table]
	tokens        tokenSources // of the routes
	vault         *vault.Vault
	reports       atomic.Pointer[reports.Settings]
	confirmed     routing.Confirmed
	metrics       *metrics
	attention     *attention.Registry
	mailed        mailed
	queued        *queueCount        // for metrics
	transit       *queueCount        // for what needs attention: metrics have numbers of their own moment
	collector     *outbox.Collector  // of the mail that stores want sent
	fetcher       *collect.Collector // of mail from servers elsewhere
	dequeuer      *dequeue.Dequeuer  // of mail that waits until it is asked for
	asker         *asking.Asker      // of servers elsewhere for mail that waits there
	lock          *StateLock

	// turn has a place for whoever starts, reloads or shuts down. What the current configuration
	// has made is theirs alone; others read inForce, which they publish.
	turn      chan struct{}
	cfg       *config.Config
	relayed   relaySettings // of the relay that runs
	stopRelay context.CancelFunc
	relay     atomic.Pointer[relay.Relay]
	relayCut  context.Context // ends when relays have no more time for what is under way
	cutRelays context.CancelFunc
	stores    map[string]*running
	listening []*listening
	inForce   atomic.Pointer[inForce]

	ready    chan struct{}   // closed when the gateway serves
	alive    context.Context // ends when Shutdown begins
	stopping context.CancelFunc

	base context.Context // of all sessions; its end is theirs, at once
	cut  context.CancelFunc
	work sync.WaitGroup // every goroutine, but for
	// relaying, those of the relays, which need stores and state until their end.
	relaying sync.WaitGroup
	failed   chan error // why the gateway cannot go on

	mu        sync.Mutex
	listsMost int64
	pace      *maildrop.Measuring // of the current configuration
	lists     *maildrop.Budget    // of listsMost octets
	engines   map[engine]Listener // old ones that still have sessions, too
}

// Options are what a [Server] is given besides its configuration.
type Options struct {
	Log zerolog.Logger
	// SetLevel takes the log level of a configuration that was reloaded. Nil: the level stays.
	SetLevel func(level string)
	// Version is what the gateway calls itself in its status.
	Version string
	// Track takes events on messages out of the log, for the state to keep. Nil: they are not kept.
	Track *track.Recorder
}

// New prepares a gateway: folders, what is shared, sockets. Nothing is served before Run. The
// error of a state that must not be used is a [*state.Unusable]; what may work later is
// [ErrTemporary].
func New(ctx context.Context, o Options, cfg *config.Config) (*Server, error) {
	g := &Server{
		log: o.Log, setLevel: o.SetLevel, version: o.Version, began: time.Now(), track: cmp.Or(o.Track, track.NewRecorder()), cfg: cfg,
		router:   &stores.Router{},
		watcher:  &edge.Watcher{Log: o.Log},
		policies: &policy.Current{}, sessions: &policy.Sessions{},
		buffers: buffer.Temporary{Folder: filepath.Join(cfg.StateFolder, "tmp")},
		stores:  make(map[string]*running), engines: make(map[engine]Listener),
		turn: make(chan struct{}, 1), ready: make(chan struct{}), failed: make(chan error, 1),
	}
	g.metrics = newMetrics(g)
	g.attention = g.newAttention()
	g.mailed.day = make(map[string]string)
	g.winmail = g.newWinmail()
	g.collector = g.newCollector()
	if g.setLevel == nil {
		g.setLevel = func(string) {}
	}
	g.base, g.cut = context.WithCancel(context.WithoutCancel(ctx))
	g.alive, g.stopping = context.WithCancel(g.base)
	g.relayCut, g.cutRelays = context.WithCancel(g.base)
	if err := g.prepareAll(ctx); err != nil {
		if closing := g.Shutdown(ctx); closing != nil {
			g.log.Warn().Err(closing).Msg("what was opened did not close in good order")
		}
		return nil, err
	}
	g.publish()
	return g, nil
}

// prepareAll opens the state and the sockets.
func (g *Server) prepareAll(ctx context.Context) error {
	if err := g.openState(ctx); err != nil {
		return Temporary(err)
	}
	g.collector.Quarantine = &folder.Quarantine{DB: g.db}
	g.fetcher, g.dequeuer, g.asker = g.newFetcher(), g.newDequeuer(), g.newAsker()
	g.guard = login.NewGuard(login.GuardOptions{Log: g.log, Throttle: g.throttle, Floor: g.cfg.Login.Throttle.Refusal.Std()})
	kept := passwords.New(g.db)
	g.devices = devices.New(devices.Options{Log: g.log, DB: g.db, Passwords: kept, Counts: g.quota, Observe: g.metrics.device})
	g.authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: g.log, Guard: g.guard,
		Table:     g.router.Table,
		Passwords: kept, Devices: g.devices, Policy: LoginPolicy(g.cfg),
	})
	g.tokens.log, g.tokens.vault = g.log, g.vault
	routes, err := g.tokens.routesOf(g.cfg)
	if err != nil {
		return err
	}
	g.routes.Store(routes)
	g.reports.Store(reportsOf(g.cfg))
	secure, err := tlsOf(g.cfg)
	if err != nil {
		return err
	}
	listening, _, err := g.openListeners(g.cfg)
	if err != nil {
		return Temporary(err)
	}
	g.listening = listening
	if err := secure.keep(); err != nil {
		return err
	}
	for i, l := range listening {
		l.certs.current.Store(secure.configs[i])
	}
	g.watcher.Watch(secure.pairs)
	return nil
}

// ErrTemporary marks what cannot be done now, and may work later: an address is in use, the
// database does not answer.
var ErrTemporary = errors.New("try again later")

// temporaryError is an [ErrTemporary] that says no more than its reason.
type temporaryError struct{ error }

func (e temporaryError) Unwrap() error      { return e.error }
func (temporaryError) Is(target error) bool { return target == ErrTemporary }

// Temporary marks an error as [ErrTemporary], but that of a state that does not get better by itself.
func Temporary(err error) error {
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
	options := StateOptions(g.log, g.cfg)
	options.Alone = true
	if g.db, err = state.Open(ctx, options); err != nil {
		return err
	}
	g.work.Go(func() { g.watchDisk(g.db.Failed()) })
	g.throttle = login.NewThrottle(g.log, g.db, ThrottleLimits(g.cfg))
	g.index = index.New(index.Options{Log: g.log, DB: g.db})
	g.openings = folder.NewOpenings(g.db)
	g.quota = quota.New(g.db)
	g.vault = vault.New(g.db)
	g.locks = folder.NewLocks(folder.LockOptions{Log: g.log, DB: g.db, Time: g.cfg.Timeouts.Lease.Std()})
	g.dedup, err = routing.OpenDedup(ctx, routing.DedupOptions{Log: g.log, DB: g.db, Files: filepath.Join(g.cfg.StateFolder, "ledger")})
	if err != nil {
		return err
	}
	if err := g.openSpool(ctx); err != nil {
		return err
	}
	g.endTrack = startTrack(g.track, g.log, g.cfg, g.db, func(ctx context.Context) error { return g.spool.Room(ctx, 0) })
	return nil
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

// tasks are what the state, and the mailboxes by it, have to be cleaned of.
func (g *Server) tasks() []state.Task {
	keys := folder.NewKeys(g.db, g.index)
	sweeper := &maildrop.Sweeper{
		Log: g.log, Retention: &folder.Retention{DB: g.db}, Locks: g.locks, Keys: keys,
		Table: g.router.Table,
	}
	tasks := slices.Concat(g.index.Tasks(), keys.Tasks(), g.locks.Tasks(), g.openings.Tasks(), g.dedup.Tasks(), []state.Task{sweeper.Task(), g.quota.Task()})
	tasks = append(tasks, track.Tasks(g.db, func() time.Duration { return g.Snapshot().Config.Track.Keep.Std() })...)
	return slices.Concat(tasks, g.throttle.Tasks(), g.fetcher.Tasks(), g.vault.Tasks())
}
