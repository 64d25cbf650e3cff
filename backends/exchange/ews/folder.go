package ews

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// ID names a folder or an item: octets of the server's, which are another one's when it is moved. MS-OXWSCDATA §2.2.4.36, MS-OXWSCORE §2.2.4.25.
type ID struct {
	ID        string
	ChangeKey string // of a state of it; needed to send an item
}

// FolderID names a folder: by its ID, or by what it is for.
type FolderID struct {
	ID
	known, mailbox string
}

// Folders that each mailbox has, MS-OXWSFOLD §2.2.5.1 (DistinguishedFolderIdNameType).
const (
	Inbox        = "inbox"
	SentItems    = "sentitems"
	DeletedItems = "deleteditems"
	Drafts       = "drafts"
	// Recoverable is what was deleted and may be recovered, from Exchange 2010 SP1 on.
	Recoverable = "recoverableitemsdeletions"
	Top         = "msgfolderroot"
)

// Known names a folder of a mailbox by what it is for. The mailbox is an SMTP address; empty: that of the user.
func Known(folder, mailbox string) FolderID { return FolderID{known: folder, mailbox: mailbox} }

func (f FolderID) xml() string {
	switch {
	case f.known == "":
		return f.ID.xml("t:FolderId")
	case f.mailbox == "":
		return `<t:DistinguishedFolderId Id="` + f.known + `"/>`
	}
	return `<t:DistinguishedFolderId Id="` + f.known + `"><t:Mailbox><t:EmailAddress>` + escape(f.mailbox) + `</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>`
}

func (i ID) xml(element string) string {
	out := "<" + element + ` Id="` + escape(i.ID) + `"`
	if i.ChangeKey != "" {
		out += ` ChangeKey="` + escape(i.ChangeKey) + `"`
	}
	return out + "/>"
}

// Folder is a folder.
type Folder struct {
	ID
	Name     string
	Children int
	// EntryID is PidTagEntryId, and SourceKey PidTagSourceKey: nil where the server does not tell.
	EntryID, SourceKey []byte
}

// Properties that are asked for by their tags, MS-OXPROPS.
const (
	propEntryID   = "0x0FFF"
	propSourceKey = "0x65E0"
	propSize      = "0x0E08"
	propReceived  = "0x0E06"
	propFlags     = "0x0E07"
)

// extended names a property by its tag, MS-OXWSXPROP §2.1.
func extended(tag, kind string) string {
	return `<t:ExtendedFieldURI PropertyTag="` + tag + `" PropertyType="` + kind + `"/>`
}

func field(uri string) string { return `<t:FieldURI FieldURI="` + uri + `"/>` }

// folderShape are what is asked of a folder.
var folderShape = `<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` + field("folder:DisplayName") + field("folder:ChildFolderCount") +
	extended(propEntryID, "Binary") + extended(propSourceKey, "Binary") + `</t:AdditionalProperties></m:FolderShape>`

// GetFolder reads folders, MS-OXWSFOLD §3.1.4.6. What one fails with is in its place in failures.
func (c *Client) GetFolder(ctx context.Context, ids ...FolderID) (folders []Folder, failures []*backends.Failure, err error) {
	var list strings.Builder
	for _, id := range ids {
		list.WriteString(id.xml())
	}
	r, err := c.do(ctx, operation{name: "GetFolder", body: "<m:GetFolder>" + folderShape + "<m:FolderIds>" + list.String() + "</m:FolderIds></m:GetFolder>"})
	if err != nil {
		return nil, nil, err
	}
	folders = make([]Folder, len(ids))
	failures, err = r.each(len(ids), func(i, depth int) error {
		return r.only(depth, "Folders", func() (err error) {
			folders[i], err = r.folder()
			return err
		})
	})
	return folders, failures, err
}

// foldersMost is how many folders one FindFolder asks for.
const foldersMost = 500

// FindFolder reads the folders that are right in another, MS-OXWSFOLD §3.1.4.5 (its name there is FindFolder of MS-OXWSSRCH), from
// one of them on. more says that there are others behind these.
func (c *Client) FindFolder(ctx context.Context, parent FolderID, offset int) (folders []Folder, more bool, err error) {
	r, err := c.do(ctx, operation{name: "FindFolder", body: `<m:FindFolder Traversal="Shallow">` + folderShape + page("IndexedPageFolderView", foldersMost, offset) +
		"<m:ParentFolderIds>" + parent.xml() + "</m:ParentFolderIds></m:FindFolder>"})
	err = one(r, err, func(depth int) error {
		return r.root(depth, "Folders", &more, func() error {
			f, err := r.folder()
			if len(folders) == foldersMost {
				return r.lacks("the bound that was asked for")
			}
			folders = append(folders, f)
			return err
		})
	})
	return folders, more, err
}

// page is the part of a view that is wanted, MS-OXWSSRCH §2.2.4.13.
func page(view string, most, offset int) string {
	return fmt.Sprintf(`<m:%s MaxEntriesReturned="%d" Offset="%d" BasePoint="Beginning"/>`, view, most, offset)
}

// root reads the view that a search brings: each of its entries is read by what is given. MS-OXWSSRCH §2.2.4.9.
func (r *reply) root(depth int, list string, more *bool, entry func() error) error {
	begins, err := r.element(depth, name{messagesSpace, "RootFolder"})
	if err != nil || !begins {
		return orLacks(r, err, "the RootFolder")
	}
	switch last := r.x.attr("IncludesLastItemInRange"); last {
	case "true", "1":
	case "false", "0":
		*more = true
	default:
		return r.lacks("word of whether there is more (IncludesLastItemInRange)")
	}
	depth = r.x.depth()
	if begins, err = r.element(depth, name{typesSpace, list}); err != nil || !begins {
		return orLacks(r, err, "its "+list)
	}
	return r.entries(entry)
}

func orLacks(r *reply, err error, what string) error {
	if err != nil {
		return err
	}
	return r.lacks(what)
}

// element goes to a child of the element that is open at a depth.
func (r *reply) element(depth int, wanted name) (bool, error) {
	for {
		begins, err := r.child(depth)
		if err != nil || !begins || r.x.name == wanted {
			return begins, err
		}
	}
}

// entries reads the children of the element that was begun.
func (r *reply) entries(entry func() error) error {
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil || !begins {
			return err
		}
		if err := entry(); err != nil {
			return err
		}
	}
}

// only reads the one thing that a response message brings, in an element around it.
func (r *reply) only(depth int, list string, read func() error) error {
	begins, err := r.element(depth, name{messagesSpace, list})
	if err != nil || !begins {
		return orLacks(r, err, "its "+list)
	}
	if begins, err = r.child(r.x.depth()); err != nil || !begins {
		return orLacks(r, err, "what is in its "+list)
	}
	return read()
}

const (
	idMost   = 4 << 10
	nameLong = 4 << 10
)

// folder reads a folder, of whatever kind.
func (r *reply) folder() (f Folder, err error) {
	err = r.entries(func() (err error) {
		switch r.x.name {
		case name{typesSpace, "FolderId"}:
			f.ID, err = r.id()
		case name{typesSpace, "DisplayName"}:
			f.Name, err = r.x.text(nameLong)
		case name{typesSpace, "ChildFolderCount"}:
			f.Children, err = r.number()
		case name{typesSpace, "ExtendedProperty"}:
			err = r.extended(map[uint64]func(string) error{0x0FFF: binary(&f.EntryID), 0x65E0: binary(&f.SourceKey)})
		}
		return err
	})
	if err == nil && f.ID.ID == "" {
		err = r.lacks("a FolderId")
	}
	return f, err
}

// id reads the id that the element which was begun is.
func (r *reply) id() (ID, error) {
	id := ID{r.x.attr("Id"), r.x.attr("ChangeKey")}
	if id.ID == "" || len(id.ID) > idMost || len(id.ChangeKey) > idMost {
		return id, r.lacks("an id")
	}
	return id, nil
}

func (r *reply) number() (int, error) {
	text, err := r.short()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, r.lacks("a number where one must be")
	}
	return int(n), nil
}

// extended reads a property, MS-OXWSXPROP §2.1.5: the value is for whom it belongs to, by its id. Others are passed over, and so is one without a
// value.
func (r *reply) extended(of map[uint64]func(string) error) error {
	return r.property(func() func(string) error {
		id, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(r.x.attr("PropertyTag")), "0x"), 16, 32)
		if err != nil {
			return nil
		}
		return of[id]
	})
}

// property reads a property, whose value is for whom which names when the name of the property was begun.
func (r *reply) property(which func() func(string) error) error {
	var take func(string) error
	return r.entries(func() error {
		switch r.x.name {
		case name{typesSpace, "ExtendedFieldURI"}:
			take = which()
		case name{typesSpace, "Value"}:
			if take == nil {
				return nil
			}
			text, err := r.x.text(propertyMost)
			if err != nil {
				return err
			}
			return take(strings.TrimSpace(text))
		}
		return nil
	})
}

// propertyMost is how many octets a property has that is asked for here.
const propertyMost = 64 << 10

// binary takes the value of a property of type PtypBinary. One that is no base64 counts as one that is not there.
func binary(into *[]byte) func(string) error {
	return func(text string) error {
		if octets, err := base64.StdEncoding.DecodeString(text); err == nil {
			*into = octets
		}
		return nil
	}
}
