package server

import (
	"cmp"
	"slices"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

// Snapshot is what the gateway is at one moment: a copy, but for the configuration, which nobody
// may change.
type Snapshot struct {
	Config    *config.Config // in force
	Since     time.Time      // when it was put to use
	Ready     bool           // the gateway serves
	Stopping  bool
	Listeners []Listener // in the configuration's order
	Stores    []Store    // in the configuration's order
	Sessions  []Session  // the oldest first, with those of listeners that are gone
}

// Listener is a listener of the configuration.
type Listener struct {
	Protocol string
	Address  string // where it is, whatever port was asked for
}

// Store is a store of the configuration, and how its plugin is.
type Store struct {
	Name    string
	Domains []string
	Plugin  host.Status
	Calls   []stores.Count // since the gateway has started

	settings []byte // JSON, for what stands in no text
}

// Session is an open session of a client.
type Session struct {
	Listener Listener // where it came in
	events.Connection
}

// inForce is what Reload has made of a configuration last. It is not changed: another one takes
// its place.
type inForce struct {
	cfg       *config.Config
	since     time.Time
	listeners []Listener
	plugins   []*host.Store // of cfg.Stores; nil before they are started
}

// publish makes what is in force known to those who have no turn.
func (g *Server) publish() {
	f := &inForce{cfg: g.cfg, since: time.Now()}
	for _, l := range g.listening {
		f.listeners = append(f.listeners, Listener{Protocol: l.protocol, Address: l.listener.address()})
	}
	for _, s := range g.cfg.Stores {
		var plugin *host.Store
		if r := g.stores[s.Name]; r != nil {
			plugin = r.store
		}
		f.plugins = append(f.plugins, plugin)
	}
	g.inForce.Store(f)
}

// Snapshot says what the gateway is now. It waits for nothing: neither for a reload nor for a
// store.
func (g *Server) Snapshot() Snapshot {
	f := g.inForce.Load()
	s := Snapshot{
		Config: f.cfg, Since: f.since, Stopping: g.alive.Err() != nil,
		Listeners: slices.Clone(f.listeners), Sessions: g.openSessions(),
	}
	select {
	case <-g.ready:
		s.Ready = true
	default:
	}
	for i, plugin := range f.plugins {
		store := Store{Name: f.cfg.Stores[i].Name, Domains: slices.Clone(f.cfg.Stores[i].Domains), settings: f.cfg.Stores[i].Settings.JSON}
		store.Calls = g.calls.Of(store.Name)
		if plugin != nil {
			store.Plugin = plugin.Status()
		}
		s.Stores = append(s.Stores, store)
	}
	return s
}

// openSessions asks all engines.
func (g *Server) openSessions() (all []Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for e, l := range g.engines {
		for _, c := range e.Sessions() {
			all = append(all, Session{Listener: l, Connection: c})
		}
	}
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return all
}
