package mapirpc

import (
	"context"
	"fmt"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// nspi is the interface of the address book, MS-OXNSPI §1.9.
var nspi = service{
	Interface: dcerpc.Interface{
		Name: "NSPI", UUID: dcerpc.NewUUID(0xf5cc5a18, 0x4264, 0x101a, [8]byte{0x8c, 0x59, 0x08, 0x00, 0x2b, 0x2f, 0x84, 0x26}), Major: 56,
	},
	name: "exchangeAB", most: 4 << 20,
}

// entryMost is how many octets a reply may have for each name or id that is asked about: it is held in memory, and somebody has a few hundred
// addresses at the most.
const entryMost = 64 << 10

// Procedures of NSPI, MS-OXNSPI §3.1.4.
const (
	opBind         = 0  // NspiBind
	opUnbind       = 1  // NspiUnbind
	opQueryRows    = 3  // NspiQueryRows
	opDNToMId      = 7  // NspiDNToMId
	opGetProps     = 9  // NspiGetProps
	opResolveNames = 20 // NspiResolveNamesW
)

// AddressBook is a session context for the address book of a server.
type AddressBook struct {
	link
	// Server is the GUID that the server's ephemeral ids belong to.
	Server mapi.GUID
}

// Bind makes a session context for the address book. MS-OXNSPI §3.1.4.1.1.
func Bind(ctx context.Context, c Config) (*AddressBook, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	a := &AddressBook{}
	a.prepare(c, nspi, a.bind)
	if err := a.Revive(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *AddressBook) bind(ctx context.Context) error {
	r := request{name: "NspiBind", opnum: opBind, stub: a.bindRequest()}
	return a.do(ctx, r, func(d *dcerpc.Reader) {
		if d.Uint32() != 0 {
			copy(a.Server[:], d.Bytes(len(a.Server)))
		}
		copy(a.handle[:], d.Bytes(len(a.handle)))
	})
}

func (a *AddressBook) bindRequest() []byte {
	var w dcerpc.Writer
	w.Uint32(0) // dwFlags
	a.state(&w, 0)
	w.Pointer() // pServerGuid
	w.Bytes(make([]byte, len(a.Server)))
	return w.Octets()
}

// unbound is what an Unbind returns that has succeeded, MS-OXNSPI §3.1.4.1.2.
const unbound rop.Code = 1

// Unbind ends the session context and the connection. MS-OXNSPI §3.1.4.1.2.
func (a *AddressBook) Unbind(ctx context.Context) error {
	return a.end(ctx, request{name: "NspiUnbind", opnum: opUnbind, success: unbound}, a.unbindRequest)
}

func (a *AddressBook) unbindRequest() []byte {
	return append(a.handle[:len(a.handle):len(a.handle)], 0, 0, 0, 0)
} // Reserved

// state writes a STAT that stands at an entry, or at 0 at the beginning of the global address list. MS-OXNSPI §2.2.8.
func (a *AddressBook) state(w *dcerpc.Writer, current mapihttp.EntryID) {
	w.Uint32(
		0, 0, // SortType, ContainerID
		uint32(current), // CurrentRec
		0, 0, 0,         // Delta, NumPos, TotalRecs
		a.config.CodePage, a.config.Locale, // CodePage, TemplateLocale
		a.config.Locale, // SortLocale
	)
}

// readState skips one.
func readState(d *dcerpc.Reader) {
	for range 9 {
		d.Uint32()
	}
}

// writeTags writes a PropertyTagArray_r behind its pointer, MS-OXNSPI §2.2.1.
func writeTags(w *dcerpc.Writer, tags []mapi.Tag) {
	n := uint32(len(tags))
	w.Pointer()
	w.Uint32(n+1, n, 0, n) // room, cValues, and the counts of what is there
	for _, tag := range tags {
		w.Uint32(uint32(tag))
	}
}

// writeNames writes a WStringsArray_r, MS-OXNSPI §2.2.6.2, or a StringsArray_r, §2.2.6.1.
func writeNames(w *dcerpc.Writer, names []string, write func(string)) {
	w.Uint32(uint32(len(names)), uint32(len(names)))
	for range names {
		w.Pointer()
	}
	for _, name := range names {
		w.Align(4)
		write(name)
	}
	w.Align(4)
}

// Resolve looks names up: parts of names, addresses (=SMTP:george@sakes.example is one alone), distinguished names.
// MS-OXNSPI §3.1.4.1.17.
func (a *AddressBook) Resolve(ctx context.Context, names []string, columns []mapi.Tag) ([]mapihttp.Match, error) {
	var ids []mapihttp.EntryID
	var rows [][]mapi.Value
	r := request{name: "NspiResolveNamesW", opnum: opResolveNames}
	err := a.ask(ctx, r, len(names), a.resolveRequest(names, columns), func(d *dcerpc.Reader) {
		ids = readIDs(d)
		rows = readRows(d, columns)
	})
	if err != nil {
		return nil, err
	}
	return mapihttp.Matches(ids, rows, len(names))
}

func (a *AddressBook) resolveRequest(names []string, columns []mapi.Tag) func(w *dcerpc.Writer) {
	return func(w *dcerpc.Writer) {
		w.Uint32(0) // Reserved
		a.state(w, 0)
		writeTags(w, columns)
		writeNames(w, names, w.Wide)
	}
}

// IDs returns the entries of distinguished names, NotResolved where there is none. MS-OXNSPI §3.1.4.1.13.
func (a *AddressBook) IDs(ctx context.Context, names []string) ([]mapihttp.EntryID, error) {
	var ids []mapihttp.EntryID
	r := request{name: "NspiDNToMId", opnum: opDNToMId}
	err := a.ask(ctx, r, len(names), idsRequest(names), func(d *dcerpc.Reader) { ids = readIDs(d) })
	if err == nil && len(ids) != len(names) {
		err = backends.Fail(backends.Temporary, "NspiDNToMId: %d entries for %d names", len(ids), len(names))
	}
	return ids, err
}

func idsRequest(names []string) func(w *dcerpc.Writer) {
	return func(w *dcerpc.Writer) {
		w.Uint32(0) // Reserved
		writeNames(w, names, w.String)
	}
}

// Rows returns values of entries, in their order. MS-OXNSPI §3.1.4.1.8.
func (a *AddressBook) Rows(ctx context.Context, ids []mapihttp.EntryID, columns []mapi.Tag) ([][]mapi.Value, error) {
	var rows [][]mapi.Value
	r := request{name: "NspiQueryRows", opnum: opQueryRows}
	err := a.ask(ctx, r, len(ids), a.rowsRequest(ids, columns), func(d *dcerpc.Reader) {
		readState(d)
		rows = readRows(d, columns)
	})
	if err == nil && len(rows) > len(ids) {
		err = backends.Fail(backends.Temporary, "NspiQueryRows: %d entries for %d ids", len(rows), len(ids))
	}
	return rows, err
}

func (a *AddressBook) rowsRequest(ids []mapihttp.EntryID, columns []mapi.Tag) func(w *dcerpc.Writer) {
	return func(w *dcerpc.Writer) {
		w.Uint32(0) // dwFlags
		a.state(w, 0)
		n := uint32(len(ids))
		w.Uint32(n) // dwETableCount
		w.Pointer()
		w.Uint32(n) // lpETable
		for _, id := range ids {
			w.Uint32(uint32(id))
		}
		w.Uint32(n) // Count
		writeTags(w, columns)
	}
}

// Properties returns values of one entry. MS-OXNSPI §3.1.4.1.7.
func (a *AddressBook) Properties(ctx context.Context, id mapihttp.EntryID, columns []mapi.Tag) ([]mapi.Value, error) {
	var values []mapi.Value
	r := request{name: "NspiGetProps", opnum: opGetProps}
	err := a.ask(ctx, r, 1, a.propertiesRequest(id, columns), func(d *dcerpc.Reader) {
		if d.Uint32() != 0 {
			values = readRow(d, columns)
		}
	})
	return values, err
}

func (a *AddressBook) propertiesRequest(id mapihttp.EntryID, columns []mapi.Tag) func(w *dcerpc.Writer) {
	return func(w *dcerpc.Writer) {
		w.Uint32(0) // dwFlags
		a.state(w, id)
		writeTags(w, columns)
	}
}

// ask makes a call about some names or ids.
func (a *AddressBook) ask(ctx context.Context, r request, n int, write func(*dcerpc.Writer), read func(*dcerpc.Reader)) error {
	if n == 0 || n > mapihttp.NamesMost {
		return backends.Fail(backends.Permanent, "%s: %d names or ids, and 1 to %d can be asked for", r.name, n, mapihttp.NamesMost)
	}
	if err := a.turn.Live(ctx); err != nil {
		return err
	}
	defer a.turn.Pass()
	var w dcerpc.Writer
	w.Bytes(a.handle[:])
	write(&w)
	r.stub, r.most = w.Octets(), (n+1)*entryMost
	return a.do(ctx, r, read)
}

// String says which server it is.
func (a *AddressBook) String() string { return fmt.Sprintf("address book at %s", a.config.Host) }
