package exchange

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// items finds the messages that ids name. The code says why there is none.
func (x *service) items(ids *node) (found []*Message, codes []string) {
	if len(childrenOf(ids)) == 0 {
		x.invalid("name no items")
	}
	for _, id := range childrenOf(ids) {
		m, code := x.message(id)
		found, codes = append(found, m), append(codes, code)
	}
	return found, codes
}

func (x *service) message(id *node) (*Message, string) {
	i, ok := parseIdentifier(id.attrs["Id"])
	switch {
	case id.name != "t:ItemId":
		x.invalid("name an item by %s", id.name)
		return nil, "ErrorInvalidIdMalformed"
	case !ok || i.message == 0 || i.mailbox >= len(x.s.mailboxes):
		return nil, "ErrorInvalidIdMalformed"
	case !x.user.opens(x.s.mailboxes[i.mailbox]):
		return nil, "ErrorAccessDenied"
	}
	m := x.s.mailboxes[i.mailbox].find(i.message)
	if m == nil || m.Deleted || m.folder != i.folder {
		return nil, "ErrorItemNotFound"
	}
	return m, ""
}

func (m *Message) ident() string { return identifier{m.mailbox.number(), m.folder, m.ID}.String() }

func (m *Message) changeKey() string {
	return base64.StdEncoding.EncodeToString([]byte{byte(m.ID), byte(m.changes)})
}

// xml is a message, in the order of the schema: MS-OXWSCORE §2.2.4.24, MS-OXWSMSG §2.2.4.1.
func (m *Message) xml(w shape) string {
	var out strings.Builder
	out.WriteString("<t:Message>")
	if w.mail {
		out.WriteString(`<t:MimeContent CharacterSet="UTF-8">`)
		out.WriteString(base64.StdEncoding.EncodeToString(m.Mail))
		out.WriteString("</t:MimeContent>")
	}
	fmt.Fprintf(&out, `<t:ItemId Id="%s" ChangeKey="%s"/>`, m.ident(), m.changeKey())
	if w.fields["item:ParentFolderId"] {
		fmt.Fprintf(&out, `<t:ParentFolderId Id="%s" ChangeKey="AQAAAA=="/>`, identifier{m.mailbox.number(), m.folder, 0})
	}
	if w.fields["item:Size"] {
		fmt.Fprintf(&out, "<t:Size>%d</t:Size>", len(m.Mail))
	}
	entry := base64.StdEncoding.EncodeToString(m.mailbox.entryID(m.folder, m.ID))
	for _, p := range [][3]string{
		{"0x0E08", "Integer", strconv.Itoa(len(m.Mail))},
		{"0x0E06", "SystemTime", m.Received.UTC().Format(time.RFC3339)},
		{"0x0FFF", "Binary", entry},
		{"0x65E0", "Binary", base64.StdEncoding.EncodeToString(m.mailbox.lasting(m.ID))},
	} {
		if w.fields[p[0]+" "+p[1]] {
			out.WriteString(propertyXML(p[0], p[1], p[2]))
		}
	}
	for _, named := range w.named {
		if value, has := m.named[named]; has {
			fmt.Fprintf(&out, `<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="%s" PropertyType="Binary"/><t:Value>%s</t:Value></t:ExtendedProperty>`,
				esc(named), esc(value))
		}
	}
	if w.fields["message:IsRead"] {
		fmt.Fprintf(&out, "<t:IsRead>%t</t:IsRead>", m.Read)
	}
	out.WriteString("</t:Message>")
	return out.String()
}

// listed are the messages of a folder.
func (p place) listed() (all []*Message) {
	for _, m := range p.box.messages {
		if p.folder.Name == recoverable && m.Deleted || m.folder == p.folder.id && !m.Deleted {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b *Message) int { return a.Received.Compare(b.Received) })
	return all
}

// findItem is MS-OXWSSRCH §3.1.4.2.
func (x *service) findItem(o *node) string {
	if !o.ordered("m:ItemShape!", "m:IndexedPageItemView!", "m:Restriction", "m:SortOrder", "m:ParentFolderIds!") || o.attrs["Traversal"] != "Shallow" ||
		len(o.child("m:ParentFolderIds").children) != 1 {
		x.invalid("send a FindItem of %q", o.names())
		return ""
	}
	w := x.shapeOf(o.child("m:ItemShape"))
	order := o.at("m:SortOrder", "t:FieldOrder")
	if order == nil && o.child("m:Restriction") != nil {
		order = &node{attrs: map[string]string{"Order": "Ascending"}, children: []*node{{name: "t:FieldURI", attrs: map[string]string{"FieldURI": "item:DateTimeReceived"}}}}
	}
	if w.mail || order == nil || order.attrs["Order"] != "Ascending" || order.child("t:FieldURI") == nil || order.child("t:FieldURI").attrs["FieldURI"] != "item:DateTimeReceived" {
		x.invalid("send a FindItem for mail, or in another order")
		return ""
	}
	p, code := x.where(o.child("m:ParentFolderIds").children[0])
	if code != "" {
		return refused("FindItem", code, "")
	}
	all := p.listed()
	if r := o.child("m:Restriction"); r != nil {
		all = x.restricted(r, all)
	}
	from, to := x.view(o.child("m:IndexedPageItemView"), len(all))
	var entries strings.Builder
	for _, m := range all[from:to] {
		entries.WriteString(m.xml(w))
	}
	return done("FindItem", rootFolder("Items", entries.String(), to, len(all)))
}

// restricted are the messages that have a property, whose value the restriction names: MS-OXWSSRCH §2.2.4.17.
func (x *service) restricted(r *node, all []*Message) (left []*Message) {
	is := r.child("t:IsEqualTo")
	value := is.at("t:FieldURIOrConstant", "t:Constant")
	property := is.child("t:ExtendedFieldURI")
	if value == nil || property == nil || !public(property) {
		x.invalid("send a restriction that is not known here")
		return nil
	}
	for _, m := range all {
		if m.named[property.attrs["PropertyName"]] == value.attrs["Value"] {
			left = append(left, m)
		}
	}
	return left
}

// getItem is MS-OXWSMSG §3.1.4.3.
func (x *service) getItem(o *node) string {
	if !o.ordered("m:ItemShape!", "m:ItemIds!") {
		x.invalid("send a GetItem of %q", o.names())
		return ""
	}
	w := x.shapeOf(o.child("m:ItemShape"))
	found, codes := x.items(o.child("m:ItemIds"))
	var out strings.Builder
	for i, m := range found {
		switch {
		case codes[i] != "":
			out.WriteString(refused("GetItem", codes[i], "<m:Items/>"))
		case w.mail && m.Mail == nil:
			out.WriteString(refused("GetItem", "ErrorContentConversionFailed", "<m:Items/>"))
		default:
			out.WriteString(done("GetItem", "<m:Items>"+m.xml(w)+"</m:Items>"))
		}
	}
	return out.String()
}

// exportItems is MS-OXWSBTRF §3.1.4.1.
func (x *service) exportItems(o *node) (out string) {
	if !o.ordered("m:ItemIds!") || !x.has("Exchange2010_SP1") {
		x.invalid("send an ExportItems of %q", o.names())
		return ""
	}
	found, codes := x.items(o.child("m:ItemIds"))
	for i, m := range found {
		if codes[i] != "" {
			out += refused("ExportItems", codes[i], "")
			continue
		}
		out += done("ExportItems", fmt.Sprintf(`<m:ItemId Id="%s" ChangeKey="%s"/><m:Data>%s</m:Data>`, m.ident(), m.changeKey(), base64.StdEncoding.EncodeToString(m.Stream)))
	}
	return out
}

// silent says whether receipts are suppressed.
func (x *service) silent(o *node) bool {
	value, given := o.attrs["SuppressReadReceipts"]
	if given && !x.has("Exchange2013") {
		x.invalid("send SuppressReadReceipts to a server that does not know it")
	}
	return value == "true"
}

// deleteItem is MS-OXWSCORE §3.1.4.3.
func (x *service) deleteItem(o *node) (out string) {
	how, silent := o.attrs["DeleteType"], x.silent(o)
	if !o.ordered("m:ItemIds!") || !o.only("DeleteType", "SuppressReadReceipts") || !slices.Contains([]string{"HardDelete", "SoftDelete", "MoveToDeletedItems"}, how) {
		x.invalid("send a DeleteItem of %q, %v", o.names(), o.attrs)
		return ""
	}
	found, codes := x.items(o.child("m:ItemIds"))
	for i, m := range found {
		if codes[i] != "" {
			out += refused("DeleteItem", codes[i], "")
			continue
		}
		if how == "MoveToDeletedItems" && m.folder != deletedItems {
			m.moveTo(deletedItems)
		} else {
			m.Receipt = m.Receipt || m.Wanted && !m.Read && !silent
			m.Deleted = true
			if how == "HardDelete" {
				m.mailbox.messages = slices.DeleteFunc(m.mailbox.messages, func(one *Message) bool { return one == m })
			}
		}
		out += done("DeleteItem", "")
	}
	return out
}

// moveTo moves a message to another folder of its mailbox, where it has another id.
func (m *Message) moveTo(folder uint64) {
	m.mailbox.counter++
	m.ID = m.mailbox.counter
	m.move(folder)
}

// moveItem is MS-OXWSCORE §3.1.4.7.
func (x *service) moveItem(o *node) (out string) {
	if !o.ordered("m:ToFolderId!", "m:ItemIds!") || len(o.child("m:ToFolderId").children) != 1 {
		x.invalid("send a MoveItem of %q", o.names())
		return ""
	}
	to, code := x.where(o.child("m:ToFolderId").children[0])
	found, codes := x.items(o.child("m:ItemIds"))
	for i, m := range found {
		switch {
		case codes[i] != "":
			out += refused("MoveItem", codes[i], "<m:Items/>")
		case code != "" || to.box != m.mailbox:
			out += refused("MoveItem", "ErrorToFolderNotFound", "<m:Items/>")
		default:
			m.moveTo(to.folder.id)
			out += done("MoveItem", "<m:Items>"+m.xml(shape{})+"</m:Items>")
		}
	}
	return out
}

// updateItem is MS-OXWSCORE §3.1.4.9, for what is done here.
func (x *service) updateItem(o *node) (out string) {
	silent := x.silent(o)
	if !o.ordered("m:ItemChanges!") || !o.only("MessageDisposition", "ConflictResolution", "SuppressReadReceipts") || o.attrs["MessageDisposition"] != "SaveOnly" {
		x.invalid("send an UpdateItem of %q, %v", o.names(), o.attrs)
		return ""
	}
	for _, change := range o.child("m:ItemChanges").children {
		if change.name != "t:ItemChange" || !change.ordered("t:ItemId!", "t:Updates!") {
			x.invalid("send a change of %q", change.names())
			return ""
		}
		m, code := x.message(change.child("t:ItemId"))
		if code != "" {
			out += refused("UpdateItem", code, "<m:Items/>")
			continue
		}
		for _, update := range change.child("t:Updates").children {
			x.set(m, update, silent)
		}
		m.changes++
		out += done("UpdateItem", "<m:Items>"+m.xml(shape{})+"</m:Items><m:ConflictResults><t:Count>0</t:Count></m:ConflictResults>")
	}
	return out
}

// set sets a property.
func (x *service) set(m *Message, update *node, silent bool) {
	if update.name != "t:SetItemField" || len(update.children) != 2 || len(update.child("t:Message").children) != 1 {
		x.invalid("send the update %s of %q", update.name, update.names())
		return
	}
	value := update.child("t:Message").children[0]
	switch {
	case value.name == "t:IsRead" && update.child("t:FieldURI") != nil && update.child("t:FieldURI").attrs["FieldURI"] == "message:IsRead":
		m.Receipt = m.Receipt || m.Wanted && !m.Read && value.text == "true" && !silent
		m.Read = value.text == "true"
	case value.name == "t:ExtendedProperty" && update.child("t:ExtendedFieldURI") != nil && value.child("t:Value") != nil:
		if tag := update.child("t:ExtendedFieldURI").attrs["PropertyTag"]; tag == "0x0029" {
			m.Wanted = value.child("t:Value").text == "true"
		}
	default:
		x.invalid("set %s", value.name)
	}
}

// syncItems is MS-OXWSSYNC §3.1.4.2: a state is how many messages were told of, and none of them changes.
func (x *service) syncItems(o *node) string {
	if !o.ordered("m:ItemShape!", "m:SyncFolderId!", "m:SyncState", "m:Ignore", "m:MaxChangesReturned!") || len(o.child("m:SyncFolderId").children) != 1 {
		x.invalid("send a SyncFolderItems of %q", o.names())
		return ""
	}
	w := x.shapeOf(o.child("m:ItemShape"))
	most, err := strconv.Atoi(o.child("m:MaxChangesReturned").text)
	if err != nil || most < 1 || most > 512 {
		x.invalid("ask for %q changes", o.child("m:MaxChangesReturned").text)
	}
	p, code := x.where(o.child("m:SyncFolderId").children[0])
	if code != "" {
		return refused("SyncFolderItems", code, "")
	}
	at := 0
	if state := o.child("m:SyncState"); state != nil {
		if at, err = strconv.Atoi(state.text); err != nil {
			return refused("SyncFolderItems", "ErrorInvalidSyncStateData", "")
		}
	}
	all := p.listed()
	from := min(at, len(all))
	to := min(from+most, len(all))
	changes := ""
	for _, m := range all[from:to] {
		changes += "<t:Create>" + m.xml(w) + "</t:Create>"
	}
	return done("SyncFolderItems", fmt.Sprintf("<m:SyncState>%d</m:SyncState><m:IncludesLastItemInRange>%t</m:IncludesLastItemInRange><m:Changes>%s</m:Changes>",
		to, to == len(all), changes))
}
