package server

import (
	"context"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/dequeue"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// untilAsked is why mail waits.
const untilAsked = "it waits until it is asked for (ETRN, or dipylon queue retry)"

// WhyUnasked says why mail by a route waits; empty: it leaves by itself.
func WhyUnasked(r *route.Route) string {
	if r == nil || !r.Asked {
		return ""
	}
	return untilAsked
}

// newDequeuer makes what starts mail on its way that waits until it is asked for.
func (g *Server) newDequeuer() *dequeue.Dequeuer {
	return dequeue.New(dequeue.Options{
		Log: g.log.With().Str("protocol", config.ProtocolSMTP).Logger(), Spool: g.spool, Routes: g.routes.Load,
		Leaves: func() bool { return g.transferNow().Sends() },
	})
}

// unasked says whether a destination's mail waits until somebody asks for it, and nobody has lately.
func unasked(ctx context.Context, r *route.Route, s *spool.Spool, destination string) bool {
	if !r.Asked || s == nil {
		return false
	}
	at, err := s.Asked(ctx, destination)
	return err == nil && !s.Now().Before(at.Add(relay.AskedFor)) // whoever asks can see that the database does not answer
}

// releaseUnasked has mail tried that waited until somebody asks for it, and does not any more by the routes as they are now.
func (g *Server) releaseUnasked(ctx context.Context, before, now *route.Table) {
	asked := func(t *route.Table, destination string) bool {
		r, _, ok := t.Of(destination)
		return ok && r.Asked
	}
	for after := ""; ; {
		page, err := g.spool.Destinations(ctx, after, destinationsAtOnce)
		for _, name := range page {
			if _, store := route.StoreOf(name); err == nil && !store && asked(before, name) && !asked(now, name) {
				err = g.retryAll(ctx, name)
			}
			after = name
		}
		if err != nil && ctx.Err() == nil {
			g.log.Error().Err(err).Msg("mail that waited until it is asked for, and does not any more, waits for some hours still: run dipylon queue retry")
		}
		if err != nil || len(page) < destinationsAtOnce {
			return
		}
	}
}

// destinationsAtOnce is how many are read from the spool.
const destinationsAtOnce = 1000

// retryAll has all mail of a destination tried now.
func (g *Server) retryAll(ctx context.Context, destination string) error {
	for from := (spool.Place{}); ; {
		done, err := g.spool.Retry(ctx, spool.Filter{Destination: destination}, from)
		if from = done.Next; err != nil || from == (spool.Place{}) {
			return err
		}
	}
}
