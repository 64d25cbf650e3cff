package route

import (
	"fmt"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Ways are all ways that mail has from here: into the stores, and elsewhere.
type Ways struct {
	Stores *stores.Router
	Routes func() *Table
}

// toStore is in front of a store's name in a destination. No domain has a colon.
const toStore = "store:"

// StoreDestination is the destination of mail for a store.
func StoreDestination(name string) string { return toStore + name }

// StoreOf is the name of the store that a destination is; not ok: it is none.
func StoreOf(destination string) (name string, ok bool) {
	return strings.CutPrefix(destination, toStore)
}

// Explanation is where mail goes, and why.
type Explanation struct {
	// Destination is what the mail waits for, if it has to.
	Destination string
	// Store is the store that the recipient's domain belongs to; nil: none has it.
	Store *stores.Store
	// Decision is that of the routes, where no store has the domain; without a Route, none has it either.
	Decision
}

// Explain is [Ways.To] with its reasons.
func (w Ways) Explain(from string, to address.Mailbox) Explanation {
	if store := w.Stores.Table().StoreFor(to.Domain); store != nil {
		return Explanation{Destination: StoreDestination(store.Name), Store: store}
	}
	d, _ := w.Routes().Find(domainOf(from), to.Domain)
	if d.Route != nil && d.perMailbox() {
		// As itself a mailbox of a store's sends.
		if box, err := address.Parse(from); err == nil {
			if owner := w.Stores.Table().StoreFor(box.Domain); owner != nil && (owner.Name == d.Store || d.AsSender) {
				d.Destination = d.mailbox(box)
			}
		}
	}
	return Explanation{Destination: d.Destination, Decision: d}
}

// Leads says whether a destination leads anywhere now, and by which route; nil: into a store.
func (w Ways) Leads(destination string) (by *Route, err error) {
	if name, is := StoreOf(destination); is {
		for _, s := range w.Stores.Table().Stores() {
			if s.Name == name && s.Receiver != nil {
				return nil, nil
			}
		}
		return nil, fmt.Errorf("no store %q takes mail in", name)
	}
	if strings.HasPrefix(destination, prefix) {
		by, _, ok := w.Routes().Of(destination)
		if !ok {
			return nil, fmt.Errorf("there is no %s, or it leads by MX: name the domain then", destination)
		}
		return by, nil
	}
	domain, err := address.Domain(destination)
	if err != nil || domain != destination {
		return nil, fmt.Errorf("%q is no destination: it is store:NAME, route:NAME, or a domain in lower case", destination)
	}
	if store := w.Stores.Table().StoreFor(domain); store != nil {
		return nil, fmt.Errorf("%s is a domain of store:%s", domain, store.Name)
	}
	d, ok := w.Routes().Find("", domain)
	switch {
	case !ok:
		return nil, fmt.Errorf("no route leads to %s", domain)
	case d.Destination != domain:
		return nil, fmt.Errorf("%s is reached by %s", domain, d.Destination)
	}
	return d.Route, nil
}

// To is the destination of mail from an address (empty: the null reverse-path) to another one: its store's,
// or else its route's, which is held or refused if the route says so. It is not ok where there is no way.
func (w Ways) To(from string, to address.Mailbox) (destination string, by *Route, ok bool) {
	e := w.Explain(from, to)
	if e.Store != nil {
		return e.Destination, nil, e.Store.Receiver != nil
	}
	return e.Destination, e.Route, e.Route != nil
}

// Way is where one more message goes.
type Way struct {
	Destination string
	// Held says that it waits there until somebody releases it.
	Held bool
	// SizeMost is the largest message that is taken there, in octets; 0: nobody says.
	SizeMost int64
}

// Back is the way of a report on a message to the message's sender. The error says why there is none.
func (w Ways) Back(sender string) (Way, error) {
	box, err := address.Parse(sender)
	if err != nil {
		return Way{}, err
	}
	if store := w.Stores.Table().StoreFor(box.Domain); store != nil {
		if store.Receiver == nil {
			return Way{}, fmt.Errorf("the store %s takes no mail", store.Name)
		}
		return Way{Destination: StoreDestination(store.Name), SizeMost: store.Description.Limits.MessageSize}, nil
	}
	d, ok := w.Routes().Find("", box.Domain)
	switch {
	case !ok:
		return Way{}, fmt.Errorf("no route leads to %s", box.Domain)
	case d.Kind == Reject:
		return Way{}, fmt.Errorf("the route %s rejects mail to %s", d.Name, box.Domain)
	}
	return Way{Destination: d.Destination, Held: d.Kind == Hold, SizeMost: d.MessageSize}, nil
}

// domainOf is the domain of a reverse-path; empty: it has none that can be read.
func domainOf(path string) string {
	box, err := address.Parse(path)
	if err != nil {
		return ""
	}
	return box.Domain
}
