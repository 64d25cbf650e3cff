package routing

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/login"
)

// Store is one configured store as the gateway knows it.
type Store = login.Store

// Table says which store a domain or a login name belongs to. It does not change: a session
// that has one is not disturbed by a new configuration.
type Table struct {
	stores   []*Store
	byDomain map[string]*Store
	fallback *Store
}

// New makes a table. What is wrong with the stores comes back all at once.
func New(stores ...Store) (*Table, error) {
	t := &Table{byDomain: make(map[string]*Store)}
	var problems []error
	names := make(map[string]bool)
	for _, given := range stores {
		store := given
		store.Domains = nil
		switch {
		case store.Name == "":
			problems = append(problems, errors.New("a store has no name"))
		case names[store.Name]:
			problems = append(problems, fmt.Errorf("two stores have the name %q", store.Name))
		case store.Backend == nil:
			problems = append(problems, fmt.Errorf("store %q has no backend", store.Name))
		}
		names[store.Name] = true
		problems = append(problems, t.addDomains(&store, given.Domains)...)
		if store.Default {
			if t.fallback != nil {
				problems = append(problems, fmt.Errorf("stores %q and %q are both the default", t.fallback.Name, store.Name))
			}
			t.fallback = &store
		}
		t.stores = append(t.stores, &store)
	}
	if t.fallback == nil && len(t.stores) == 1 {
		t.fallback = t.stores[0]
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return t, nil
}

func (t *Table) addDomains(store *Store, domains []string) (problems []error) {
	for _, given := range domains {
		domain, err := address.Domain(given)
		if err != nil {
			problems = append(problems, fmt.Errorf("store %q: %q is %w", store.Name, given, err))
			continue
		}
		if other, taken := t.byDomain[domain]; taken {
			problems = append(problems, fmt.Errorf("store %q: the domain %s belongs to store %q already", store.Name, domain, other.Name))
			continue
		}
		t.byDomain[domain] = store
		store.Domains = append(store.Domains, domain)
	}
	return problems
}

// Stores are all stores, in the order of the configuration.
func (t *Table) Stores() []*Store { return t.stores }

// Default is the store of names without a domain; nil where there is none.
func (t *Table) Default() *Store { return t.fallback }

// StoreFor is the store that a domain, in lower-case A-labels, belongs to; nil: not ours.
// Subdomains are domains of their own.
func (t *Table) StoreFor(domain string) *Store { return t.byDomain[domain] }

// StoreForLogin is the store that a login name belongs to; nil: nobody's. A name with a domain
// belongs to that domain's store, one without to the store of the mailbox that it asks for, or
// else to the default one. A mailbox of another store than the user's is nobody's: no store can
// say who may open it.
func (t *Table) StoreForLogin(name login.Name) *Store {
	store := t.fallback
	domain := name.MailboxDomain()
	if domain != "" {
		store = t.StoreFor(domain)
	}
	if name.Domain == "" {
		return store
	}
	own := t.StoreFor(name.Domain)
	if domain != "" && store != own {
		return nil
	}
	return own
}

// DefaultDomain is what is added to an address without one (postmaster, RFC 5321 §4.5.1): the
// default store's first; empty where there is none.
func (t *Table) DefaultDomain() string {
	if t.fallback == nil || len(t.fallback.Domains) == 0 {
		return ""
	}
	return t.fallback.Domains[0]
}

// Router holds the table of the day. Its zero value routes nothing.
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
