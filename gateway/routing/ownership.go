package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/stores"
)

// ownership answers whose an address is: the store says so ([backends.Account.Addresses]), and it is
// believed for its own domains, and for what the administrator has listed beyond them. No store says
// who may send as another store's accounts, or as strangers.
type ownership struct {
	ours ownedBy // what the store may speak for
	own  ownedBy // what it has said
}

// ownedBy is a set of addresses.
type ownedBy struct {
	boxes   []address.Mailbox
	domains map[string]bool
}

func newOwnership(account backends.Account, store *stores.Store) ownership {
	ours := ownedBy{domains: make(map[string]bool)}
	for _, domain := range store.Domains {
		ours.domains[domain] = true
	}
	for _, text := range store.SendAs {
		if domain, err := address.Domain(text); err == nil {
			ours.domains[domain] = true
		} else if box, err := address.Parse(text); err == nil {
			ours.boxes = append(ours.boxes, box)
		}
	}
	return ownership{ours: ours, own: ownedByAccount(account)}
}

// has says whether an address is the account's.
func (o ownership) has(box address.Mailbox) bool { return o.own.has(box) && o.ours.has(box) }

// foreign says whether the store gives the account an address that it may not speak for.
func (o ownership) foreign(box address.Mailbox) bool { return o.own.has(box) && !o.ours.has(box) }

// ownedByAccount reads the account's addresses; what is no address owns nothing.
func ownedByAccount(account backends.Account) ownedBy {
	o := ownedBy{domains: make(map[string]bool)}
	for _, text := range append([]string{account.Address}, account.Addresses...) {
		if len(text) > 0 && text[0] == '@' {
			if domain, err := address.Domain(text[1:]); err == nil {
				o.domains[domain] = true
			}
			continue
		}
		if box, err := address.Parse(text); err == nil {
			o.boxes = append(o.boxes, box)
		}
	}
	return o
}

// has says whether an address is in the set, the local part's letters in any case.
func (o ownedBy) has(box address.Mailbox) bool {
	if o.domains[box.Domain] {
		return true
	}
	for _, own := range o.boxes {
		if own.EqualFold(box) {
			return true
		}
	}
	return false
}

// allowed is what the account may send as: addresses, and domains whose every address is its own.
func (o ownership) allowed() (boxes []address.Mailbox, domains []string) {
	for _, domain := range slices.Sorted(maps.Keys(o.own.domains)) {
		if o.ours.domains[domain] {
			domains = append(domains, domain)
			continue
		}
		for _, box := range o.ours.boxes { // of the domain, those that the administrator has listed
			if box.Domain == domain {
				boxes = append(boxes, box)
			}
		}
	}
	for _, box := range o.own.boxes {
		if o.ours.has(box) && !slices.ContainsFunc(boxes, box.EqualFold) {
			boxes = append(boxes, box)
		}
	}
	return boxes, domains
}

// advice says which addresses the account may send as: some of them, as a reply line has a bound
// (RFC 5321 §4.5.3.1.5). It tells nobody else's: who reads it has logged in.
func (o ownership) advice() string {
	const most = 3
	boxes, domains := o.allowed()
	var list []string
	for _, box := range boxes {
		list = append(list, box.String())
	}
	for _, domain := range domains {
		list = append(list, "any address @"+domain)
	}
	if len(list) == 0 {
		return " to one of the account's addresses; it has none yet, ask the administrator"
	}
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("%d more", more))
	}
	return " to " + backends.SafeText(strings.Join(list, ", or "))
}
