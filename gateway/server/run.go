package server

import (
	"context"
	"errors"
	"sync"

	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/state"
)

// ErrStopped says that the gateway is shut down, or about to be.
var ErrStopped = errors.New("the gateway is shut down")

// takeTurn waits until nobody else starts, reloads or shuts down, and gives what ends the turn.
func (g *Server) takeTurn(ctx context.Context) (end func(), err error) {
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// change does something in a turn of its own. Its context ends with Shutdown, too.
func (g *Server) change(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.alive, cancel)()
	end, err := g.takeTurn(ctx)
	if err == nil {
		defer end()
	}
	if g.alive.Err() != nil {
		return ErrStopped
	}
	if err != nil {
		return err
	}
	return f(ctx)
}

// Run starts the stores, serves, and returns when the context ends or Shutdown is called; the
// error is nil then. Sessions that are open go on: Shutdown ends them. Another error says why the
// gateway cannot start, or cannot go on; that of settings that are wrong is a [*config.Error]. Run
// is called once.
func (g *Server) Run(ctx context.Context) error {
	if err := g.change(ctx, g.start); err != nil {
		if ctx.Err() != nil || g.alive.Err() != nil {
			return nil //nolint:nilerr // somebody wants the end
		}
		return err
	}
	close(g.ready)
	select {
	case err := <-g.failed:
		g.log.Error().Err(err).Msg("the gateway cannot go on")
		return err
	case <-ctx.Done():
	case <-g.alive.Done():
	}
	return nil
}

// watchDisk ends the gateway when the state's disk has failed to sync, or its database is damaged: what it would be told from then on
// may not be so.
func (g *Server) watchDisk(failed <-chan struct{}) {
	select {
	case <-failed:
		select {
		case g.failed <- state.ErrFailed:
		default: // it ends for another reason
		}
	case <-g.base.Done():
	}
}

// Ready is closed when the gateway serves.
func (g *Server) Ready() <-chan struct{} { return g.ready }

// start starts the stores and serves.
func (g *Server) start(ctx context.Context) error {
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
	g.setTransfer(g.cfg.Transfer)
	g.relaying.Go(func() { g.liftKept(g.alive) }) // an earlier process may have had another mode
	g.useRelay(g.cfg)
	g.tokens.wake(g.cfg)
	g.serveCommands()
	g.publish()
	g.collect(g.cfg, nil)
	g.fetch(g.cfg)
	g.ask(g.cfg)
	g.warn(g.cfg)
	g.work.Go(func() { g.attention.Run(g.alive) })
	g.work.Go(func() { g.devices.Run(g.base) })
	g.work.Go(func() { g.watchSecrets(g.alive) })
	g.work.Go(func() { state.Maintain(g.base, g.log, maintenanceEvery, g.tasks()...) })
	return nil
}

// Shutdown ends the gateway: no new connections, sessions end once they have finished what they
// are at or when the context ends, and then the plugins. A reload under way is broken off first.
// It is called once.
func (g *Server) Shutdown(ctx context.Context) error {
	g.stopping()
	end, err := g.takeTurn(context.WithoutCancel(ctx)) // who has it ends soon, as its context has ended
	if err != nil {
		return err
	}
	defer end()
	for _, l := range g.listening {
		l.listener.close()
	}
	g.collector.Close()
	if g.fetcher != nil {
		g.fetcher.Close()
		g.asker.Close()
	}
	errs := g.shutdownEngines(ctx)
	if g.dequeuer != nil {
		g.dequeuer.Close()
	}
	stop := context.AfterFunc(ctx, g.cutRelays)
	g.relaying.Wait()
	stop()
	g.tokens.close()
	g.cut()
	g.closeStores()
	g.work.Wait()
	if g.endTrack != nil {
		g.endTrack()
	}
	if g.db != nil {
		g.locks.Close()
		g.throttle.Close()
		if g.spool != nil {
			errs = append(errs, g.spool.Close())
		}
		errs = append(errs, g.db.Close())
	}
	g.lock.Release()
	return errors.Join(errs...)
}

// shutdownEngines ends all engines at the same time.
func (g *Server) shutdownEngines(ctx context.Context) []error {
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
	return errs
}
