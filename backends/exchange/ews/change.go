package ews

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Disposal is what becomes of an item that is deleted, MS-OXWSCDATA §2.2.5.7 (DisposalType).
type Disposal string

// The disposals.
const (
	HardDelete         Disposal = "HardDelete"
	SoftDelete         Disposal = "SoftDelete" // it can be recovered for a while
	MoveToDeletedItems Disposal = "MoveToDeletedItems"
)

// DeleteItem deletes items, MS-OXWSCORE §3.1.4.3. No receipt is sent of one that was not read, where the server has a way to say that: from
// Exchange 2013 on. What one fails with is in its place.
func (c *Client) DeleteItem(ctx context.Context, ids []ID, how Disposal) ([]*backends.Failure, error) {
	return c.change(ctx, "DeleteItem", len(ids), `<m:DeleteItem DeleteType="`+string(how)+`"`+c.silent()+`>`+itemIDs(ids)+"</m:DeleteItem>")
}

// silent is the attribute that suppresses receipts, where the schema has it.
func (c *Client) silent() string {
	if c.Has(Exchange2013) {
		return ` SuppressReadReceipts="true"`
	}
	return ""
}

// change does what is answered with a response message for each item.
func (c *Client) change(ctx context.Context, operation string, n int, body string) ([]*backends.Failure, error) {
	r, err := c.do(ctx, newOperation(operation, body))
	if err != nil {
		return nil, err
	}
	return r.each(n, nil)
}

// newOperation is a request that may be made again.
func newOperation(name, body string) operation { return operation{name: name, body: body} }

// MoveItem moves items to another folder, where they have other ids: those that the server tells. MS-OXWSCORE §3.1.4.7.
func (c *Client) MoveItem(ctx context.Context, ids []ID, to FolderID) (moved []ID, failures []*backends.Failure, err error) {
	r, err := c.do(ctx, newOperation("MoveItem", "<m:MoveItem><m:ToFolderId>"+to.xml()+"</m:ToFolderId>"+itemIDs(ids)+"</m:MoveItem>"))
	if err != nil {
		return nil, nil, err
	}
	moved = make([]ID, len(ids))
	failures, err = r.each(len(ids), func(i, depth int) error { return r.made(depth, &moved[i]) })
	return moved, failures, err
}

// made reads the id of the item that a response message brings. One that went to another mailbox has none.
func (r *reply) made(depth int, id *ID) error {
	begins, err := r.element(depth, name{messagesSpace, "Items"})
	if err != nil || !begins {
		return orLacks(r, err, "its Items")
	}
	return r.entries(func() error {
		var item Item
		err := r.item(&item, nil)
		*id = item.ID
		return err
	})
}

// MarkRead marks items as read. MS-OXWSCORE §3.1.4.9. No receipt is sent: from Exchange 2013 on by the attribute that is for that, and before
// by taking back that somebody wants one (PidTagReadReceiptRequested).
func (c *Client) MarkRead(ctx context.Context, ids []ID) ([]*backends.Failure, error) {
	var list strings.Builder
	for _, id := range ids {
		list.WriteString("<t:ItemChange>" + id.xml("t:ItemId") + "<t:Updates>")
		if !c.Has(Exchange2013) {
			list.WriteString(noReceipt)
		}
		list.WriteString("<t:SetItemField>" + field("message:IsRead") + "<t:Message><t:IsRead>true</t:IsRead></t:Message></t:SetItemField></t:Updates></t:ItemChange>")
	}
	return c.update(ctx, len(ids), list.String())
}

// ForgetReceipts takes back that anybody wants receipts of items.
func (c *Client) ForgetReceipts(ctx context.Context, ids []ID) ([]*backends.Failure, error) {
	var list strings.Builder
	for _, id := range ids {
		list.WriteString("<t:ItemChange>" + id.xml("t:ItemId") + "<t:Updates>" + noReceipt + "</t:Updates></t:ItemChange>")
	}
	return c.update(ctx, len(ids), list.String())
}

// noReceipt takes back PidTagReadReceiptRequested and PidTagNonReceiptNotificationRequested.
var noReceipt = setFlag("0x0029", "false") + setFlag("0x0C06", "false")

func setFlag(tag, value string) string {
	property := extended(tag, "Boolean")
	return "<t:SetItemField>" + property + "<t:Message><t:ExtendedProperty>" + property + "<t:Value>" + value +
		"</t:Value></t:ExtendedProperty></t:Message></t:SetItemField>"
}

func (c *Client) update(ctx context.Context, n int, changes string) ([]*backends.Failure, error) {
	return c.change(ctx, "UpdateItem", n, `<m:UpdateItem MessageDisposition="SaveOnly" ConflictResolution="AlwaysOverwrite"`+c.silent()+
		"><m:ItemChanges>"+changes+"</m:ItemChanges></m:UpdateItem>")
}

// Disposition is what becomes of an item that is made, MS-OXWSMSG §2.2.5.1 (MessageDispositionType).
type Disposition string

// The dispositions.
const (
	SaveOnly        Disposition = "SaveOnly"
	SendOnly        Disposition = "SendOnly"
	SendAndSaveCopy Disposition = "SendAndSaveCopy"
)

// NewItem is a message that is to be made of mail.
type NewItem struct {
	Disposition Disposition
	// Folder is where it is saved. It is not looked at with SendOnly.
	Folder FolderID
	// Mail gives the message, from its start each time, and Size is how many octets that are.
	Mail func() io.Reader
	Size int64
	// Delivered has the message be one that has arrived, and no draft. At is when it has; zero: now.
	Delivered bool
	At        time.Time
	// Properties are others that it has.
	Properties []Property
}

// Property is a value of a property, in the form of MS-OXWSXPROP §2.1.5. It is known by its tag ("0x0E07"), or by a name among the
// public strings (PS_PUBLIC_STRINGS).
type Property struct {
	Tag, Name, Type, Value string
}

// uri names a property, MS-OXWSXPROP §2.1.
func (p Property) uri() string {
	if p.Tag != "" {
		return extended(p.Tag, p.Type)
	}
	return `<t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="` + escape(p.Name) + `" PropertyType="` + p.Type + `"/>`
}

// CreateItem makes a message, MS-OXWSMSG §3.1.4.1. It is done once: where it is not known what came of it the failure is
// [backends.Uncertain]. The id is that of what was saved.
func (c *Client) CreateItem(ctx context.Context, item NewItem) (id ID, err error) {
	head := `<m:CreateItem MessageDisposition="` + string(item.Disposition) + `">`
	if item.Disposition != SendOnly {
		head += "<m:SavedItemFolderId>" + item.Folder.xml() + "</m:SavedItemFolderId>"
	}
	r, err := c.do(ctx, operation{
		name: "CreateItem", once: true, content: &upload{item.Mail, item.Size},
		body: head + `<m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">`,
		tail: "</t:MimeContent>" + item.rest() + "</t:Message></m:Items></m:CreateItem>",
	})
	err = one(r, err, func(depth int) error { return r.made(depth, &id) })
	if err == nil && item.Disposition == SaveOnly && id.ID == "" {
		err = backends.Fail(backends.Uncertain, "CreateItem: %w an ItemId", errLacking)
	}
	return id, err
}

// arrived is neither mfRead nor mfUnsent: MS-OXCMSG §2.2.1.6.
const arrived = "0"

// rest is what a message has behind its mail, in the order of the schema: MS-OXWSCORE §2.2.4.24, MS-OXWSMSG §2.2.4.1.
func (item *NewItem) rest() string {
	var out strings.Builder
	all := item.Properties
	if item.Delivered {
		all = append([]Property{{Tag: propFlags, Type: "Integer", Value: arrived}}, all...)
	}
	if !item.At.IsZero() {
		all = append(all, Property{Tag: propReceived, Type: "SystemTime", Value: item.At.UTC().Format("2006-01-02T15:04:05Z")})
	}
	for _, p := range all {
		out.WriteString("<t:ExtendedProperty>" + p.uri() + "<t:Value>" + escape(p.Value) + "</t:Value></t:ExtendedProperty>")
	}
	return out.String()
}

// SendItem sends an item that is there, MS-OXWSCORE §3.1.4.8: it goes to the folder that is named, or is gone where there is
// none. The id must have its ChangeKey. It is done once.
func (c *Client) SendItem(ctx context.Context, id ID, saved *FolderID) error {
	body, behind := `<m:SendItem SaveItemToFolder="false">`, ""
	if saved != nil {
		body, behind = `<m:SendItem SaveItemToFolder="true">`, "<m:SavedItemFolderId>"+saved.xml()+"</m:SavedItemFolderId>"
	}
	r, err := c.do(ctx, operation{name: "SendItem", once: true, body: body + itemIDs([]ID{id}) + behind + "</m:SendItem>"})
	return one(r, err, nil)
}
