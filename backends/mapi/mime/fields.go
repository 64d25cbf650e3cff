package mime

import (
	"cmp"
	"encoding/base64"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
)

// header returns the fields of the message, each with its line end.
func (p *planner) header() []string {
	if p.Kept {
		if kept := p.keptFields(p.textOf(mapi.PidTagTransportMessageHeaders)); len(kept) > 0 {
			return kept
		}
	}
	return p.madeHeader()
}

// madeHeader returns the fields that properties make.
func (p *planner) madeHeader() []string {
	f := &fields{planner: p}
	f.addressFields()
	f.text("Subject", p.subject())
	f.text("Thread-Topic", p.textOf(mapi.PidTagConversationTopic)) // MS-OXCMAIL §2.1.3.2
	if index := p.m.Bytes(mapi.PidTagConversationIndex); len(index) > 0 {
		f.text("Thread-Index", base64.StdEncoding.EncodeToString(index)) // §2.1.3.2
	}
	f.time("Date", mapi.PidTagClientSubmitTime, mapi.PidTagMessageDeliveryTime) // §2.1.3.2
	f.fieldsOfText()
	f.choice("Importance", mapi.PidTagImportance, importanceNormal, importanceNames)
	f.choice("Sensitivity", mapi.PidTagSensitivity, 0, []string{"normal", "personal", "private", "company-confidential"})
	f.text("Keywords", strings.Join(p.m.Texts(mapi.PidNameKeywords), ", "))
	f.time("Reply-By", mapi.PidTagReplyTime)
	f.time("Expires", mapi.PidTagExpiryTime)
	f.time("Deferred-Delivery", mapi.PidTagDeferredSendTime)
	f.suppressions()
	f.named()
	return f.list
}

// importanceNames are the values of the field Importance by those of PidTagImportance.
var importanceNames = []string{"low", "normal", "high"}

// textOf returns a text that becomes fields. One that is not in memory is read, up to what a header may have.
func (p *planner) textOf(k mapi.Key) string {
	v, large := p.m.Get(k).(mapi.Streamed)
	if !large || !v.Of.IsText() {
		return p.m.Text(k)
	}
	text, _, _ := strings.Cut(string(p.start(v.OpenText())), "\x00")
	return strings.ToValidUTF8(text, "")
}

// bytesOf returns octets that become fields, as textOf does.
func (p *planner) bytesOf(k mapi.Key) []byte {
	v, large := p.m.Get(k).(mapi.Streamed)
	if !large || v.Of.IsText() {
		return p.m.Bytes(k)
	}
	return p.start(v.Content.Open())
}

// start reads as much of a value as a header may have.
func (p *planner) start(r io.ReadCloser, err error) []byte {
	if err != nil {
		p.err = cmp.Or(p.err, err)
		return nil
	}
	defer r.Close()
	octets, err := io.ReadAll(io.LimitReader(r, header.Most))
	p.err = cmp.Or(p.err, err)
	return octets
}

// keptFields returns the fields of a header that may be written: not those that say how the message is made, who gets it
// in secret, or what Exchange's servers tell one another. It returns nothing if that is no header.
func (p *planner) keptFields(raw string) (kept []string) {
	e, err := entity.Read(strings.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil // somebody has written into it: what was read once can be read again
	}
	for _, f := range e.Header.Fields {
		name := strings.ToLower(f.Name)
		switch written := string(f.Raw); {
		case name == "" || name == "mime-version" || strings.HasPrefix(name, "content-") && IsOfStructure(name):
		case !p.Bcc && (name == "bcc" || name == "resent-bcc"), IsReserved(name):
		case isWritable(written):
			kept = append(kept, written)
		default:
			kept = append(kept, entity.FormatText(f.Name, f.Value()))
		}
	}
	return kept
}

// isWritable says whether a field can be written as it came.
func isWritable(field string) bool {
	for line := range strings.SplitAfterSeq(field, "\r\n") {
		if text, ended := strings.CutSuffix(line, "\r\n"); line != "" && (!ended || len(text) > lineMost || !isASCII(strings.ReplaceAll(text, "\t", ""))) {
			return false
		}
	}
	return true
}

// fields are being collected.
type fields struct {
	*planner
	list []string
}

func (f *fields) text(name, value string) {
	if value != "" {
		f.list = append(f.list, entity.FormatText(name, value))
	}
}

// Years of which a message may be (RFC 5322 §3.3). Objects say by one that is later that there is no time, and by the
// first moment of 1601, too.
const (
	yearFirst = 1900
	yearLast  = 4500
)

// dateOf returns a time that can be written.
func dateOf(p *mapi.Properties, k mapi.Key) (at time.Time, ok bool) {
	at, ok = p.Time(k)
	return at, ok && at.Year() >= yearFirst && at.Year() <= yearLast
}

// time writes the first of some times that is there.
func (f *fields) time(name string, tags ...mapi.Tag) {
	for _, tag := range tags {
		if at, ok := dateOf(&f.m.Properties, tag); ok {
			f.list = append(f.list, name+": "+at.Format(time.RFC1123Z)+"\r\n")
			return
		}
	}
}

// choice writes a value by its name, but for the one that need not be said.
func (f *fields) choice(name string, tag mapi.Tag, usual int64, values []string) {
	if v, ok := f.m.Integer(tag); ok && v != usual && v >= 0 && v < int64(len(values)) {
		f.text(name, values[v])
	}
}

// subject returns the subject, or makes it of its parts. MS-OXCMSG §2.2.1.
func (p *planner) subject() string {
	if subject := p.textOf(mapi.PidTagSubject); subject != "" {
		// A store may have the length of the prefix in two characters in front (PidTagSubject as older clients keep it).
		if runes := []rune(subject); len(runes) > 1 && runes[0] == 1 {
			return string(runes[2:])
		}
		return subject
	}
	return p.m.Text(mapi.PidTagSubjectPrefix) + p.textOf(mapi.PidTagNormalizedSubject)
}

// addressFields writes sender and recipients, MS-OXCMAIL §2.1.3.1.
func (f *fields) addressFields() {
	from, isFrom := f.m.Address(mapi.SentRepresentingAddress)
	sender, isSender := f.m.Address(mapi.SenderAddress)
	if !isFrom {
		from, isFrom = sender, isSender
	}
	if isFrom {
		f.addresses("From", from)
	}
	if isSender && f.internet(sender) != f.internet(from) {
		f.addresses("Sender", sender)
	}
	f.addresses("Reply-To", f.replyTo()...)
	for _, field := range recipientFields {
		if field.field != "Bcc" || f.Bcc {
			f.addresses(field.field, f.recipients(int64(field.kind))...)
		}
	}
	if receipt, is := f.m.Address(readReceiptAddress); f.m.Bool(mapi.PidTagReadReceiptRequested) {
		if !is {
			receipt = from
		}
		f.addresses("Disposition-Notification-To", receipt) // §2.1.3.1
	}
	if f.m.Bool(mapi.PidTagOriginatorDeliveryReportRequested) {
		f.addresses("Return-Receipt-To", from) // §2.1.3.1.5
	}
}

func (f *fields) addresses(name string, list ...mapi.Address) {
	var written []entity.Address
	for _, a := range list {
		internet := f.internet(a)
		if internet.Name == internet.Address {
			internet.Name = "" // it was set to have something to show
		}
		if internet.Address != "" || internet.Name != "" {
			written = append(written, internet)
		}
	}
	if len(written) > 0 {
		f.list = append(f.list, entity.FormatAddresses(name, written))
	}
}

// recipients returns those of a kind. The bits above say what has become of them, MS-OXCMAIL §2.1.3.1.1.
func (f *fields) recipients(kind int64) (list []mapi.Address) {
	organized := hasOrganizer(f.m.Text(mapi.PidTagMessageClass))
	for _, r := range f.m.Recipients {
		if organized && isOrganizer(r) {
			continue
		}
		k, ok := r.Integer(mapi.PidTagRecipientType)
		if k&3 == kind || !ok && kind == 1 { // nobody is left out who is there
			if a, is := r.Address(mapi.RecipientAddress); is || a.Name != "" {
				list = append(list, a)
			}
		}
	}
	return list
}

// replyTo returns where replies go. Names count if there are as many as addresses, MS-OXCMAIL §2.1.3.1.2.
func (f *fields) replyTo() (list []mapi.Address) {
	entries, err := mapi.ParseEntryList(f.bytesOf(mapi.PidTagReplyRecipientEntries))
	if err != nil {
		return nil
	}
	names := strings.Split(f.textOf(mapi.PidTagReplyRecipientNames), ";")
	for i, entry := range entries {
		var one mapi.Properties
		if len(names) == len(entries) {
			one.Set(mapi.PidTagDisplayName, mapi.String(names[i]))
		}
		one.Set(mapi.PidTagEntryId, mapi.Binary(entry))
		if a, is := one.Address(mapi.RecipientAddress); is {
			list = append(list, a)
		}
	}
	return list
}

// internet returns the Internet address of an address of any kind: its SMTP address if there is one, or else one that
// encapsulates it (MS-OXCMAIL §2.1.3.1.8).
func (p *planner) internet(a mapi.Address) entity.Address {
	addr := a.SMTP
	if addr == "" && p.Domain != "" && a.Address != "" {
		addr = Encapsulate(a.Type, a.Address, p.Domain)
	}
	if p.bare && addr != "" {
		return entity.Address{Address: addr}
	}
	return entity.Address{Name: a.Name, Address: addr}
}

// textFields are fields whose text is that of a property.
var textFields = []struct {
	name string
	tag  mapi.Tag
}{
	{"Message-ID", mapi.PidTagInternetMessageId}, // MS-OXCMAIL §2.1.3.2
	{"In-Reply-To", mapi.PidTagInReplyToId},
	{"References", mapi.PidTagInternetReferences},
	{"List-Help", mapi.PidTagListHelp},
	{"List-Subscribe", mapi.PidTagListSubscribe},
	{"List-Unsubscribe", mapi.PidTagListUnsubscribe},
}

func (f *fields) fieldsOfText() {
	for _, t := range textFields {
		f.text(t.name, f.textOf(t.tag))
	}
}

// suppressions writes X-Auto-Response-Suppress, MS-OXCMAIL §2.1.3.2.
func (f *fields) suppressions() {
	bits, _ := f.m.Integer(mapi.PidTagAutoResponseSuppress)
	var names []string
	for _, s := range suppressions {
		if bits&int64(s.bit) != 0 {
			names = append(names, s.name)
		}
	}
	f.text("X-Auto-Response-Suppress", strings.Join(names, ", "))
}

// named writes the fields that have no property of their own, in their order. MS-OXCMAIL §2.1.3.2: none that other
// properties make, and none that Exchange's servers tell one another.
func (f *fields) named() {
	for property := range f.m.All() {
		name := strings.ToLower(property.Named.Name)
		_, known := mapped[name]
		if property.Named.Set != mapi.PSInternetHeaders || known || IsOfStructure(name) || IsReserved(name) || !entity.IsFieldName(name) {
			continue
		}
		if text := f.textOf(property.Named); text != "" {
			f.text(property.Named.Name, text)
		}
	}
}
