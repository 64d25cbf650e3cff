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

// ownership says which addresses an account may send as (RFC 6409 §6.1). The store tells them
// ([backends.Account.Addresses]), and is believed for its own domains and for what the administrator has
// listed in send_as. It is not believed for addresses of other stores or of other domains.
type ownership struct {
	ours ownedBy // the addresses for which the store is believed
	own  ownedBy // those that it has told
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

// foreign says whether the store has told an address for which it is not believed.
func (o ownership) foreign(box address.Mailbox) bool { return o.own.has(box) && !o.ours.has(box) }

// ownedByAccount reads the account's addresses. What cannot be read as an address is left out.
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

// has says whether an address is in the set. The case of letters does not matter in the local part either
// (RFC 5321 §2.4 leaves that to the mailbox's host).
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

// advice names addresses that the account may send as, within the bound of a reply line (RFC 5321
// §4.5.3.1.5). They are the account's own, and the client has logged in.
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
