package mapihttp

import (
	"context"
	"errors"
	"fmt"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mapi"
)

// AddressBook is a session context for the address book of a server (NSPI over HTTP, MS-OXCMAPIHTTP §2.2.5).
type AddressBook struct {
	link
	// Server is the GUID that the server's ephemeral ids belong to.
	Server mapi.GUID
}

// NamesMost is how many names or ids a request may have.
const NamesMost = 1000

// EntryID is the number of an entry of the address book in this session, a MinimalEntryID (MS-OXNSPI §2.2.9.1).
type EntryID uint32

// The numbers that stand for something else, MS-OXNSPI §2.2.1.8, where a name was to be resolved.
const (
	NotResolved EntryID = 0 // nobody is called so
	Ambiguous   EntryID = 1 // several are; some servers say so of nobody, too
	Resolved    EntryID = 2
)

// Bind makes a session context for the address book. The URL is that of its own end point, /mapi/nspi/. MS-OXCMAPIHTTP §2.2.5.1.
func Bind(ctx context.Context, c Config) (*AddressBook, error) {
	c, target, err := c.complete()
	if err != nil {
		return nil, err
	}
	// An Unbind has Reserved and AuxiliaryBufferSize.
	a := &AddressBook{link: newLink(newCaller(c, target), call{kind: "Unbind", body: make([]byte, 8), success: unbound})}
	a.begin = a.bind
	if err := a.Revive(ctx); err != nil {
		a.unmade()
		return nil, err
	}
	return a, nil
}

func (a *AddressBook) bind(ctx context.Context) error {
	e := mapi.NewEncoder(nil, mapi.Format{Wide: true})
	e.Uint32(0) // Flags
	a.state(e)
	e.Uint32(0) // AuxiliaryBufferSize
	d, err := a.request(ctx, call{kind: "Bind", body: e.Octets()})
	if err != nil {
		return err
	}
	a.Server = d.GUID()
	return ended("Bind", d)
}

// unbound is the ErrorCode of an Unbind that has succeeded, MS-OXNSPI §2.2.1.2.
const unbound = 1

// Unbind ends the session context and the connection. MS-OXCMAPIHTTP §2.2.5.2.
func (a *AddressBook) Unbind(ctx context.Context) error {
	defer a.Close()
	return a.end(ctx)
}

// present stands before what can be missing, and absent in its place.
const (
	present uint8 = 0xFF
	absent  uint8 = 0x00
)

// state writes a STAT that stands at the beginning of the global address list, MS-OXNSPI §2.2.8. Texts are in Unicode by
// their property types: the code page is for those that are not.
func (a *AddressBook) state(e *mapi.Encoder) {
	e.Uint8(present)
	for range 6 { // SortType, ContainerID, CurrentRec, Delta, NumPos, TotalRecs
		e.Uint32(0)
	}
	e.Uint32(a.caller.config.CodePage)
	e.Uint32(a.caller.config.Locale) // TemplateLocale
	e.Uint32(a.caller.config.Locale) // SortLocale
}

// stateSize is that of a STAT.
const stateSize = 9 * 4

// writeTags writes a LargePropertyTagArray, MS-OXCMAPIHTTP §2.2.1.8.
func writeTags(e *mapi.Encoder, tags []mapi.Tag) {
	e.Uint8(present)
	e.Uint32(uint32(len(tags)))
	for _, tag := range tags {
		e.Tag(tag)
	}
}

// Match is what a name was resolved to.
type Match struct {
	// Outcome is Resolved, Ambiguous or NotResolved.
	Outcome EntryID
	// Values are those of the columns if the name was resolved. One that is not there is nil or a mapi.ErrorCode.
	Values []mapi.Value
}

// Resolve looks names up: parts of names, addresses (=SMTP:george@sakes.example is one alone), distinguished names.
// MS-OXCMAPIHTTP §2.2.5.14.
func (a *AddressBook) Resolve(ctx context.Context, names []string, columns []mapi.Tag) ([]Match, error) {
	e := mapi.NewEncoder(nil, mapi.Format{Wide: true})
	e.Uint32(0) // Reserved
	a.state(e)
	writeTags(e, columns)
	e.Uint8(present)
	e.Uint32(uint32(len(names)))
	for _, name := range names {
		e.Unicode(name)
	}
	e.Uint32(0) // AuxiliaryBufferSize
	d, err := a.ask(ctx, "ResolveNames", e, len(names))
	if err != nil {
		return nil, err
	}
	d.Uint32() // CodePage
	outcomes := readIDs(d)
	rows, err := readRows(d)
	if err := errors.Join(err, ended("ResolveNames", d)); err != nil {
		return nil, backends.AsFailure(err)
	}
	return Matches(outcomes, rows, len(names))
}

// Matches gives each name that was resolved its row.
func Matches(outcomes []EntryID, rows [][]mapi.Value, names int) ([]Match, error) {
	all := make([]Match, len(outcomes))
	for i, outcome := range outcomes {
		all[i].Outcome = outcome
		if outcome != Resolved {
			continue
		}
		if len(rows) == 0 {
			return nil, backends.Fail(backends.Temporary, "ResolveNames: a name was resolved and its entry is missing")
		}
		all[i].Values, rows = rows[0], rows[1:]
	}
	if len(all) != names || len(rows) > 0 {
		return nil, backends.Fail(backends.Temporary, "ResolveNames: %d outcomes for %d names, and %d entries too many", len(all), names, len(rows))
	}
	return all, nil
}

// IDs returns the entries of distinguished names, NotResolved where there is none. MS-OXCMAPIHTTP §2.2.5.4.
func (a *AddressBook) IDs(ctx context.Context, names []string) ([]EntryID, error) {
	e := mapi.NewEncoder(nil, mapi.Format{Wide: true})
	e.Uint32(0) // Reserved
	e.Uint8(present)
	e.Uint32(uint32(len(names)))
	for _, name := range names {
		e.String8(name)
	}
	e.Uint32(0) // AuxiliaryBufferSize
	d, err := a.ask(ctx, "DNToMId", e, len(names))
	if err != nil {
		return nil, err
	}
	ids := readIDs(d)
	if err := ended("DNToMId", d); err != nil {
		return nil, err
	}
	if len(ids) != len(names) {
		return nil, backends.Fail(backends.Temporary, "DNToMId: %d entries for %d names", len(ids), len(names))
	}
	return ids, nil
}

// Rows returns values of entries, in their order. MS-OXCMAPIHTTP §2.2.5.12.
func (a *AddressBook) Rows(ctx context.Context, ids []EntryID, columns []mapi.Tag) ([][]mapi.Value, error) {
	e := mapi.NewEncoder(nil, mapi.Format{Wide: true})
	e.Uint32(0) // Flags
	a.state(e)
	e.Uint32(uint32(len(ids))) // ExplicitTableCount
	for _, id := range ids {
		e.Uint32(uint32(id))
	}
	e.Uint32(uint32(len(ids))) // RowCount
	writeTags(e, columns)
	e.Uint32(0) // AuxiliaryBufferSize
	d, err := a.ask(ctx, "QueryRows", e, len(ids))
	if err != nil {
		return nil, err
	}
	if d.Uint8() != absent {
		d.Bytes(stateSize)
	}
	rows, err := readRows(d)
	if err := errors.Join(err, ended("QueryRows", d)); err != nil {
		return nil, backends.AsFailure(err)
	}
	if len(rows) > len(ids) {
		return nil, backends.Fail(backends.Temporary, "QueryRows: %d entries for %d ids", len(rows), len(ids))
	}
	return rows, nil
}

// ask sends a request about some names or ids.
func (a *AddressBook) ask(ctx context.Context, kind string, e *mapi.Encoder, n int) (*mapi.Decoder, error) {
	if n == 0 || n > NamesMost {
		return nil, backends.Fail(backends.Permanent, "%s: %d names or ids, and 1 to %d can be asked for", kind, n, NamesMost)
	}
	if err := a.turn.Live(ctx); err != nil {
		return nil, err
	}
	defer a.turn.Pass()
	return a.request(ctx, call{kind: kind, body: e.Octets()})
}

// readIDs reads MinimalIds behind their count.
func readIDs(d *mapi.Decoder) []EntryID {
	if d.Uint8() == absent {
		return nil
	}
	var all []EntryID
	for range d.Uint32() {
		id := EntryID(d.Uint32())
		if d.Err() != nil {
			return nil
		}
		all = append(all, id)
	}
	return all
}

// readRows reads columns and rows, MS-OXCMAPIHTTP §2.2.1.7 and §2.2.1.8.
func readRows(d *mapi.Decoder) ([][]mapi.Value, error) {
	if d.Uint8() == absent {
		return nil, nil
	}
	var columns []mapi.Tag
	for range d.Uint32() {
		tag := d.Tag()
		if d.Err() != nil {
			return nil, nil // the caller looks at it
		}
		columns = append(columns, tag)
	}
	var rows [][]mapi.Value
	for range d.Uint32() {
		row, err := readRow(d, columns)
		if err != nil || d.Err() != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Flags of a row and of a value in it, MS-OXCDATA §2.8.1 and §2.11.5.
const (
	flagWhole  uint8 = 0x00
	flagNone   uint8 = 0x01
	flagFailed uint8 = 0x0A
)

// readRow reads an AddressBookPropertyRow, MS-OXCMAPIHTTP §2.2.1.7.
func readRow(d *mapi.Decoder, columns []mapi.Tag) ([]mapi.Value, error) {
	flagged := d.Uint8()
	if flagged > flagNone {
		return nil, backends.Fail(backends.Temporary, "0x%02x is no flag of a row of the address book", flagged)
	}
	var values []mapi.Value
	for _, column := range columns {
		flag := flagWhole
		if flagged != flagWhole {
			flag = d.Uint8()
		}
		value, err := readFlagged(d, column, flag)
		if err != nil || d.Err() != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

func readFlagged(d *mapi.Decoder, column mapi.Tag, flag uint8) (mapi.Value, error) {
	switch flag {
	case flagWhole:
		return readValue(d, column.Type())
	case flagNone:
		return nil, nil
	case flagFailed:
		return mapi.ErrorCode(d.Uint32()), nil
	}
	return nil, backends.Fail(backends.Temporary, "0x%02x is no flag of a value of the address book", flag)
}

// readValue reads an AddressBookPropertyValue, MS-OXCMAPIHTTP §2.2.1.1: texts, octets and what has many values can be missing.
func readValue(d *mapi.Decoder, t mapi.Type) (mapi.Value, error) {
	if !t.IsMulti() {
		if mapi.FixedSize(t) == 0 && d.Uint8() == absent {
			return nil, nil
		}
		return d.Value(t), nil
	}
	if d.Uint8() == absent {
		return nil, nil
	}
	var all []mapi.Value
	for range d.Uint32() {
		one, err := readValue(d, t.Single())
		if err != nil || d.Err() != nil {
			return nil, err
		}
		if one != nil {
			all = append(all, one)
		}
	}
	many, err := mapi.NewMultiple(t.Single(), all)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "a value of the address book: %w", err)
	}
	return many, nil
}

// String says which server it is.
func (a *AddressBook) String() string { return fmt.Sprintf("address book at %s", a.caller.target.Host) }
