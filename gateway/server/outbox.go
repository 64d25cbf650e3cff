package server

import (
	"context"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/outbox"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/stores"
)

// newCollector makes what collects the mail that stores want sent.
func (g *Server) newCollector() *outbox.Collector {
	return &outbox.Collector{
		Log: g.log.With().Str("protocol", "outbox").Logger(), Take: g.takeOver, Observe: g.metrics.collected,
		Store: func(name string) *stores.Store {
			all := g.router.Table().Stores()
			if i := slices.IndexFunc(all, func(s *stores.Store) bool { return s.Name == name }); i >= 0 {
				return all[i]
			}
			return nil
		},
	}
}

// collect has the outboxes of a configuration's stores collected; changed are those whose plugins have other processes.
func (g *Server) collect(cfg *config.Config, changed []string) {
	var names []string
	if cfg.Transfer.PassesOut() {
		for _, s := range cfg.Stores {
			names = append(names, s.Name)
		}
	}
	g.collector.Use(names, changed...)
}

// takeOver takes a message over from a store's outbox, by the configuration that is in force.
func (g *Server) takeOver(ctx context.Context, store *stores.Store, m backends.Outgoing, body io.Reader) (routing.Handover, error) {
	cfg := g.inForce.Load().cfg
	log := g.log.With().Str("protocol", "outbox").Logger()
	o := g.routingOptions(shape{protocol: "outbox", hostname: cfg.Hostname, limits: cfg.Limits}, log)
	o.SizeMost = int64(cfg.Limits.MessageSize)
	return routing.NewOutbox(o).Take(ctx, store, m, body)
}
