package exchange

import (
	"bytes"
	"encoding/base64"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// createItem is MS-OXWSMSG §3.1.4.1.
func (x *service) createItem(o *node) string {
	how := o.attrs["MessageDisposition"]
	if !o.ordered("m:SavedItemFolderId", "m:Items!") || !o.only("MessageDisposition") || len(o.child("m:Items").children) != 1 ||
		!slices.Contains([]string{"SaveOnly", "SendOnly", "SendAndSaveCopy"}, how) {
		x.invalid("send a CreateItem of %q, %v", o.names(), o.attrs)
		return ""
	}
	item := o.child("m:Items").children[0]
	content := item.child("t:MimeContent")
	if item.name != "t:Message" || content == nil || content.attrs["CharacterSet"] != "UTF-8" || !behind(item, "t:MimeContent", "t:ExtendedProperty") {
		x.invalid("make a %s of %q", item.name, item.names())
		return ""
	}
	octets, err := base64.StdEncoding.DecodeString(content.text)
	if err != nil {
		x.s.wrong("send mail that is no base64")
		return refused("CreateItem", "ErrorMimeContentInvalidBase64String", "<m:Items/>")
	}
	to := place{x.user, x.user.named("Drafts")}
	if saved := o.child("m:SavedItemFolderId"); saved != nil && len(saved.children) == 1 {
		var code string
		if to, code = x.where(saved.children[0]); code != "" {
			return refused("CreateItem", code, "<m:Items/>")
		}
	}
	if code := to.box.full(octets); code != "" && how != "SendOnly" {
		return refused("CreateItem", code, "<m:Items/>")
	}
	if how == "SaveOnly" {
		return done("CreateItem", "<m:Items>"+x.add(to, octets, item, flagUnsent)+"</m:Items>")
	}
	if code := x.submit(octets); code != "" {
		return refused("CreateItem", code, "<m:Items/>")
	}
	made := ""
	if how == "SendAndSaveCopy" {
		made = x.add(to, octets, item, flagRead)
	}
	return done("CreateItem", "<m:Items>"+made+"</m:Items>")
}

// behind says whether the children come in this order, each as often as it will.
func behind(n *node, order ...string) bool {
	at := 0
	for _, name := range n.names() {
		place := slices.Index(order, name)
		if place < at {
			return false
		}
		at = place
	}
	return true
}

// full is the code for a mailbox that takes no more.
func (m *Mailbox) full(octets []byte) string {
	if m.Quota > 0 && m.size()+int64(len(octets)) > m.Quota {
		return "ErrorQuotaExceeded"
	}
	return ""
}

func (m *Mailbox) named(name string) *Folder {
	for _, f := range m.folders {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// add puts a message into a folder, with the properties that come with it. Its flags are these where nobody says otherwise.
func (x *service) add(to place, octets []byte, item *node, flags uint32) string {
	m := to.box.put(to.folder.id, now().UTC(), octets)
	m.named = map[string]string{}
	for _, p := range item.children {
		uri, value := p.child("t:ExtendedFieldURI"), p.child("t:Value")
		switch {
		case uri == nil || value == nil: // it is the content
		case uri.attrs["PropertyTag"] == "0x0E07" && value.text == "0":
			flags = 0
		case uri.attrs["PropertyTag"] == "0x0E06" && uri.attrs["PropertyType"] == "SystemTime":
			at, err := time.Parse(time.RFC3339, value.text)
			if err != nil {
				x.invalid("set the time %q", value.text)
			}
			m.Received = at
		case public(uri):
			m.named[uri.attrs["PropertyName"]] = value.text
		default:
			x.invalid("set the property %v", uri.attrs)
		}
	}
	m.Flags, m.Read = flags&^flagRead, flags&flagRead != 0
	return m.xml(shape{})
}

// put puts mail into a folder.
func (m *Mailbox) put(folder uint64, received time.Time, octets []byte) *Message {
	one := m.add(folder)
	one.Received, one.Mail = received, octets
	if parsed, err := mail.ReadMessage(bytes.NewReader(octets)); err == nil {
		one.Subject = parsed.Header.Get("Subject")
		one.Wanted = parsed.Header.Get("Disposition-Notification-To") != ""
	}
	return one
}

// submit sends mail to whom its header names. What says who gets it in secret is taken out of it.
func (x *service) submit(octets []byte) string {
	parsed, err := mail.ReadMessage(bytes.NewReader(octets))
	if err != nil {
		return "ErrorMimeContentInvalid"
	}
	from, err := parsed.Header.AddressList("From")
	switch {
	case err != nil || len(from) != 1:
		return "ErrorMimeContentInvalid"
	case !x.mayBe(from[0].Address):
		return "ErrorSendAsDenied"
	}
	var to []string
	for _, field := range []string{"To", "Cc", "Bcc"} {
		list, _ := parsed.Header.AddressList(field)
		for _, a := range list {
			to = append(to, a.Address)
		}
	}
	slices.Sort(to)
	to = slices.Compact(to)
	if len(to) == 0 || slices.ContainsFunc(to, func(one string) bool { return slices.Contains(x.s.refused, one) }) {
		return "ErrorInvalidRecipients"
	}
	x.s.spread(from[0].Address, to, withoutField(octets, "bcc:"))
	return ""
}

func (x *service) mayBe(address string) bool {
	box := x.s.byAddress(address)
	return box == x.user || slices.Contains(x.user.SendAs, strings.ToLower(address))
}

// spread delivers a message.
func (s *Server) spread(from string, to []string, octets []byte) {
	var away []string
	for _, address := range to {
		if box := s.byAddress(address); box != nil {
			box.put(inbox, now().UTC(), octets)
		} else {
			away = append(away, address)
		}
	}
	if len(away) > 0 {
		s.sent = append(s.sent, Sent{From: from, Recipients: away, Mail: octets})
	}
}

// withoutField takes a field out of a header.
func withoutField(octets []byte, field string) []byte {
	head, body, _ := bytes.Cut(octets, []byte("\r\n\r\n"))
	var kept []string
	drop := false
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			drop = strings.HasPrefix(strings.ToLower(line), field)
		}
		if !drop {
			kept = append(kept, line)
		}
	}
	return append([]byte(strings.Join(kept, "\r\n")+"\r\n\r\n"), body...)
}

// sendItem is MS-OXWSCORE §3.1.4.8.
func (x *service) sendItem(o *node) string {
	save := o.attrs["SaveItemToFolder"]
	if !o.ordered("m:ItemIds!", "m:SavedItemFolderId") || save != "true" && save != "false" || len(o.child("m:ItemIds").children) != 1 {
		x.invalid("send a SendItem of %q, %v", o.names(), o.attrs)
		return ""
	}
	id := o.child("m:ItemIds").children[0]
	m, code := x.message(id)
	switch {
	case code != "":
		return refused("SendItem", code, "")
	case id.attrs["ChangeKey"] == "":
		x.s.wrong("send an item without its ChangeKey")
		return refused("SendItem", "ErrorChangeKeyRequiredForWriteOperations", "")
	case id.attrs["ChangeKey"] != m.changeKey():
		return refused("SendItem", "ErrorStaleObject", "")
	}
	if code := x.submit(m.Mail); code != "" {
		return refused("SendItem", code, "")
	}
	m.Flags &^= flagUnsent
	if save == "false" {
		m.mailbox.messages = slices.DeleteFunc(m.mailbox.messages, func(one *Message) bool { return one == m })
	} else if to, code := x.where(o.child("m:SavedItemFolderId").children[0]); code == "" {
		m.moveTo(to.folder.id)
	}
	return done("SendItem", "")
}
