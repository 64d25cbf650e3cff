package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/route"
)

// transferNow is which way mail goes, by the configuration that is in force.
func (g *Server) transferNow() config.Transfer { return g.inForce.Load().cfg.Transfer }

// setTransfer has mail kept, or leave, as a configuration says, without another relay.
func (g *Server) setTransfer(t config.Transfer) {
	g.spool.Lift(g.gate.Set(func(k relay.Kind) bool { return keeps(t, k == relay.Store) != "" })...)
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

// WhyWaiting says why a configuration keeps mail for a destination; empty: it does not.
func WhyWaiting(cfg *config.Config, destination string) string {
	_, store := route.StoreOf(destination)
	return keeps(cfg.Transfer, store)
}

// whyWaiting is [WhyWaiting] by the configuration that is in force.
func (g *Server) whyWaiting(destination string) string {
	return WhyWaiting(g.inForce.Load().cfg, destination)
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
