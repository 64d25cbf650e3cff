package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/plugins/host"
)

// change is a new configuration that was checked in every way that leaves the running gateway
// as it is.
type change struct {
	cfg       *config.Config
	specs     map[string]host.Spec
	added     map[string]*running // stores that are not started yet
	swapped   []string
	removed   []string
	secure    *secure
	listening []*listening // in the order of cfg.Listeners
	gone      []*listening
}

// Reload puts another configuration to use. Sessions go on, and no connection is refused. On
// an error nothing has changed. Reloads are made one after another, and none before the gateway
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
		g.apply(ctx, c)
		return nil
	})
}

// errRestart says that a change is beyond a reload.
var errRestart = errors.New("this takes a restart")

// plan checks a configuration against what runs.
func (g *Server) plan(ctx context.Context, cfg *config.Config) (*change, error) {
	switch {
	case cfg.State.Folder != g.cfg.State.Folder, cfg.State.URL != g.cfg.State.URL, cfg.StateFolder != g.cfg.StateFolder:
		return nil, fmt.Errorf("the state is somewhere else: %w", errRestart)
	case cfg.Timeouts.Lease != g.cfg.Timeouts.Lease:
		return nil, fmt.Errorf("the lease's time is another one: %w", errRestart)
	case cfg.Log.Format != g.cfg.Log.Format:
		return nil, fmt.Errorf("the log's format is another one: %w", errRestart)
	}
	c := &change{cfg: cfg, specs: make(map[string]host.Spec), added: make(map[string]*running)}
	if err := g.planStores(ctx, c); err != nil {
		return nil, err
	}
	var err error
	if c.secure, err = tlsOf(cfg); err != nil {
		return nil, err
	}
	c.listening, c.gone, err = g.openListeners(cfg) // last, as it takes something
	return c, err
}

// planStores says what becomes of each store, and lets backends check the settings of all: what
// settings refer to (a file of accounts, a certificate) can have become wrong while the settings
// stayed. So a reload refuses what "dipylon check" and the next start would refuse.
func (g *Server) planStores(ctx context.Context, c *change) error {
	var changed, same []config.Store
	for _, s := range c.cfg.Stores {
		spec, err := SpecOf(c.cfg, s)
		if err != nil {
			return err
		}
		c.specs[s.Name] = spec
		switch r := g.stores[s.Name]; {
		case r.same(spec):
			same = append(same, s)
			continue
		case r == nil:
			if c.added[s.Name], err = g.prepare(spec); err != nil {
				return err
			}
		default:
			c.swapped = append(c.swapped, s.Name)
		}
		changed = append(changed, s)
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

// apply makes the change. What goes wrong now is logged, and the store that it concerns goes
// on as it was.
func (g *Server) apply(ctx context.Context, c *change) {
	g.setLevel(c.cfg.Log.Level)
	g.authenticator.SetPolicy(LoginPolicy(c.cfg))
	g.throttle.SetLimits(ThrottleLimits(c.cfg))
	g.guard.SetFloor(c.cfg.Login.Throttle.Refusal.Std())
	g.changeStores(ctx, c)
	removed := make(map[string]*running)
	for _, name := range c.removed {
		removed[name] = g.stores[name]
		delete(g.stores, name)
	}
	if table, err := g.table(c.cfg, g.stores); err != nil {
		g.log.Error().Err(err).Msg("the domains stay as they were")
	} else {
		g.router.Swap(table)
	}
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
	g.listening, g.cfg = c.listening, c.cfg
	g.publish()
	g.warn(c.cfg)
	for name, r := range removed {
		g.retire(name, r)
	}
}

// changeStores starts what is new and swaps what has changed, all at the same time.
func (g *Server) changeStores(ctx context.Context, c *change) {
	var changing sync.WaitGroup
	for name, r := range c.added {
		g.stores[name] = r
		changing.Go(func() {
			if err := r.store.Start(ctx); err != nil {
				g.log.Error().Err(err).Str("store", name).Msg("the new store is not ready, and is tried again")
			}
		})
	}
	for _, name := range c.swapped {
		r := g.stores[name]
		changing.Go(func() {
			if err := r.store.Swap(ctx, c.specs[name]); err != nil {
				g.log.Error().Err(err).Str("store", name).Msg("the store goes on with its old settings")
				return
			}
			r.spec = c.specs[name]
		})
	}
	changing.Wait()
}

// retire ends a store that the configuration does not have any more, with its last session.
func (g *Server) retire(name string, r *running) {
	g.log.Info().Str("store", name).Msg("the store is removed")
	g.work.Go(func() {
		stop := context.AfterFunc(g.base, func() { _ = r.store.Close() }) // Retire gives its error, too
		defer stop()
		if err := r.store.Retire(); err != nil {
			g.log.Warn().Err(err).Str("store", name).Msg("the store did not close in good order")
		}
	})
}
