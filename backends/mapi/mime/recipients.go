package mime

import (
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// recipientFields are the fields of recipients and the PidTagRecipientType of each, MS-OXCMAIL §2.2.3.1.
var recipientFields = []struct {
	field string
	kind  mapi.Integer32
}{{"To", 1}, {"Cc", 2}, {"Bcc", recipientBcc}}

const recipientBcc = 3

// Kinds of objects, MS-OXCPRPT §2.2.1.7 and MS-OXOABK §2.2.3.11.
const (
	objectMailUser  = 6
	displayMailUser = 0
)

// addresses sets sender and recipients.
func (c *conversion) addresses(e *entity.Entity) {
	from := addressesOf(e, "From")
	sender := append(addressesOf(e, "Sender"), from...) // MS-OXCMAIL §2.2.3.1: without a Sender it is From
	if len(from) > 0 {
		c.m.SetAddress(mapi.SentRepresentingAddress, from[0])
	}
	if len(sender) > 0 {
		c.m.SetAddress(mapi.SenderAddress, sender[0])
	}
	for _, f := range recipientFields {
		for _, a := range addressesOf(e, f.field) {
			c.addRecipient(c.decapsulated(a), f.kind)
		}
	}
	c.replyTo(addressesOf(e, "Reply-To"))
}

// addressesOf returns the addresses in all fields of a name.
func addressesOf(e *entity.Entity, field string) (list []mapi.Address) {
	for _, f := range e.Header.All(field) {
		list = append(list, parseAddresses(f.Value())...)
	}
	return list
}

// parseAddresses reads a list. A mailbox without a name is shown as its address, MS-OXCMAIL §2.2.3.1.
func parseAddresses(value string) (list []mapi.Address) {
	for _, a := range entity.ParseAddresses(value) {
		a.Name, a.Address = withoutNULs(a.Name), withoutNULs(a.Address)
		if a.Name == "" {
			a.Name = a.Address
		}
		if a.Address != "" || a.Name != "" {
			list = append(list, mapi.Address{Name: a.Name, Type: mapi.AddressSMTP, Address: a.Address, SMTP: a.Address})
		}
	}
	return list
}

func (c *conversion) addRecipient(a mapi.Address, kind mapi.Integer32) *mapi.Recipient {
	r := &mapi.Recipient{}
	r.Set(mapi.PidTagRecipientType, kind)
	r.Set(mapi.PidTagObjectType, mapi.Integer32(objectMailUser))
	r.Set(mapi.PidTagDisplayType, mapi.Integer32(displayMailUser))
	r.SetAddress(mapi.RecipientAddress, a)
	if c.left.recipients--; c.left.recipients >= 0 {
		c.m.Recipients = append(c.m.Recipients, r)
	}
	return r
}

// replyTo sets where replies go, MS-OXCMAIL §2.2.3.1.6.
func (c *conversion) replyTo(list []mapi.Address) {
	if len(list) == 0 {
		return
	}
	entries := make([][]byte, 0, len(list))
	names := make([]string, 0, len(list))
	for _, a := range list {
		entries = append(entries, a.EntryID().AppendTo(nil))
		names = append(names, a.Name)
	}
	flat, err := mapi.NewEntryList(entries)
	if err != nil {
		return // a header is not so long
	}
	c.m.Set(mapi.PidTagReplyRecipientEntries, flat)
	c.m.Set(mapi.PidTagReplyRecipientNames, mapi.String(strings.Join(names, ";"))) // MS-OXOMSG §2.2.1.44
}

// readReceiptAddress are the properties of who gets a read receipt, MS-OXOMSG §2.2.2.
var readReceiptAddress = mapi.AddressTags{
	Name: mapi.PidTagReadReceiptName, Type: mapi.PidTagReadReceiptAddressType, Address: mapi.PidTagReadReceiptEmailAddress,
	SMTP: mapi.PidTagReadReceiptSmtpAddress, EntryID: mapi.PidTagReadReceiptEntryId, SearchKey: mapi.PidTagReadReceiptSearchKey,
}

func (c *conversion) readReceipt(value string) {
	c.m.Set(mapi.PidTagReadReceiptRequested, mapi.Boolean(true))
	c.m.Set(mapi.PidTagNonReceiptNotificationRequested, mapi.Boolean(true))
	if list := parseAddresses(value); len(list) > 0 {
		c.m.SetAddress(readReceiptAddress, list[0])
	}
}

func (c *conversion) deliveryReceipt(string) {
	c.m.Set(mapi.PidTagOriginatorDeliveryReportRequested, mapi.Boolean(true))
}

// displayed sets the lines of recipients that clients show, MS-OXOMSG §2.2.1.
func (c *conversion) displayed() {
	names := map[int64][]string{}
	for _, r := range c.m.Recipients {
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		names[kind] = append(names[kind], r.Text(mapi.PidTagDisplayName))
	}
	for i, tag := range []mapi.Tag{mapi.PidTagDisplayTo, mapi.PidTagDisplayCc, mapi.PidTagDisplayBcc} {
		c.m.Set(tag, mapi.String(strings.Join(names[int64(recipientFields[i].kind)], "; ")))
	}
}
