package config

import (
	"slices"
	"strconv"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// Askers are who may have the mail of a route sent at once by ETRN (RFC 1985): clients in networks, and accounts that have logged in.
type Askers struct {
	Networks []Network `yaml:"networks,omitempty"`
	Accounts []string  `yaml:"accounts,omitempty"`
}

// Any says whether somebody may ask.
func (a *Askers) Any() bool { return a != nil && len(a.Networks)+len(a.Accounts) > 0 }

// askedFor checks who may ask for a route's mail, and whether mail that waits for that leaves at all.
func (d *decoder) askedFor(at string, r *Route, c *Config) {
	key := join(at, "etrn")
	if r.When == "asked" {
		key = join(at, "when")
	}
	switch {
	case r.When != "asked" && r.ETRN == nil:
		return
	case r.To == "hold" || r.To == "reject":
		d.at(key, "leave it out", "nothing is sent by this route")
	case r.To == "transport" || r.AsSender:
		d.at(key, "write to: smtp, lmtp or mx, without as_sender", "mail cannot be asked for that leaves as each of its senders")
	case r.ETRN != nil && !r.ETRN.Any() && !d.failed[join(at, "etrn")]:
		d.at(join(at, "etrn"), "write etrn: {networks: [192.0.2.1]}, or accounts", "nobody may ask")
	}
	if r.ETRN == nil {
		return
	}
	at = join(at, "etrn")
	if len(r.ETRN.Networks) > mostPatterns || len(r.ETRN.Accounts) > mostPatterns {
		d.at(at, "", "there are more than %d networks or accounts", mostPatterns)
		return
	}
	for i, n := range r.ETRN.Networks {
		if at := index(join(at, "networks"), i); n.Prefix().Bits() == 0 && !d.failed[at] {
			d.at(at, "name the networks of the servers that may", "%s would let everybody ask", n)
		}
	}
	for i := range r.ETRN.Accounts {
		d.asker(index(join(at, "accounts"), i), &r.ETRN.Accounts[i], c)
	}
}

// asker puts the address of an account that may ask in order. It is one of a store's, where it logs in.
func (d *decoder) asker(at string, account *string, c *Config) {
	if d.failed[at] {
		return
	}
	box, err := address.Parse(*account)
	switch {
	case err != nil:
		d.at(at, "write office@sakes.example", "%s is no mail address", strconv.Quote(clip(*account)))
	case !slices.ContainsFunc(c.Stores, func(s Store) bool { return slices.Contains(s.Domains, box.Domain) }):
		d.at(at, "name an account of one of the stores", "no store has the domain %s", box.Domain)
	default:
		*account = box.String()
	}
}
