package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

// change is a new configuration of which everything is ready that could fail: what is left to do
// cannot. It is made, or called off.
type change struct {
	cfg       *config.Config
	specs     map[string]host.Spec
	stores    map[string]*running // all of the new configuration
	added     []string            // stores that are not started yet
	swapped   []string
	removed   []string
	prepared  map[string]*host.Prepared // processes of those that are added or swapped
	table     *stores.Table
	routes    *route.Table
	secure    *secure
	listening []*listening // in the order of cfg.Listeners
	gone      []*listening
}

// Reload puts another configuration to use: all of it, or, on an error, nothing. Sessions go on,
// and no connection is refused. Reloads are made one after another, and none before the gateway
// serves.
func (g *Server) Reload(ctx context.Context, cfg *config.Config) error {
	select {
	case <-g.ready:
	case <-g.alive.Done():
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.change(ctx, func(ctx context.Context) error {
		c, err := g.plan(ctx, cfg)
		if err != nil {
			return err
		}
		g.apply(c)
		return nil
	})
}

// errRestart says that a change is beyond a reload.
var errRestart = errors.New("this takes a restart")

// plan checks a configuration against what runs, and makes everything ready that it takes beside it.
// On an error nothing of that runs any more.
func (g *Server) plan(ctx context.Context, cfg *config.Config) (*change, error) {
	switch {
	case cfg.State.Folder != g.cfg.State.Folder, cfg.State.URL != g.cfg.State.URL, cfg.StateFolder != g.cfg.StateFolder:
		return nil, fmt.Errorf("the state is somewhere else: %w", errRestart)
	case cfg.Timeouts.Lease != g.cfg.Timeouts.Lease:
		return nil, fmt.Errorf("the lease's time is another one: %w", errRestart)
	case cfg.Log.Format != g.cfg.Log.Format:
		return nil, fmt.Errorf("the log's format is another one: %w", errRestart)
	}
	c := &change{
		cfg: cfg, specs: make(map[string]host.Spec), stores: make(map[string]*running), prepared: make(map[string]*host.Prepared),
	}
	if err := g.makeReady(ctx, c); err != nil {
		c.callOff()
		return nil, err
	}
	return c, nil
}

// makeReady makes everything ready, in the order of what it costs to call off.
func (g *Server) makeReady(ctx context.Context, c *change) (err error) {
	if err := g.planStores(ctx, c); err != nil {
		return err
	}
	if c.secure, err = tlsOf(c.cfg); err != nil {
		return err
	}
	if c.table, err = g.table(c.cfg, c.stores); err != nil {
		return err
	}
	if c.routes, err = g.tokens.routesOf(c.cfg); err != nil {
		return err
	}
	if err := c.prepareStores(ctx); err != nil {
		return err
	}
	if c.listening, c.gone, err = g.openListeners(c.cfg); err != nil {
		return err
	}
	return c.secure.keep() // last: it takes the place of the one that is in use
}

// prepareStores starts the processes of the stores that are new or other ones, all at the same time.
func (c *change) prepareStores(ctx context.Context) error {
	names := slices.Concat(c.added, c.swapped)
	prepared, errs := make([]*host.Prepared, len(names)), make([]error, len(names))
	var starting sync.WaitGroup
	for i, name := range names {
		starting.Go(func() {
			var err error
			if prepared[i], err = c.stores[name].store.Prepare(ctx, c.specs[name]); err != nil {
				errs[i] = fmt.Errorf("store %q: %w", name, SettingsError(c.cfg, name, err))
			}
		})
	}
	starting.Wait()
	for i, name := range names {
		if prepared[i] != nil {
			c.prepared[name] = prepared[i]
		}
	}
	return JoinProblems(errs)
}

// callOff ends what was made ready. What runs has not noticed anything.
func (c *change) callOff() {
	var ending sync.WaitGroup
	for _, p := range c.prepared {
		ending.Go(p.Discard)
	}
	for _, name := range c.added {
		ending.Go(func() { _ = c.stores[name].store.Close() }) // nothing runs there
	}
	for _, l := range c.listening {
		if !l.opened { // it was opened for this change
			l.listener.close()
		}
	}
	ending.Wait()
}

// planStores says what becomes of each store, and lets backends check the settings of all: what
// settings refer to (a file of accounts, a certificate) can have become wrong while the settings
// stayed. So a reload refuses what "dipylon check" refuses.
func (g *Server) planStores(ctx context.Context, c *change) error {
	var changed, same []config.Store
	for _, s := range c.cfg.Stores {
		spec, err := g.specOf(c.cfg, s)
		if err != nil {
			return err
		}
		c.specs[s.Name] = spec
		r := g.stores[s.Name]
		switch {
		case r.same(spec):
			same = append(same, s)
		case r == nil:
			if r, err = g.prepare(spec); err != nil {
				return err
			}
			c.added, changed = append(c.added, s.Name), append(changed, s)
		default:
			c.swapped, changed = append(c.swapped, s.Name), append(changed, s)
		}
		c.stores[s.Name] = r
	}
	for name := range g.stores {
		if _, stays := c.specs[name]; !stays {
			c.removed = append(c.removed, name)
		}
	}
	return JoinProblems([]error{
		CheckStores(ctx, g.log, c.cfg, changed),
		onlyConfig(CheckStores(ctx, g.log, c.cfg, same)), // one that cannot be asked goes on as it is
	})
}

// apply makes the change.
func (g *Server) apply(c *change) {
	g.setLevel(c.cfg.Log.Level)
	g.track.Set(c.cfg.Track.Keep > 0)
	g.throttle.SetLimits(ThrottleLimits(c.cfg))
	g.guard.SetFloor(c.cfg.Login.Throttle.Refusal.Std())
	g.useStores(c)
	removed := g.stores
	g.stores = c.stores
	g.router.Swap(c.table)
	routes := g.routes.Swap(c.routes)
	g.reports.Store(reportsOf(c.cfg))
	g.authenticator.SetPolicy(LoginPolicy(c.cfg)) // forgets what processes have said of passwords that are replaced now
	g.watcher.Watch(c.secure.pairs)
	policies := policy.NewTable(c.cfg)
	g.policies.Put(policies)
	for i, l := range c.listening {
		wanted := c.cfg.Listeners[i]
		l.certs.current.Store(c.secure.configs[i])
		l.listener.proxy.Store(proxyOf(wanted))
		if s := shapeOf(c.cfg, wanted, policies); !l.opened || !reflect.DeepEqual(l.shape, s) {
			l.protocol = wanted.Protocol
			g.serve(l, s, wanted.ImplicitTLS())
		}
	}
	for _, l := range c.gone {
		l.listener.close()
		g.log.Info().Str("protocol", l.protocol).Str("address", l.listener.address()).Msg("not listening any more")
	}
	before, down := g.cfg.Transfer, g.down()
	g.listening, g.cfg = c.listening, c.cfg
	g.useRelay(c.cfg)
	g.relaying.Go(func() {
		g.tokens.keep(c.cfg)
		g.tokens.wake(c.cfg)
	})
	g.relaying.Go(func() { g.liftDays(g.alive, routes, c.routes) })
	g.relaying.Go(func() { g.liftCommon(g.alive, down) })
	g.relaying.Go(func() { g.releaseUnasked(g.alive, routes, c.routes) })
	g.publish()
	if g.setTransfer(c.cfg.Transfer); c.cfg.Transfer != before {
		g.relaying.Go(func() { g.liftKept(g.alive) })
	}
	g.collect(c.cfg, c.swapped)
	g.fetch(c.cfg)
	g.ask(c.cfg)
	g.warn(c.cfg)
	for _, name := range c.removed {
		g.retire(name, removed[name])
	}
}

// useStores has the prepared processes take over.
func (g *Server) useStores(c *change) {
	for name, p := range c.prepared {
		r := c.stores[name]
		if err := p.Use(); err != nil { // the store is closed: the gateway ends
			g.log.Error().Err(err).Str("store", name).Msg("the store's new process is not used")
			continue
		}
		r.spec = c.specs[name]
		if slices.Contains(c.added, name) {
			g.follow(name, r)
		}
		g.log.Info().Str("store", name).Bool("new", slices.Contains(c.added, name)).Msg("the store is in use as it is configured now")
	}
}

// retire ends a store that the configuration does not have any more, with its last session.
func (g *Server) retire(name string, r *running) {
	g.log.Info().Str("store", name).Msg("the store is removed")
	g.work.Go(func() {
		stop := context.AfterFunc(g.base, func() { _ = r.store.Close() }) // Retire gives its error, too
		defer stop()
		err := r.store.Retire()
		g.tellCalls(name)
		if again := slices.ContainsFunc(g.inForce.Load().cfg.Stores, func(s config.Store) bool { return s.Name == name }); !again {
			g.calls.Forget(name)
		}
		if err != nil {
			g.log.Warn().Err(err).Str("store", name).Msg("the store did not close in good order")
		}
	})
}
