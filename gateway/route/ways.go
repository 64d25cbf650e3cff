package route

import (
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

// To is the destination of mail from an address (empty: the null reverse-path) to another one: its store's,
// or else its route's, which is held or refused if the route says so. It is not ok where there is no way.
func (w Ways) To(from string, to address.Mailbox) (destination string, by *Route, ok bool) {
	if store := w.Stores.Table().StoreFor(to.Domain); store != nil {
		return StoreDestination(store.Name), nil, store.Receiver != nil
	}
	d, ok := w.Routes().Find(domainOf(from), to.Domain)
	return d.Destination, d.Route, ok
}

// domainOf is the domain of a reverse-path; empty: it has none that can be read.
func domainOf(path string) string {
	box, err := address.Parse(path)
	if err != nil {
		return ""
	}
	return box.Domain
}
