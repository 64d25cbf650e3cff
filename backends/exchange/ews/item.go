package ews

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Item is an item of a folder: a message, or what else can be there.
type Item struct {
	ID
	Parent   string // the id of its folder, where that was asked for
	Size     int64  // of its properties, an estimate of what its mail has; 0: not told
	Received time.Time
	Read     bool
	// EntryID is PidTagEntryId, and SourceKey PidTagSourceKey: nil where the server does not tell.
	EntryID, SourceKey []byte
	// Content is the MimeContent, or the Data of ExportItems. It is to be read before the next item is. It ends with io.EOF
	// when it was whole; what is no base64 is a failure of this item alone, [backends.Poison].
	Content io.Reader
}

// listShape is what is asked of each item of a list. The size and the time are asked for as properties: QUIRK: a server gives the
// Date field as DateTimeReceived where PidTagMessageDeliveryTime was not asked for.
var listShape = `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` + field("item:Size") + field("message:IsRead") +
	extended(propSize, "Integer") + extended(propReceived, "SystemTime") + extended(propEntryID, "Binary") + extended(propSourceKey, "Binary") +
	`</t:AdditionalProperties></m:ItemShape>`

// FindItem reads items of a folder, the one that came first first, from one of them on. MS-OXWSSRCH §3.1.4.2. more says that there are
// others behind these; next is where they begin.
func (c *Client) FindItem(ctx context.Context, folder FolderID, offset, most int) (items []Item, next int, more bool, err error) {
	r, err := c.do(ctx, operation{name: "FindItem", body: `<m:FindItem Traversal="Shallow">` + listShape + page("IndexedPageItemView", most, offset) +
		`<m:SortOrder><t:FieldOrder Order="Ascending">` + field("item:DateTimeReceived") + `</t:FieldOrder></m:SortOrder>` +
		"<m:ParentFolderIds>" + folder.xml() + "</m:ParentFolderIds></m:FindItem>"})
	next = offset
	err = one(r, err, func(depth int) error {
		return r.root(depth, "Items", &more, func() error {
			var item Item
			if len(items) == most {
				return r.lacks("the bound that was asked for")
			}
			if err := r.item(&item, nil); err != nil {
				return err
			}
			items = append(items, item)
			return nil
		})
	})
	return items, next + len(items), more, err
}

// item reads the item that was begun, of whatever kind, up to content if that is given: it is told when the content begins.
func (r *reply) item(item *Item, content func() (stop bool)) error {
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil {
			return err
		}
		if !begins {
			break
		}
		if content != nil && r.x.name == (name{typesSpace, "MimeContent"}) && content() {
			return nil
		}
		if err := r.itemField(item); err != nil {
			return err
		}
	}
	if item.ID.ID == "" {
		return r.lacks("an ItemId")
	}
	return nil
}

// itemField reads what was begun of an item.
func (r *reply) itemField(item *Item) (err error) {
	var n int
	switch r.x.name {
	case name{typesSpace, "ItemId"}:
		item.ID, err = r.id()
	case name{typesSpace, "ParentFolderId"}:
		item.Parent = r.x.attr("Id")
	case name{typesSpace, "Size"}:
		if n, err = r.number(); item.Size == 0 {
			item.Size = int64(n)
		}
	case name{typesSpace, "IsRead"}:
		var text string
		text, err = r.short()
		item.Read = text == "true" || text == "1"
	case name{typesSpace, "ExtendedProperty"}:
		err = r.extended(map[uint64]func(string) error{
			0x0FFF: binary(&item.EntryID), 0x65E0: binary(&item.SourceKey), 0x0E06: moment(&item.Received), 0x0E08: amount(&item.Size),
		})
	}
	return err
}

// moment takes the value of a property of type PtypTime (xs:dateTime). One that cannot be read counts as one that is not there.
func moment(into *time.Time) func(string) error {
	return func(text string) error {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			*into = t.UTC()
		}
		return nil
	}
}

func amount(into *int64) func(string) error {
	return func(text string) error {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
			*into = n
		}
		return nil
	}
}

// Items are the items of one GetItem or ExportItems, in the order in which they were asked for. One goroutine uses them.
type Items struct {
	r       *reply
	left    int
	item    *Item
	content *content // of the item before
	// mustHave says that an item without content is a failure.
	mustHave bool
	read     func(i *Items, depth int) error
}

// contentShape is what is asked of items whose mail is wanted.
var contentShape = `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent><t:AdditionalProperties>` +
	field("item:ParentFolderId") + extended(propEntryID, "Binary") + extended(propSourceKey, "Binary") + `</t:AdditionalProperties></m:ItemShape>`

// plainShape is what is asked of items without it.
var plainShape = `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` + field("item:ParentFolderId") + field("message:IsRead") +
	`</t:AdditionalProperties></m:ItemShape>`

// GetItem reads items, with their mail if that is wanted. MS-OXWSMSG §3.1.4.3.
func (c *Client) GetItem(ctx context.Context, ids []ID, mail bool) (*Items, error) {
	shape := plainShape
	if mail {
		shape = contentShape
	}
	r, err := c.do(ctx, operation{name: "GetItem", bulk: mail, body: "<m:GetItem>" + shape + itemIDs(ids) + "</m:GetItem>"})
	if err != nil {
		return nil, err
	}
	return &Items{r: r, left: len(ids), mustHave: mail, read: (*Items).mail}, nil
}

// ExportItems reads items as the server itself keeps them, with all of their properties: see MS-OXWSBTRF §3.1.4.1.
func (c *Client) ExportItems(ctx context.Context, ids []ID) (*Items, error) {
	r, err := c.do(ctx, operation{name: "ExportItems", bulk: true, body: "<m:ExportItems>" + itemIDs(ids) + "</m:ExportItems>"})
	if err != nil {
		return nil, err
	}
	return &Items{r: r, left: len(ids), read: (*Items).export}, nil
}

func itemIDs(ids []ID) string {
	var list strings.Builder
	list.WriteString("<m:ItemIds>")
	for _, id := range ids {
		list.WriteString(id.xml("t:ItemId"))
	}
	list.WriteString("</m:ItemIds>")
	return list.String()
}

// Next goes to the next item. What is wrong with that one is an [*ItemError], and those behind it can be read; any other error ends
// all of it. Behind the last one it returns io.EOF.
func (i *Items) Next() (*Item, error) {
	if i.content != nil {
		i.content.closed = true
	}
	i.content = nil
	out, depth, err := i.r.message()
	switch {
	case err == io.EOF && i.left > 0:
		return nil, i.r.lacks("a response message for each item")
	case err != nil:
		return nil, err
	case i.left == 0:
		return nil, backends.Fail(backends.Temporary, "%s: the reply of the server has more response messages than there were items", i.r.operation.name)
	}
	i.left--
	if out.failure != nil {
		return nil, &ItemError{out.failure, out.code}
	}
	i.item = &Item{}
	switch err := i.read(i, depth); {
	case errors.Is(err, errLacking): // the rest of the reply can be read
		return nil, &ItemError{backends.AsFailure(err), ""}
	case err != nil:
		return nil, i.r.failed(err)
	case i.mustHave && i.content == nil:
		return nil, &ItemError{errNoMail, ""}
	}
	return i.item, nil
}

// ItemError is what one item of several has failed with.
type ItemError struct {
	*backends.Failure
	Code Code
}

// Unwrap gives the failure to errors.As.
func (e *ItemError) Unwrap() error { return e.Failure }

// mail reads an item of GetItem up to where its mail begins, which stands before the rest of it (MS-OXWSCORE §2.2.4.24).
func (i *Items) mail(depth int) error {
	return i.r.only(depth, "Items", func() error {
		inside := i.r.x.depth()
		return i.r.item(i.item, func() bool {
			i.begin(func() error { return i.rest(inside) })
			return true
		})
	})
}

// errNoMail is the failure of an item without mail: a server gives that of each item, or says why not.
var errNoMail = backends.Fail(backends.Poison, "GetItem: the server gives no MimeContent of the item")

// rest reads an item behind its mail.
func (i *Items) rest(inside int) error {
	for {
		begins, err := i.r.child(inside)
		if err == nil && !begins && i.item.ID.ID == "" {
			err = i.r.lacks("an ItemId")
		}
		if err != nil || !begins {
			return err
		}
		if err := i.r.itemField(i.item); err != nil {
			return err
		}
	}
}

// export reads an item of ExportItems, MS-OXWSBTRF §2.2.4.1.
func (i *Items) export(depth int) error {
	for {
		begins, err := i.r.child(depth)
		if err != nil || !begins {
			return orLacks(i.r, err, "its Data")
		}
		switch i.r.x.name {
		case name{messagesSpace, "ItemId"}:
			if i.item.ID, err = i.r.id(); err != nil {
				return err
			}
		case name{messagesSpace, "Data"}:
			i.begin(func() error { return nil })
			return nil
		}
	}
}

func (i *Items) begin(behind func() error) {
	text := i.r.x.stream()
	i.content = &content{items: i, text: text, decoded: base64.NewDecoder(base64.StdEncoding, &packed{text}), behind: behind}
	i.item.Content = i.content
}

// Close gives up what was not read.
func (i *Items) Close() { i.r.Close() }

// content is base64 that is decoded while it comes.
type content struct {
	items   *Items
	text    io.Reader
	decoded io.Reader
	behind  func() error // reads what is behind it in the item
	closed  bool         // another item is being read
	err     error
}

var errPassed = errors.New("the content of an item that is not the one which is being read")

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.closed:
		return 0, errPassed
	}
	n, err := c.decoded.Read(p)
	if err != nil {
		c.err = c.end(err)
	}
	return n, c.err
}

// end is what the end of the base64 means: it is the item's end where that is whole.
func (c *content) end(err error) error {
	r := c.items.r
	var corrupt base64.CorruptInputError
	wrong := errors.As(err, &corrupt) || err == io.ErrUnexpectedEOF
	if wrong { // was it the reply that ended, or is it base64 that has?
		if _, cut := io.Copy(io.Discard, c.text); cut != nil {
			return r.failed(cut)
		}
	} else if err != io.EOF {
		return r.failed(err)
	}
	switch behind := c.behind(); {
	case errors.Is(behind, errLacking):
		return &ItemError{backends.AsFailure(behind), ""}
	case behind != nil:
		return r.failed(behind)
	case wrong:
		return &ItemError{backends.Fail(backends.Poison, "%s: the content of the item is no base64", r.operation.name), ""}
	}
	return io.EOF
}

// packed leaves white space out, which base64 may have anywhere (XML Schema part 2 §3.2.16).
type packed struct{ src io.Reader }

func (s *packed) Read(p []byte) (int, error) {
	for {
		n, err := s.src.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}
