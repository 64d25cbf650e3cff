package ews

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Person is somebody in the address book.
type Person struct {
	Name    string
	Address string   // SMTP
	Proxies []string // of Address: "SMTP:george@sakes.example" and the like
}

// peopleMost is how many people a server tells of, MS-OXWSRSLNM §3.1.4.1: it stops at 100.
const peopleMost = 100

// ResolveNames asks the address book for those whom a name may mean. MS-OXWSRSLNM §3.1.4.1.
func (c *Client) ResolveNames(ctx context.Context, what string) (people []Person, err error) {
	r, err := c.do(ctx, operation{
		name: "ResolveNames",
		body: `<m:ResolveNames ReturnFullContactData="true"><m:UnresolvedEntry>` + escape(what) + "</m:UnresolvedEntry></m:ResolveNames>",
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, depth, err := r.message()
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case err != nil:
		return nil, r.lacks("its response message")
	case out.code == NoResults:
		return nil, nil
	case out.failure != nil && out.code != MultipleResults:
		return nil, out.failure
	}
	begins, err := r.element(depth, name{messagesSpace, "ResolutionSet"})
	if err != nil || !begins {
		return nil, r.failed(orLacks(r, err, "the ResolutionSet"))
	}
	err = r.entries(func() error {
		if len(people) == peopleMost {
			return r.lacks("a bound")
		}
		p, err := r.person()
		people = append(people, p)
		return err
	})
	if err == nil {
		if _, _, err = r.message(); err == io.EOF {
			return people, nil
		}
	}
	return nil, r.failed(orLacks(r, err, "its end"))
}

// person reads a Resolution, MS-OXWSRSLNM §2.2.4.1.
func (r *reply) person() (p Person, err error) {
	err = r.entries(func() error {
		inContact := r.x.name == name{typesSpace, "Contact"}
		return r.entries(func() (err error) {
			switch r.x.name {
			case name{typesSpace, "Name"}:
				p.Name, err = r.short()
			case name{typesSpace, "DisplayName"}:
				if p.Name == "" {
					p.Name, err = r.short()
				}
			case name{typesSpace, "EmailAddress"}:
				p.Address, err = r.short()
			case name{typesSpace, "EmailAddresses"}:
				if inContact {
					err = r.proxies(&p)
				}
			}
			return err
		})
	})
	return p, err
}

// proxiesMost is how many addresses of one person are taken.
const proxiesMost = 1000

func (r *reply) proxies(p *Person) error {
	return r.entries(func() error {
		text, err := r.short()
		if strings.Contains(text, "@") && len(p.Proxies) < proxiesMost {
			p.Proxies = append(p.Proxies, text)
		}
		return err
	})
}

// Change is what has become of an item, MS-OXWSSYNC §2.2.4.
type Change struct {
	Kind string // Create, Update, Delete or ReadFlagChange
	Item Item   // of one that was deleted, its id alone
}

// stateMost is how many octets a state of a folder has.
const stateMost = 4 << 20

// SyncFolderItems reads what has changed in a folder since a state of it was read: "" for all there is. more says that there are
// other changes behind these. MS-OXWSSYNC §3.1.4.2. A state that the server does not take is [InvalidSyncState].
func (c *Client) SyncFolderItems(ctx context.Context, folder FolderID, state string, most int) (changes []Change, next string, more bool, err error) {
	body := "<m:SyncFolderItems>" + listShape + "<m:SyncFolderId>" + folder.xml() + "</m:SyncFolderId>"
	if state != "" {
		body += "<m:SyncState>" + escape(state) + "</m:SyncState>"
	}
	most = min(most, syncMost)
	r, err := c.do(ctx, newOperation("SyncFolderItems", body+"<m:MaxChangesReturned>"+strconv.Itoa(most)+"</m:MaxChangesReturned></m:SyncFolderItems>"))
	err = one(r, err, func(depth int) error {
		told := false
		for {
			begins, err := r.child(depth)
			if err != nil {
				return err
			}
			if !begins {
				break
			}
			switch r.x.name {
			case name{messagesSpace, "SyncState"}:
				next, err = r.x.text(stateMost)
			case name{messagesSpace, "IncludesLastItemInRange"}:
				var last string
				last, err = r.short()
				told, more = true, last != "true" && last != "1"
			case name{messagesSpace, "Changes"}:
				changes, err = r.changes(most)
			}
			if err != nil {
				return err
			}
		}
		if next == "" || !told {
			return r.lacks("the state of the folder")
		}
		return nil
	})
	return changes, next, more, err
}

// syncMost is the largest MaxChangesReturned, MS-OXWSSYNC §2.2.5.1.
const syncMost = 512

func (r *reply) changes(most int) (all []Change, err error) {
	err = r.entries(func() error {
		if len(all) == most {
			return r.lacks("the bound that was asked for")
		}
		change := Change{Kind: r.x.name.local}
		err := r.entries(func() error {
			if r.x.name == (name{typesSpace, "ItemId"}) || r.x.name == (name{typesSpace, "IsRead"}) {
				return r.itemField(&change.Item)
			}
			return r.item(&change.Item, nil)
		})
		if err == nil && change.Item.ID.ID == "" {
			err = r.lacks("an ItemId")
		}
		all = append(all, change)
		return err
	})
	return all, err
}

// Refused says whether an error is what a server has said by this code.
func Refused(err error, code Code) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Code == code
	}
	f := backends.AsFailure(err)
	return f != nil && errors.As(f.Unwrap(), &e) && e.Code == code
}
