package config

import (
	"slices"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// ProviderLimits are what providers take from one mailbox: connections at a time, messages a minute, recipients a day and of one
// message. 0: no bound that is known. Microsoft's are those of Exchange Online's client submission (a tenant may allow 1,000 recipients of
// a message, and 500 is what it has without), Google's of Workspace by SMTP. A route's own limits go before them.
var ProviderLimits = map[string]struct{ Connections, PerMinute, RecipientsPerDay, RecipientsPerMessage int }{
	"microsoft": {3, 30, 10_000, 500},
	"google":    {10, 0, 2000, 100},
}

// providerLimits fills in what a route leaves to its provider.
func (r *Route) providerLimits() {
	limits := ProviderLimits[r.Provider]
	for _, l := range []struct {
		own   *int
		known int
	}{
		{&r.Connections, limits.Connections},
		{&r.PerMinute, limits.PerMinute},
		{&r.RecipientsPerDay, limits.RecipientsPerDay},
		{&r.RecipientsPerMessage, limits.RecipientsPerMessage},
	} {
		if *l.own == 0 {
			*l.own = l.known
		}
	}
}

// throughStore checks a route that leads through a store's own transport, and that others do not.
func (d *decoder) throughStore(at string, r *Route, c *Config) {
	if r.To != "hold" && r.To != "reject" {
		r.providerLimits()
	} else if r.Provider != "" {
		d.at(join(at, "provider"), "leave it out", "nothing is sent by this route")
	}
	if r.To != "transport" {
		if r.Store != "" {
			d.at(join(at, "store"), "write to: transport, or leave it out", "the route leads through no store")
		}
		return
	}
	if !slices.ContainsFunc(c.Stores, func(s Store) bool { return s.Name == r.Store }) && !d.failed[join(at, "store")] {
		d.at(at, "write store: and the name of one", "no store has the name %q", clip(r.Store))
	}
	d.storeUser(at, r)
	for key, given := range map[string]bool{
		"tls": r.TLS != "", "implicit_tls": r.ImplicitTLS, "ca": r.CA != "", "client_certificate": r.ClientCertificate != "", "client_key": r.ClientKey != "",
		"external": r.External, "ntlm": r.NTLM, "password": !r.Password.IsZero(), "token_file": r.TokenFile != "", "token_command": len(r.TokenCommand) > 0, "oauth": r.OAuth != nil,
		"rewrite": len(r.Rewrite) > 0,
	} {
		if given {
			d.at(join(at, key), "leave it out", "how its server is reached, and logged in at, is in the store's settings")
		}
	}
}

// storeUser checks whose mailbox sends what is from none of the store's.
func (d *decoder) storeUser(at string, r *Route) {
	box, err := address.Parse(r.User)
	switch {
	case d.failed[join(at, "user")]:
	case r.User == "":
		d.at(at, "write user: postmaster@ and a domain of the store's", "nobody sends what is from none of the store's mailboxes, as reports are")
	case err != nil:
		d.at(join(at, "user"), "write postmaster@sakes.example", "%q is no mail address", clip(r.User))
	default:
		r.User = box.String()
	}
}
