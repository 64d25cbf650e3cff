package stores

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
)

// Source is a configured store and the plugin that it runs in: what a table is made of.
type Source struct {
	config     Config
	plugin     Plugin
	middleware []Middleware
}

// In says which plugin a configured store runs in. The first middleware is the outermost.
func (c Config) In(plugin Plugin, middleware ...Middleware) Source {
	return Source{config: c, plugin: plugin, middleware: middleware}
}

// Store is the store without a table, for a command that has to do with it alone.
func (s Source) Store() *Store { return (&place{Source: s}).store() }

// place is a source in a table. It makes one [Store] for each description of the plugin.
type place struct {
	Source
	current atomic.Pointer[described]
}

// described is a store and the description that it was made with.
type described struct {
	store *Store
	said  *backends.Description
}

// store is the store as its plugin is now.
func (p *place) store() *Store {
	said := p.plugin.Description()
	if h := p.current.Load(); h != nil && h.said == said {
		return h.store
	}
	h := &described{newStore(p, said), said}
	p.current.Store(h)
	return h.store
}

// Table says which store a domain or a login name belongs to. That does not change: a session that
// has a table is not disturbed by a new configuration. What each store can do follows its plugin.
type Table struct {
	places   []*place
	byDomain map[string]*place
	fallback *place
}

// NewTable makes a table. What is wrong with the sources comes back all at once.
func NewTable(sources ...Source) (*Table, error) {
	t := &Table{byDomain: make(map[string]*place)}
	var problems []error
	names := make(map[string]bool)
	for _, source := range sources {
		p := &place{Source: source}
		p.config.Domains = nil
		name := source.config.Name
		switch {
		case name == "":
			problems = append(problems, errors.New("a store has no name"))
		case names[name]:
			problems = append(problems, fmt.Errorf("two stores have the name %q", name))
		case source.plugin.Backend == nil || source.plugin.Description == nil:
			problems = append(problems, fmt.Errorf("store %q has no backend", name))
		}
		names[name] = true
		problems = append(problems, t.addDomains(p, source.config.Domains)...)
		if p.config.Default {
			if t.fallback != nil {
				problems = append(problems, fmt.Errorf("stores %q and %q are both the default", t.fallback.config.Name, name))
			}
			t.fallback = p
		}
		t.places = append(t.places, p)
	}
	if t.fallback == nil && len(t.places) == 1 {
		t.fallback = t.places[0]
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return t, nil
}

func (t *Table) addDomains(p *place, domains []string) (problems []error) {
	name := p.config.Name
	for _, given := range domains {
		domain, err := address.Domain(given)
		if err != nil {
			problems = append(problems, fmt.Errorf("store %q: %q is %w", name, given, err))
			continue
		}
		if other, taken := t.byDomain[domain]; taken {
			problems = append(problems, fmt.Errorf("store %q: the domain %s belongs to store %q already", name, domain, other.config.Name))
			continue
		}
		t.byDomain[domain] = p
		p.config.Domains = append(p.config.Domains, domain)
	}
	return problems
}

// Stores are all stores as they are now, in the order of the configuration.
func (t *Table) Stores() []*Store {
	all := make([]*Store, len(t.places))
	for i, p := range t.places {
		all[i] = p.store()
	}
	return all
}

// Default is the store of names without a domain; nil: the table has no default store.
func (t *Table) Default() *Store { return now(t.fallback) }

// StoreFor is the store that a domain, in lower-case A-labels, belongs to; nil: not ours.
// Subdomains are domains of their own.
func (t *Table) StoreFor(domain string) *Store { return now(t.byDomain[domain]) }

// StoreForLogin is the store that a login name belongs to; nil if no store matches. A name with a
// domain belongs to that domain's store, one without to the store of the mailbox that it asks for,
// or else to the default one. A mailbox of another store than the user's belongs to no store: none
// can say who may open it.
func (t *Table) StoreForLogin(name Name) *Store {
	p := t.fallback
	domain := name.MailboxDomain()
	if domain != "" {
		p = t.byDomain[domain]
	}
	if name.Domain == "" {
		return now(p)
	}
	own := t.byDomain[name.Domain]
	if domain != "" && p != own {
		return nil
	}
	return now(own)
}

// now is a place's store; nil where there is no place.
func now(p *place) *Store {
	if p == nil {
		return nil
	}
	return p.store()
}

// DefaultDomain is what is added to an address without one (postmaster, RFC 5321 §4.5.1): the
// default store's first; empty where there is none.
func (t *Table) DefaultDomain() string {
	if t.fallback == nil || len(t.fallback.config.Domains) == 0 {
		return ""
	}
	return t.fallback.config.Domains[0]
}

// Router holds the current table. Its zero value routes nothing.
type Router struct{ current atomic.Pointer[Table] }

// NewRouter makes a router with a first table.
func NewRouter(t *Table) *Router {
	r := &Router{}
	r.Swap(t)
	return r
}

// Table is the current table. Whoever does several things that belong together asks once.
func (r *Router) Table() *Table {
	if t := r.current.Load(); t != nil {
		return t
	}
	return &Table{}
}

// Swap makes a table the current one. Sessions and transactions that have begun keep theirs.
func (r *Router) Swap(t *Table) { r.current.Store(t) }
