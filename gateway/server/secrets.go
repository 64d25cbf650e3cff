package server

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/edge"
)

// secretWatch looks for files of secrets that have changed.
type secretWatch struct {
	seen map[string]string // as they were at the last look
	done map[string]string // what was tried, and need not be again
}

// watchSecrets has what is read from files ("file:") used as it is now, without a reload, until the context ends. The rest of the
// configuration stays as it is.
func (g *Server) watchSecrets(ctx context.Context) {
	var w secretWatch
	tick := time.NewTicker(edge.LookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.lookAtSecrets(ctx, &w)
		case <-ctx.Done():
			return
		}
	}
}

// due says whether what has changed is to be read: once, and when it was so at the look before, as a file may be being written.
func (w *secretWatch) due(changed map[string]string) bool {
	before := w.seen
	w.seen = changed
	switch {
	case len(changed) == 0:
		w.done = nil
		return false
	case !maps.Equal(changed, before) || maps.Equal(changed, w.done):
		return false
	}
	w.done = changed
	return true
}

// lookAtSecrets looks once.
func (g *Server) lookAtSecrets(ctx context.Context, w *secretWatch) {
	changed := g.inForce.Load().cfg.ChangedSecrets()
	if !w.due(changed) {
		return
	}
	files := strings.Join(slices.Sorted(maps.Keys(changed)), ", ")
	used, err := g.rereadSecrets(ctx)
	switch {
	case ctx.Err() != nil || g.alive.Err() != nil:
	case err != nil:
		g.log.Error().Err(err).Str("files", files).Msg("secrets in files have changed, and cannot be used as they are now: the old ones stay. Correct the files, or reload")
	case used:
		g.log.Info().Str("files", files).Msg("secrets in files have changed, and are used as they are now")
	}
}

// rereadSecrets puts the configuration that is in force to use once more, with what its references stand for now. used is false
// where that is the same.
func (g *Server) rereadSecrets(ctx context.Context) (used bool, err error) {
	err = g.change(ctx, func(ctx context.Context) error {
		fresh, err := g.cfg.Again()
		if err != nil || fresh.SameSecrets(g.cfg) {
			return err
		}
		c, err := g.plan(ctx, fresh)
		if err != nil {
			return err
		}
		g.apply(c)
		used = true
		return nil
	})
	return used, err
}
