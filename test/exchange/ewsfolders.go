package exchange

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// identifier is what an Id of EWS stands for. Clients make nothing of it.
type identifier struct {
	mailbox         int
	folder, message uint64 // message is 0 in the id of a folder
}

const idMark = "AQ" // of an Id, before what it stands for

func (i identifier) String() string {
	var octets [20]byte
	binary.BigEndian.PutUint32(octets[:], uint32(i.mailbox))
	binary.BigEndian.PutUint64(octets[4:], i.folder)
	binary.BigEndian.PutUint64(octets[12:], i.message)
	return idMark + base64.StdEncoding.EncodeToString(octets[:])
}

func parseIdentifier(text string) (i identifier, ok bool) {
	text, marked := strings.CutPrefix(text, idMark)
	octets, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(octets) != 20 || !marked {
		return i, false
	}
	return identifier{int(binary.BigEndian.Uint32(octets)), binary.BigEndian.Uint64(octets[4:]), binary.BigEndian.Uint64(octets[12:])}, true
}

// number returns the place of a mailbox among the server's.
func (m *Mailbox) number() int { return slices.Index(m.server.mailboxes, m) }

// opens says whether a user may open a mailbox.
func (m *Mailbox) opens(other *Mailbox) bool {
	return m == other || other.rights[m.DN].Reads
}

// distinguished are the names of folders, MS-OXWSFOLD §2.2.5.1.
var distinguished = map[string]string{"inbox": "Inbox", "deleteditems": "Deleted Items", "sentitems": "Sent Items", "drafts": "Drafts", "msgfolderroot": "Top of Information Store", "recoverableitemsdeletions": ""}

// recoverable is the folder of what may be recovered.
const recoverable = "Recoverable Items"

// place is a folder of a mailbox.
type place struct {
	box    *Mailbox
	folder *Folder
}

// where finds the folder that an id names: a code says why there is none.
func (x *service) where(id *node) (place, string) {
	switch id.name {
	case "t:FolderId":
		i, ok := parseIdentifier(id.attrs["Id"])
		if !ok || i.message != 0 || i.mailbox >= len(x.s.mailboxes) {
			return place{}, "ErrorInvalidIdMalformed"
		}
		return x.folder(x.s.mailboxes[i.mailbox], func(f *Folder) bool { return f.id == i.folder })
	case "t:DistinguishedFolderId":
		box := x.user
		if address := id.at("t:Mailbox", "t:EmailAddress"); address != nil {
			if box = x.s.byAddress(address.text); box == nil {
				return place{}, "ErrorNonExistentMailbox"
			}
		}
		name, known := distinguished[id.attrs["Id"]]
		if !known {
			x.invalid("name the folder %q", id.attrs["Id"])
		}
		if name == "" && x.has("Exchange2010_SP1") {
			return place{box, &Folder{Name: recoverable}}, ""
		}
		return x.folder(box, func(f *Folder) bool { return f.Name == name })
	}
	x.invalid("name a folder by %s", id.name)
	return place{}, "ErrorInvalidIdMalformed"
}

func (x *service) folder(box *Mailbox, is func(*Folder) bool) (place, string) {
	if !x.user.opens(box) {
		return place{}, "ErrorAccessDenied"
	}
	for _, f := range box.folders {
		if is(f) {
			return place{box, f}, ""
		}
	}
	return place{}, "ErrorFolderNotFound"
}

// shape is which properties are wanted.
type shape struct {
	fields map[string]bool // of FieldURI, and of property tags with their types: "0x0FFF Binary"
	named  []string        // properties, all of them binary
	mail   bool
}

// public says of an ExtendedFieldURI that it names a binary property among the public strings.
func public(p *node) bool {
	return p.name == "t:ExtendedFieldURI" && p.only("DistinguishedPropertySetId", "PropertyName", "PropertyType") && p.attrs["PropertyName"] != "" &&
		p.attrs["DistinguishedPropertySetId"] == "PublicStrings" && p.attrs["PropertyType"] == "Binary"
}

// shapeOf reads the shape of a request.
func (x *service) shapeOf(n *node) shape {
	w := shape{fields: map[string]bool{}}
	if n == nil || !n.ordered("t:BaseShape!", "t:IncludeMimeContent", "t:BodyType", "t:AdditionalProperties") || n.child("t:BaseShape").text != "IdOnly" {
		x.invalid("ask for a shape that is none")
		return w
	}
	w.mail = n.child("t:IncludeMimeContent") != nil && n.child("t:IncludeMimeContent").text == "true"
	for _, p := range childrenOf(n.child("t:AdditionalProperties")) {
		switch {
		case p.name == "t:FieldURI" && p.only("FieldURI"):
			w.fields[p.attrs["FieldURI"]] = true
		case p.name == "t:ExtendedFieldURI" && p.only("PropertyTag", "PropertyType"):
			w.fields[p.attrs["PropertyTag"]+" "+p.attrs["PropertyType"]] = true
		case public(p):
			w.named = append(w.named, p.attrs["PropertyName"])
		default:
			x.invalid("ask for the property %s", p.name)
		}
	}
	return w
}

func childrenOf(n *node) []*node {
	if n == nil {
		return nil
	}
	return n.children
}

// propertyXML is the value of a property that is named by its tag.
func propertyXML(tag, kind, value string) string {
	return fmt.Sprintf(`<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="%s" PropertyType="%s"/><t:Value>%s</t:Value></t:ExtendedProperty>`,
		"0x"+strings.TrimLeft(strings.ToLower(tag[2:]), "0"), kind, value)
}

// lasting is what a folder or a message is known by in all sessions, a LongTermID (MS-OXCDATA §2.2.1.3.1) without its padding.
func (m *Mailbox) lasting(counter uint64) []byte {
	n := number(counter)
	return append(slices.Clone(m.replica[:]), n[2:]...)
}

// entryID is that of a folder, or of a message in it: MS-OXCDATA §2.2.4.1, §2.2.4.2.
func (m *Mailbox) entryID(folder, message uint64) []byte {
	kind := byte(1) // eitLTPrivateFolder
	if message != 0 {
		kind = 7 // eitLTPrivateMessage
	}
	out := append(make([]byte, 4), "mailbox's own ID"...)
	out = append(append(out, kind, 0), m.lasting(folder)...)
	out = append(out, 0, 0)
	if message != 0 {
		out = append(append(out, m.lasting(message)...), 0, 0)
	}
	return out
}

func (p place) xml(w shape) string {
	out := `<t:Folder><t:FolderId Id="` + p.id().String() + `" ChangeKey="AQAAAA=="/>`
	if w.fields["folder:DisplayName"] {
		out += "<t:DisplayName>" + esc(p.folder.Name) + "</t:DisplayName>"
	}
	if w.fields["folder:ChildFolderCount"] {
		out += fmt.Sprintf("<t:ChildFolderCount>%d</t:ChildFolderCount>", len(p.box.below(p.folder.id)))
	}
	if w.fields["0x0FFF Binary"] {
		out += propertyXML("0x0FFF", "Binary", base64.StdEncoding.EncodeToString(p.box.entryID(p.folder.id, 0)))
	}
	if w.fields["0x65E0 Binary"] {
		out += propertyXML("0x65E0", "Binary", base64.StdEncoding.EncodeToString(p.box.lasting(p.folder.id)))
	}
	return out + "</t:Folder>"
}

func (p place) id() identifier { return identifier{p.box.number(), p.folder.id, 0} }

// getFolder is MS-OXWSFOLD §3.1.4.6.
func (x *service) getFolder(o *node) (out string) {
	if !o.ordered("m:FolderShape!", "m:FolderIds!") || len(o.child("m:FolderIds").children) == 0 {
		x.invalid("send a GetFolder of %q", o.names())
		return ""
	}
	w := x.shapeOf(o.child("m:FolderShape"))
	for _, id := range o.child("m:FolderIds").children {
		if p, code := x.where(id); code != "" {
			out += refused("GetFolder", code, "<m:Folders/>")
		} else {
			out += done("GetFolder", "<m:Folders>"+p.xml(w)+"</m:Folders>")
		}
	}
	return out
}

// view is which entries of a list are wanted.
func (x *service) view(n *node, total int) (from, to int) {
	most, err := strconv.Atoi(n.attrs["MaxEntriesReturned"])
	offset, also := strconv.Atoi(n.attrs["Offset"])
	if err != nil || also != nil || most < 1 || offset < 0 || n.attrs["BasePoint"] != "Beginning" {
		x.invalid("ask for a view of %v", n.attrs)
		return 0, 0
	}
	limit := 1000
	if x.s.findLimit > 0 {
		limit = x.s.findLimit
	}
	most = min(most, limit)
	from = min(offset, total)
	return from, min(from+most, total)
}

func rootFolder(list, entries string, to, total int) string {
	return fmt.Sprintf(`<m:RootFolder IndexedPagingOffset="%d" TotalItemsInView="%d" IncludesLastItemInRange="%t"><t:%s>%s</t:%s></m:RootFolder>`,
		to, total, to == total, list, entries, list)
}

// findFolder is MS-OXWSSRCH §3.1.4.1.
func (x *service) findFolder(o *node) string {
	if !o.ordered("m:FolderShape!", "m:IndexedPageFolderView!", "m:ParentFolderIds!") || o.attrs["Traversal"] != "Shallow" || len(o.child("m:ParentFolderIds").children) != 1 {
		x.invalid("send a FindFolder of %q", o.names())
		return ""
	}
	w := x.shapeOf(o.child("m:FolderShape"))
	p, code := x.where(o.child("m:ParentFolderIds").children[0])
	if code != "" {
		return refused("FindFolder", code, "")
	}
	below := p.box.below(p.folder.id)
	from, to := x.view(o.child("m:IndexedPageFolderView"), len(below))
	var all strings.Builder
	for _, f := range below[from:to] {
		all.WriteString(place{p.box, f.(*Folder)}.xml(w))
	}
	return done("FindFolder", rootFolder("Folders", all.String(), to, len(below)))
}

// resolveNames is MS-OXWSRSLNM §3.1.4.1.
func (x *service) resolveNames(o *node) string {
	if !o.ordered("m:ParentFolderIds", "m:UnresolvedEntry!") || o.attrs["ReturnFullContactData"] == "" {
		x.invalid("send a ResolveNames of %q", o.names())
		return ""
	}
	what := strings.ToLower(o.child("m:UnresolvedEntry").text)
	all, n := "", 0
	for _, m := range x.s.mailboxes {
		if what == "" || !strings.HasPrefix(m.User, strings.TrimPrefix(what, "smtp:")) && !strings.EqualFold(m.DN, what) {
			continue
		}
		n++
		all += fmt.Sprintf(`<t:Resolution><t:Mailbox><t:Name>%s</t:Name><t:EmailAddress>%s</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType>`+
			`<t:MailboxType>Mailbox</t:MailboxType></t:Mailbox><t:Contact><t:DisplayName>%s</t:DisplayName><t:EmailAddresses>`+
			`<t:Entry Key="EmailAddress1">SMTP:%s</t:Entry></t:EmailAddresses></t:Contact></t:Resolution>`, esc(m.User), esc(m.User), esc(m.User), esc(m.User))
	}
	set := fmt.Sprintf(`<m:ResolutionSet TotalItemsInView="%d" IncludesLastItemInRange="true">%s</m:ResolutionSet>`, n, all)
	switch n {
	case 0:
		return refused("ResolveNames", "ErrorNameResolutionNoResults", "")
	case 1:
		return done("ResolveNames", set)
	}
	return `<m:ResolveNamesResponseMessage ResponseClass="Warning"><m:MessageText>Multiple results were found.</m:MessageText>` +
		`<m:ResponseCode>ErrorNameResolutionMultipleResults</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>` + set + `</m:ResolveNamesResponseMessage>`
}
