package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/quota"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// transferNow is which way mail goes, by the configuration that is in force.
func (g *Server) transferNow() config.Transfer { return g.inForce.Load().cfg.Transfer }

// setTransfer has mail kept, or leave, as a configuration says, without another relay.
func (g *Server) setTransfer(t config.Transfer) {
	g.gate.Set(func(k relay.Kind) bool { return keeps(t, k == relay.Store) != "" })
	g.spool.Tell(leaves(t))
}

// liftKept ends the back-off of destinations whose mail may have been kept, whether they are in memory or not: some of it may
// leave now, and the other is counted anew. A back-off of another sort that is over in minutes ends with it.
func (g *Server) liftKept(ctx context.Context) {
	err := g.spool.LiftIf(ctx, g.spool.Now().Add(relay.KeptAgain), func(string) bool { return true })
	if err != nil && ctx.Err() == nil {
		g.log.Error().Err(err).Stringer("at_most", relay.KeptAgain).Msg("mail that the transfer mode has kept waits a little longer")
	}
}

// leaves is what other gateways on the same database are told of a mode: mail of theirs leaves here.
func leaves(t config.Transfer) string {
	switch {
	case !t.Delivers():
		return "nothing"
	case !t.Sends():
		return "what is for the stores"
	}
	return "everything"
}

// liftDays ends the back-off of destinations whose routes have another bound of the recipients of a day: until the day
// is over, they would not be asked for again.
func (g *Server) liftDays(ctx context.Context, before, now *route.Table) {
	bounded := func(r *route.Route) bool { return r.RecipientsPerDay > 0 }
	if !slices.ContainsFunc(before.Routes(), bounded) {
		return
	}
	perDay := func(t *route.Table, destination string) int {
		if r, _, ok := t.Of(destination); ok {
			return r.RecipientsPerDay
		}
		return 0
	}
	err := g.spool.LiftIf(ctx, time.Time{}, func(destination string) bool {
		_, store := route.StoreOf(destination)
		return !store && perDay(before, destination) != perDay(now, destination)
	})
	if err != nil && ctx.Err() == nil {
		g.log.Error().Err(err).Msg("mail that waits for another day still does, though recipients_per_day is another: let it be tried with dipylon queue retry")
	}
}

// keeps says why mail for a store, or for others, stays where it is; empty: it does not.
func keeps(t config.Transfer, store bool) string {
	switch {
	case !t.Delivers():
		return "transfer.queue is keep"
	case !store && !t.Sends():
		return "transfer.mode is " + t.Mode
	}
	return ""
}

// WhyKept says why a configuration keeps mail for a destination; empty: it does not.
func WhyKept(cfg *config.Config, destination string) string {
	_, store := route.StoreOf(destination)
	return keeps(cfg.Transfer, store)
}

// WhyWaiting says why mail for a destination is not tried by a configuration now, as the recipients of a day are
// counted in a database, and until when. The zero value: nothing speaks against it.
func WhyWaiting(cfg *config.Config, routes *route.Table, db *state.DB, s *spool.Spool) func(ctx context.Context, destination string) queue.Waits {
	counts := quota.New(db)
	return func(ctx context.Context, destination string) queue.Waits {
		return whyWaiting(ctx, cfg, routes, counts, s, destination)
	}
}

func whyWaiting(ctx context.Context, cfg *config.Config, routes *route.Table, counts *quota.Counts, s *spool.Spool, destination string) queue.Waits {
	if why := WhyKept(cfg, destination); why != "" {
		return queue.Waits{Why: why}
	}
	r, _, ok := routes.Of(destination)
	if _, store := route.StoreOf(destination); store || !ok {
		return queue.Waits{}
	}
	if unasked(ctx, r, s, destination) {
		return queue.Waits{Why: untilAsked, Unasked: true}
	}
	if r.RecipientsPerDay == 0 {
		return queue.Waits{}
	}
	left, again, err := counts.Left(ctx, destination, r.RecipientsPerDay)
	if err != nil || left > 0 {
		return queue.Waits{} // whoever asks can see that the database does not answer
	}
	return queue.Waits{
		Why: fmt.Sprintf("the %d recipients a day of the route %s are used up until %s", r.RecipientsPerDay, r.Name, again.Local().Format(time.DateTime)), Until: again,
	}
}

// whyWaiting is [WhyWaiting] by the configuration that is in force, and by what has failed lately.
func (g *Server) whyWaiting(ctx context.Context, destination string) queue.Waits {
	w := whyWaiting(ctx, g.inForce.Load().cfg, g.routes.Load(), g.quota, g.spool, destination)
	if w.Why == "" {
		w = g.waitsTogether(destination)
	}
	if r := g.relay.Load(); r != nil {
		if until := r.LeftAlone(destination); until.After(w.Until) {
			w.Until = until
		}
	}
	return w
}

// TransferWarnings tells of a mode in which mail waits, or is not taken: somebody may have left it so.
func TransferWarnings(cfg *config.Config) (all []config.Problem) {
	warn := func(text string) {
		all = append(all, config.Problem{Position: cfg.Place("transfer.mode"), Path: "transfer.mode", Text: text})
	}
	switch t := cfg.Transfer; {
	case t.Mode == "in":
		warn("what is for others waits, and the outboxes of stores are left alone")
	case t.Mode == "out":
		warn("no mail is taken from other servers: they are told to try again later")
	case t.Mode == "none" && t.Queue == "keep":
		warn("no mail is taken from other servers or for others, and all that is in the queue stays there")
	case t.Mode == "none":
		warn("no mail is taken from other servers or for others: the queue is delivered, and then empty")
	}
	return all
}

// transfer tells which mail goes on, and what is kept.
func (t told) transfer(mode config.Transfer, kept int) {
	t.number(prometheus.GaugeValue, "dipylon_relay_kept_destinations", "Destinations whose mail the transfer mode keeps in the queue.", float64(kept))
	for way, on := range map[string]bool{"in": mode.TakesIn(), "out": mode.Sends(), "delivery": mode.Delivers()} {
		value := 0.0
		if on {
			value = 1
		}
		t.number(prometheus.GaugeValue, "dipylon_transfer_enabled",
			"Whether mail is taken from other servers (in), leaves by routes (out), and is delivered into stores from the queue (delivery).", value, "way", way)
	}
}
