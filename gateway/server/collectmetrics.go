package server

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/gateway/collect"
)

// collect makes what the collecting of mail from servers elsewhere counts, by account.
func (m *metrics) collect() {
	counter := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "dipylon", Subsystem: "collect", Name: name, Help: help}, []string{"account", label})
		m.registry.MustRegister(c)
		return c
	}
	m.fetches = counter("runs_total", "Runs of an account, by what came of them: ok, or the kind of failure: login, in-use, later, server, store, state.", "outcome")
	m.fetchedMessages = counter("messages_total", "Messages of an account, by what came of them: delivered; fallback, to the fall-back mailbox; known, from before; aside, they wait there; removed from there.", "outcome")
	m.fetchedAt = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "dipylon", Subsystem: "collect", Name: "last_success_timestamp_seconds", Help: "When a run of an account last ended without a failure, by this gateway.",
	}, []string{"account"})
	m.registry.MustRegister(m.fetchedAt)
	m.asked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "dipylon", Subsystem: "etrn", Name: "asked_total", Help: "How often servers elsewhere were asked for mail that they keep, by what came of it: ok, failed.",
	}, []string{"server", "outcome"})
	m.registry.MustRegister(m.asked)
}

// askedFor counts that a server was asked.
func (m *metrics) askedFor(server string, failed bool) {
	m.asked.WithLabelValues(server, map[bool]string{false: "ok", true: "failed"}[failed]).Inc()
}

// fetched counts a run.
func (m *metrics) fetched(account string, run collect.Counts, failure string) {
	m.fetches.WithLabelValues(account, cmp.Or(failure, "ok")).Inc()
	for outcome, n := range map[string]int64{"delivered": run.Delivered, "fallback": run.Fallback, "known": run.Known, "aside": run.Aside, "removed": run.Removed} {
		m.fetchedMessages.WithLabelValues(account, outcome).Add(float64(n))
	}
	if failure == "" {
		m.fetchedAt.WithLabelValues(account).SetToCurrentTime()
	}
}
