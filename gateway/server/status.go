package server

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/status"
	"github.com/dipylon/dipylon/gateway/stores"
)

// status is what the gateway says of itself. What needs attention is looked for anew, so that nobody hears of what is mended.
func (g *Server) status(ctx context.Context) status.Status {
	bounded, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	transit := g.queueStatus(bounded)
	g.attention.Look(bounded) // what could not be asked within the time is told as it was
	s := g.Snapshot()
	told := status.Status{
		Version: g.version, Hostname: s.Config.Hostname, Now: time.Now(), Started: g.began, Configured: s.Since, Ready: s.Ready, Stopping: s.Stopping,
		Listeners: listenersOf(s), Stores: make([]status.Store, 0, len(s.Stores)), Sessions: make(map[string]int),
		Ends: g.attention.Ends(), Attention: g.attention.Concerns(), Queue: transit,
	}
	for _, l := range s.Listeners {
		if l.Protocol != config.ProtocolAdmin {
			told.Sessions[l.Protocol] = 0
		}
	}
	for _, session := range s.Sessions {
		told.Sessions[session.Listener.Protocol]++
	}
	for _, store := range s.Stores {
		told.Stores = append(told.Stores, statusOf(store))
	}
	for _, all := range []*[]attention.Concern{&told.Ends, &told.Attention} {
		if *all == nil {
			*all = []attention.Concern{} // JSON has a list in any case
		}
	}
	return told
}

// statusTime is how long the database has for a status: less than the listener gives an answer.
const statusTime = 15 * time.Second

// listenersOf are the listeners with their certificates, as their files have them.
func listenersOf(s Snapshot) (all []status.Listener) {
	all = make([]status.Listener, 0, len(s.Listeners))
	for i, l := range s.Listeners {
		c := s.Config.Listeners[i]
		told := status.Listener{Protocol: l.Protocol, Address: l.Address, TLS: "starttls"}
		t := s.Config.TLS
		if c.TLS != nil {
			t = *c.TLS
		}
		switch {
		case c.ImplicitTLS(), c.Protocol == config.ProtocolAdmin && c.TLS != nil:
			told.TLS = "implicit"
		case c.Protocol == config.ProtocolAdmin:
			told.TLS = "none"
		}
		if told.TLS != "none" {
			told.Certificates = certificatesOf(s.Config, t)
		}
		all = append(all, told)
	}
	return all
}

func certificatesOf(cfg *config.Config, t config.TLS) (all []status.Certificate) {
	own := t.SelfSigned()
	if own {
		t = SelfSignedFiles(cfg.StateFolder)
	}
	for _, files := range t.All() {
		pair, err := edge.LoadPair(edge.Files(files))
		if err != nil {
			continue // it needs attention, and is told as that
		}
		leaf := pair.Leaf()
		all = append(all, status.Certificate{File: files.Certificate, Names: leaf.DNSNames, Until: leaf.NotAfter, SelfSigned: own})
	}
	return all
}

func statusOf(s Store) status.Store {
	p := s.Plugin
	told := status.Store{
		Name: s.Name, Domains: slices.Clone(s.Domains), Ready: p.Ready, Healthy: p.Ready && p.Health == nil,
		Backend: strings.TrimSpace(p.Description.Name + " " + p.Description.Version), Generation: p.Generation, Restarts: p.Restarts,
		PID: p.PID, Since: p.Since, NextStart: p.NextStart,
	}
	switch {
	case !p.Ready && p.LastError != nil:
		told.Problem = s.says(p.LastError)
	case p.Health != nil:
		told.Problem = s.says(p.Health)
	}
	return told
}

// says is what a store's error says, without the secrets of the store's settings.
func (s Store) says(err error) string { return s.hides(err.Error()) }

// hides is a text of a store's without those secrets.
func (s Store) hides(text string) string {
	return stores.Redactor(nil, s.settings, s.Plugin.Description.Settings)(text)
}

// queueStatus counts mail in transit.
func (g *Server) queueStatus(ctx context.Context) (q status.Queue) {
	q.Destinations = []queue.Statistic{}
	sum, err := g.spool.Summary(ctx)
	if err == nil {
		g.transit.put(sum)
		q.Waiting, q.InFlight = sum.Recipients[spool.Waiting], sum.Recipients[spool.InFlight]
		q.Uncertain, q.Held = sum.Recipients[spool.Uncertain], sum.Recipients[spool.Held]
		q.Oldest, q.Due = sum.Oldest, sum.Due
		var stats []queue.Statistic
		if stats, err = (&queue.Spool{Spool: g.spool, Ways: g.ways(), Log: g.log, Waits: g.whyWaiting}).Stats(ctx, status.DestinationsMost); err == nil {
			q.Destinations = append(q.Destinations, stats...)
		}
	}
	if err != nil {
		g.log.Warn().Err(err).Msg("mail in transit could not be counted")
		q.Problem = "mail in transit could not be counted: " + err.Error()
	}
	return q
}
