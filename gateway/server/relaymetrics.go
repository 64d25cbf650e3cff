package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/gateway/relay"
)

// waitBuckets are from what is relayed at once to what was tried for days, in seconds.
var waitBuckets = []float64{0.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 5 * 24 * 3600}

// relay makes what relays count, by the class of the next hop: mx, smart_host, lmtp, store or transport.
func (m *metrics) relay() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "dipylon", Subsystem: "relay", Name: name, Help: help}, append([]string{"class"}, labels...))
		m.registry.MustRegister(c)
		return c
	}
	m.hops = counter("connections_total", "Connections to next hops that came about.")
	m.unreachable = counter("unreachable_total", "Addresses of next hops that could not be connected to, or did not want to talk.")
	m.backedOff = counter("backoffs_total", "Destinations that were left alone for a while.")
	m.commonDown = counter("common_backoffs_total", "How often all that leaves by one provider, or by one store's transport, was left alone together, as it fails for everybody.")
	m.relayedTo = counter("recipients_total", "Attempts by recipient, by what came of them: delivered, relayed, deferred, uncertain, failed, held, as nobody could be told, or dropped, as the route has it.", "outcome")
	m.untold = counter("untold_total", "Recipients that failed, of which nobody is told: of reports, and of other mail from the null reverse-path.")
	m.waited = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "dipylon", Subsystem: "relay", Name: "wait_seconds", Help: "How old messages were when what became of a recipient was known for good.",
		Buckets: waitBuckets,
	}, []string{"class", "outcome"})
	m.registry.MustRegister(m.waited)
}

// relayed counts what a relay tells of.
func (m *metrics) relayed(e relay.Event) {
	class := e.Class.String()
	switch e.Kind {
	case relay.Connected:
		m.hops.WithLabelValues(class).Inc()
	case relay.Unreachable:
		m.unreachable.WithLabelValues(class).Inc()
	case relay.BackedOff:
		m.backedOff.WithLabelValues(class).Inc()
	case relay.CommonDown:
		m.commonDown.WithLabelValues(class).Inc()
	case relay.Untold:
		m.untold.WithLabelValues(class).Inc()
	case relay.Finished:
		m.relayedTo.WithLabelValues(class, e.Outcome).Inc()
		switch e.Outcome {
		case "delivered", "relayed", "failed":
			m.waited.WithLabelValues(class, e.Outcome).Observe(e.Waited.Seconds())
		}
	case relay.Disconnected:
	}
}
