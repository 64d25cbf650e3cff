package route

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Askers are who may ask for mail that waits (ETRN, RFC 1985): clients in networks, and accounts that have logged in, by their
// addresses. None: nobody.
type Askers struct {
	Networks []netip.Prefix
	Accounts []string
}

// Any says whether somebody may ask.
func (a Askers) Any() bool { return len(a.Networks) > 0 || len(a.Accounts) > 0 }

// Asker is a client that asks for mail.
type Asker struct {
	Address netip.Addr // not valid: it has none
	Account string     // the address of the account that has logged in; empty: nobody has
}

// Has says whether a client is one of them.
func (a Askers) Has(who Asker) bool {
	return slices.ContainsFunc(a.Networks, func(n netip.Prefix) bool { return n.Contains(who.Address) }) ||
		who.Account != "" && slices.ContainsFunc(a.Accounts, func(account string) bool { return fold.Equal(account, who.Account) })
}

// Wanted is the mail that somebody asks for: that of a domain, with those below it or without them, or that of a route.
type Wanted struct {
	Domain string // in lower-case A-labels
	Below  bool
	Route  string // its name; empty: Domain is meant
}

// AskedFor says whether a destination may have mail that is wanted, and that a client may ask for, by what its route is now.
func (t *Table) AskedFor(w Wanted, who Asker, destination string) bool {
	if _, store := StoreOf(destination); store {
		return false // a route for every domain is none for a store
	}
	r, domain, ok := t.Of(destination)
	switch {
	case !ok || !r.Kind.Sends() || !r.Askers.Has(who):
		return false
	case w.Route != "":
		return r.Name == w.Route
	case r.Kind == MX:
		return w.has(domain)
	}
	return slices.ContainsFunc(r.Domains, w.meets)
}

// has says whether mail for a domain is wanted.
func (w Wanted) has(domain string) bool {
	return domain == w.Domain || w.Below && strings.HasSuffix(domain, "."+w.Domain)
}

// meets says whether a pattern of domains has one that is wanted.
func (w Wanted) meets(pattern string) bool {
	return covers(pattern, w.Domain) || w.Below && (pattern == "."+w.Domain || strings.HasSuffix(pattern, "."+w.Domain))
}

// MayAsk says whether mail that is wanted goes by a route, from some sender, that a client may ask for. One that may not is not to know
// whether there is such a route.
func (t *Table) MayAsk(w Wanted, who Asker) bool {
	if w.Route != "" {
		r := t.named[w.Route]
		return r != nil && r.Kind.Sends() && r.Askers.Has(who)
	}
	if slices.ContainsFunc(t.of(w.Domain), func(r *Route) bool { return r.Askers.Has(who) }) {
		return true
	}
	return w.Below && slices.ContainsFunc(t.routes, func(r *Route) bool { return r.Askers.Has(who) && slices.ContainsFunc(r.Domains, w.meets) })
}

// of are the routes by which mail for a domain goes, from one sender or another.
func (t *Table) of(domain string) (all []*Route) {
	for pattern := range above(domain) {
		all = append(all, t.pattern[pattern]...)
		if slices.ContainsFunc(t.pattern[pattern], func(r *Route) bool { return len(r.Senders) == 0 }) {
			return all
		}
	}
	return all
}

// DestinationsOf are where mail for a domain may wait: one for each way that it has now, or had when another kind of route led there.
func (t *Table) DestinationsOf(domain string) []string {
	all := []string{domain}
	for _, r := range t.of(domain) {
		all = append(all, prefix+r.Name, prefix+r.Name+":"+domain)
	}
	return all
}
