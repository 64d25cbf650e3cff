package convert

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// kind is what a message can be, by its class.
type kind struct {
	is           func(class string) bool // in lower case
	reading, has string                  // of mail, and its rule
	writing, as  string                  // as mail, and its rule
}

// kinds are all of them; the first one that is, is it.
var kinds = []kind{
	{
		suffix(".smime.multipartsigned"), "it is clear-signed: all of it is the one attachment, octet by octet, and the text in it is the body", "MS-OXOSMIME §2.1.1",
		"it is clear-signed: its one attachment is what is written below the header, octet by octet", "MS-OXCMAIL §2.1.3.2",
	},
	{
		suffix(".smime"), "it is signed or encrypted as one entity, which is the one attachment; there is no body", "MS-OXOSMIME §2.1.2",
		"it is signed or encrypted as one entity: its one attachment is written as application/pkcs7-mime, or as it is where it is clear-signed", "MS-OXCMAIL §2.1.3.2",
	},
	{
		both(prefix("report."), suffix("rn")), "the disposition in a multipart/report makes it a receipt of reading", "MS-OXCMAIL §2.2.3.7",
		"a receipt of reading is multipart/report with message/disposition-notification", "MS-OXCMAIL §2.1.3.6.2",
	},
	{
		prefix("report."), "the most severe action in a multipart/report makes the class, and whom it concerns are the recipients", "MS-OXCMAIL §2.2.3.7.1",
		"a report on delivery is multipart/report with message/delivery-status", "MS-OXCMAIL §2.1.3.6.1",
	},
	{
		prefix("ipm.schedule.meeting."), "METHOD of the text/calendar, and of an answer PARTSTAT, make the class, and its properties the meeting's", "MS-OXCICAL §2.1.3.1.1",
		"a meeting has text/calendar beside its text, if iCalendar can say when it recurs, and otherwise words that do", "MS-OXCICAL §2.1.3.1",
	},
	{
		prefix("ipm.appointment"), "the text/calendar is that of an appointment", "MS-OXCICAL §2.1.3.1.1",
		"an appointment has text/calendar beside its text, if iCalendar can say when it recurs, and otherwise words that do", "MS-OXCICAL §2.1.3.1",
	},
	{prefix("ipm.contact"), "a vCard that is all of it makes it a contact", "MS-OXVCARD §2.1.3", "a contact has a vCard beside its text", "MS-OXVCARD §2.1.3"},
	{
		prefix("ipm.note"), "it is a message as usual", "MS-OXCMAIL §2.2.3.2.1", "it is a message as usual", "MS-OXCMAIL §2.1.3.2",
	},
	{
		prefix(""), "it is of a class of its own", "MS-OXCMAIL §2.2.3.2.1",
		"MIME has no form for the class: text and attachments are written as a message's, and what only its properties say is not", "MS-OXCMAIL §2.1.3.2",
	},
}

func prefix(text string) func(string) bool {
	return func(class string) bool { return strings.HasPrefix(class, text) }
}

func suffix(text string) func(string) bool {
	return func(class string) bool { return strings.HasSuffix(class, text) }
}

func both(a, b func(string) bool) func(string) bool {
	return func(class string) bool { return a(class) && b(class) }
}

func kindOf(m *mapi.Message) kind {
	class := strings.ToLower(m.Text(mapi.PidTagMessageClass))
	for _, k := range kinds {
		if k.is(class) {
			return k
		}
	}
	return kinds[len(kinds)-1]
}

// fromMail tells what Internet mail became, and what is in it, MS-OXCMAIL §2.2.
func (e *explanation) fromMail(m *mapi.Message, where string, depth int) {
	if k := kindOf(m); depth > 0 || !e.opened {
		e.tell(k.has, "%sthe message class is %s: %s", where, m.Text(mapi.PidTagMessageClass), k.reading)
	} else {
		e.tell("MS-OXTNEF §1.3", "the message class is %s: TNEF in it was opened, and its properties count; whom it is from, and when it was sent, the header says", m.Text(mapi.PidTagMessageClass))
	}
	for _, body := range []struct {
		tag  mapi.Tag
		part string
	}{{mapi.PidTagBody, "the first text/plain part that is no attachment"}, {mapi.PidTagHtml, "the first text/html part that is no attachment, or text/enriched,"}} {
		if m.Has(body.tag) {
			e.tell("MS-OXCMAIL §2.2.3.3.2", "%s%s is the body, %s", where, body.part, body.tag.Name())
		}
	}
	if number, ok := m.Integer(mapi.PidTagInternetCodepage); ok {
		e.tell("MS-OXCMAIL §2.2.3.3", "%sthe charset of the text is kept as code page %d, PidTagInternetCodepage", where, number)
	}
	for p := range m.All() {
		if p.Named.Set == mapi.PSInternetHeaders {
			e.tell("MS-OXCMAIL §2.2.3.2", "%sthe header field %s has no property of its own, and is kept by its name", where, p.Named.Name)
		}
	}
	for i, r := range m.Recipients {
		if kind := r.Text(mapi.PidTagAddressType); kind != mapi.AddressSMTP {
			e.tell("MS-OXCMAIL §2.2.3.1.2", "%srecipient %d has an address of the type %s, which an address of --domain encapsulates", where, i+1, kind)
		}
	}
	for i, a := range m.Attachments {
		e.fromPart(fmt.Sprintf("%sattachment %d", where, i+1), a, depth)
	}
	if m.Has(mapi.PidTagMimeSkeleton) {
		e.tell("MS-OXCMAIL §2.4.3.1", "%sthe skeleton by which it comes back as it came is kept, PidTagMimeSkeleton", where)
	}
}

// fromPart tells why a part became an attachment, MS-OXCMAIL §2.2.3.4.
func (e *explanation) fromPart(where string, a *mapi.Attachment, depth int) {
	mediaType := strings.ToLower(a.Text(mapi.PidTagAttachMimeTag))
	switch {
	case a.Embedded != nil && depth < mapi.DepthMost:
		e.tell("MS-OXCMAIL §2.2.3.4", "%s is a message in the message", where)
		e.fromMail(a.Embedded, where+": ", depth+1)
	case strings.Contains(mediaType, "ms-tnef"):
		e.tell("MS-OXCMAIL §2.2.2", "%s is TNEF that could not be opened, and stays a file", where)
	case mediaType == "text/calendar":
		e.tell("MS-OXCICAL §2.1.3.1", "%s is a calendar that is a file, or that Exchange cannot say, and stays as it came", where)
	case a.Bool(mapi.PidTagAttachmentHidden):
		e.tell("MS-OXCMSG §2.2.2.24", "%s is a picture that the HTML shows by its Content-ID, and is hidden", where)
	case strings.HasPrefix(mediaType, "text/"), strings.HasPrefix(mediaType, "message/"):
		e.tell("MS-OXCMAIL §2.2.3.4.1", "%s is of the type %s, and not a body: it is a file", where, mediaType)
	default:
		e.tell("MS-OXCMAIL §2.2.3.4.1", "%s is a file of the type %s", where, mediaType)
	}
}

// refused tells the header fields of mail that are not believed, and the charsets that are not known.
func (e *explanation) refused(root *entity.Entity) {
	for leaf := range root.Leaves() {
		charset := leaf.Type.Get("charset")
		if leaf.Is("text/") && charset != "" && !entity.KnowsCharset(charset) {
			e.tell("MS-OXCMAIL §2.2.3.3", "the charset %.40q of %s is not known, and what it is was guessed from the octets", charset, leaf.Type.Value)
		}
	}
	e.headers(root)
	for _, f := range root.Header.Fields {
		if mime.IsReserved(f.Name) {
			e.tell("MS-OXCMAIL §2.2.3.2.28", "the header field %s is one that only Exchange's servers tell one another, and is left out", f.Name)
		}
	}
}

// headers tells what of the header is kept as it came alone, and which charsets in it are not known.
func (e *explanation) headers(root *entity.Entity) {
	var resent []string
	times, first := map[string]int{}, map[string]string{}
	for _, f := range root.Header.Fields {
		name := strings.ToLower(f.Name)
		if f.Name == "" || mime.IsReserved(name) {
			continue
		}
		e.words(f.Name, f.Value())
		if strings.HasPrefix(name, "resent-") && !slices.Contains(resent, f.Name) {
			resent = append(resent, f.Name)
		}
		if times[name]++; times[name] == 1 {
			first[name] = f.Name
		}
		if times[name] != 2 || mime.IsOfStructure(name) {
			continue
		}
		if mime.Counts(name) {
			e.tell("MS-OXCMAIL §2.2.3.1", "the header field %s comes more than once, and what is in each counts", first[name])
		} else {
			e.tell("MS-OXCMAIL §2.2.3.2", "the header field %s comes more than once: the first one counts, and the others stand in PidTagTransportMessageHeaders alone", first[name])
		}
	}
	if len(resent) > 0 {
		e.tell("MS-OXCMAIL §2.2.3.2.28", "%s say which way it came, and stand in PidTagTransportMessageHeaders alone: nobody in them is its sender or recipient", strings.Join(resent, ", "))
	}
}

// words tells the charsets of a field's encoded words that are not known.
func (e *explanation) words(name, value string) {
	var told []string
	for _, charset := range entity.WordCharsets(value) {
		if entity.KnowsCharset(charset) || slices.Contains(told, strings.ToLower(charset)) {
			continue
		}
		told = append(told, strings.ToLower(charset))
		e.tell("RFC 2047 §6.2", "the charset %.40q of encoded words in the header field %s is not known, and what it is was guessed from the octets", charset, name)
	}
}

// openedTNEF says whether mail has TNEF that is no attachment any more.
func openedTNEF(root *entity.Entity, m *mapi.Message) bool {
	kept := slices.ContainsFunc(m.Attachments, func(a *mapi.Attachment) bool { return strings.Contains(a.Text(mapi.PidTagAttachMimeTag), "ms-tnef") })
	return !kept && hasTNEF(root)
}

func hasTNEF(e *entity.Entity) bool {
	return mime.IsTNEF(e) || slices.ContainsFunc(e.Parts, hasTNEF)
}

// toMail tells what a message becomes as Internet mail, MS-OXCMAIL §2.1.
func (e *explanation) toMail(m *mapi.Message, where string, depth int) {
	if came, err := e.mail().AsItCame(m); err == nil && came {
		e.tell("MS-OXCMAIL §2.1.3.5", "%sit is Internet mail that is given back as it came, by its skeleton (PidTagMimeSkeleton)", where)
		return
	}
	if m.Has(mapi.PidTagMimeSkeleton) {
		e.tell("MS-OXCMAIL §2.1.3.5.1", "%sits skeleton (PidTagMimeSkeleton) does not fit what it is now, and it is written anew", where)
	}
	k := kindOf(m)
	e.tell(k.as, "%sthe message class is %s: %s", where, m.Text(mapi.PidTagMessageClass), k.writing)
	if m.Has(mapi.PidTagTransportMessageHeaders) {
		e.tell("MS-OXCMAIL §2.1.3.2", "%sthe header is the one that the message came with, PidTagTransportMessageHeaders", where)
	} else {
		e.tell("MS-OXCMAIL §2.1.3.2", "%sthe header is made of properties: there is no PidTagTransportMessageHeaders", where)
	}
	e.body(m, where)
	for i, r := range m.Recipients {
		if kind := r.Text(mapi.PidTagAddressType); kind != "" && !strings.EqualFold(kind, mapi.AddressSMTP) && !r.Has(mapi.PidTagSmtpAddress) {
			e.tell("MS-OXCMAIL §2.1.3.1.8", "%srecipient %d has an address of the type %s, which is encapsulated with --domain, and is left out without it", where, i+1, kind)
		}
	}
	for i, a := range m.Attachments {
		e.attachment(m, fmt.Sprintf("%sattachment %d", where, i+1), a, depth)
	}
}

// body tells which of the bodies are written, MS-OXBBODY §2.1.3.
func (e *explanation) body(m *mapi.Message, where string) {
	plain, html := m.Has(mapi.PidTagBody), m.Has(mapi.PidTagHtml) || m.Has(mapi.PidTagBodyHtml)
	compressed := m.Has(mapi.PidTagRtfCompressed)
	switch {
	case html && compressed:
		e.tell("MS-OXBBODY §2.1.3", "%sHTML is the best body; PidTagRtfCompressed, which says the same, is not written", where)
	case html:
		e.tell("MS-OXBBODY §2.1.3", "%sHTML is the best body", where)
	case compressed:
		e.rtf(m, where)
	case plain:
		e.tell("MS-OXBBODY §2.1.3", "%splain text is the only body", where)
	default:
		e.tell("MS-OXCMAIL §2.1.3.3", "%sthere is no body: an empty one is written if there are no attachments either", where)
	}
	if plain && html {
		e.tell("MS-OXCMAIL §2.1.3.3", "%splain text and HTML are multipart/alternative", where)
	}
	if number, ok := m.Integer(mapi.PidTagInternetCodepage); ok {
		if page, known := codepage.Find(int(number)); known {
			e.tell("MS-OXCMAIL §2.1.3.3", "%sthe charset is %s if that has all characters, as PidTagInternetCodepage says, and UTF-8 otherwise", where, page.Charset)
		} else {
			e.tell("MS-OXCMAIL §2.1.3.3", "%sthe charset is UTF-8: code page %d is not known", where, number)
		}
	}
}

// rtf tells what becomes of an RTF body that is the only rich one, as package rtf reports it.
func (e *explanation) rtf(m *mapi.Message, where string) {
	report, kind, err := readRTF(m)
	switch {
	case err != nil:
		e.tell("MS-OXRTFCP §2.1", "%sthe RTF cannot be read whole (%v), and is attached as it is", where, err)
	case kind == rtf.FromHTML:
		e.tell("MS-OXRTFEX §2.2.3.2", "%sthe RTF was made from HTML, which is taken out of it", where)
	case kind == rtf.FromText:
		e.tell("MS-OXRTFEX §2.2.3.3", "%sthe RTF was made from plain text, which is taken out of it or stands beside it", where)
	default:
		e.tell("MS-OXBBODY §2.1.3", "%sthe RTF was written as RTF, and becomes HTML that looks like it", where)
	}
	for _, page := range report.CodePages {
		if page.Number == rtf.Symbols {
			e.tell("RTF 1.9.1, \\fcharset2", "%s%d octets of the RTF are of a font of symbols, and keep their numbers for whoever has the font", where, page.Count)
			continue
		}
		e.tell("RTF 1.9.1, \\ansicpg and \\fcharset", "%s%d octets of the RTF are of code page %d, which is not known: each is U+FFFD, and the RTF is attached", where, page.Count, page.Number)
	}
	if report.PictureCount > 0 {
		e.tell("MS-OXCMAIL §2.1.3.4.1.2", "%s%d pictures of the RTF become attachments, which the HTML shows if they are PNG or JPEG", where, report.PictureCount)
	}
	if len(report.Refused) > 0 {
		e.tell("RFC 3986 §7", "%s%d addresses of the RTF are no links in the HTML: they are not of the Internet's kinds", where, len(report.Refused))
	}
}

func readRTF(m *mapi.Message) (rtf.Report, rtf.Kind, error) {
	r, err := m.OpenBytes(mapi.PidTagRtfCompressed)
	if err != nil {
		return rtf.Report{}, 0, err
	}
	defer r.Close()
	d, err := rtf.OpenCompressed(r, rtf.Options{})
	if err != nil {
		return rtf.Report{}, 0, err
	}
	report, err := d.WriteHTML(io.Discard)
	return report, d.Kind(), err
}

// attachment tells how an attachment is written.
func (e *explanation) attachment(m *mapi.Message, where string, a *mapi.Attachment, depth int) {
	method, _ := a.Integer(mapi.PidTagAttachMethod)
	switch {
	case a.Embedded != nil && depth < mapi.DepthMost:
		e.tell("MS-OXCMAIL §2.1.3.4.3", "%s is a message, and is written as message/rfc822", where)
		e.toMail(a.Embedded, where+": ", depth+1)
	case a.Data.IsZero():
		e.tell("MS-OXCMAIL §2.1.3.4", "%s has no data here (method %d): what is written is at most its path", where, method)
	case method == int64(mapi.AttachOLE):
		e.tell("MS-OXCMAIL §2.1.3.4.4", "%s is an OLE object: the file in it is written, or a picture of it beside it", where)
	case a.Has(mapi.PidTagAttachContentId):
		e.tell("MS-OXCMAIL §2.1.3.4.1.2", "%s is inline if the HTML refers to its Content-ID", where)
	default:
		e.tell("MS-OXCMAIL §2.1.3.4.2", "%s is a file of %d octets", where, a.Data.Size)
	}
}

// partRules are the rules by which parts are written, by the beginning of their media types.
var partRules = []struct{ mediaType, rule string }{
	{"multipart/signed", "MS-OXOSMIME §2.1.1"},
	{"multipart/report", "MS-OXCMAIL §2.1.3.6"},
	{"multipart/", "MS-OXCMAIL §2.1.3.3"},
	{"message/delivery-status", "MS-OXCMAIL §2.1.3.6.1"},
	{"message/disposition-notification", "MS-OXCMAIL §2.1.3.6.2"},
	{"message/rfc822", "MS-OXCMAIL §2.1.3.4.3"},
	{"application/pkcs7-mime", "MS-OXOSMIME §2.1.2"},
	{"application/ms-tnef", "MS-OXTNEF §1.3"},
	{"text/calendar", "MS-OXCICAL §2.1.3.1"},
	{"text/vcard", "MS-OXVCARD §2.1.3"},
	{"text/", "MS-OXCMAIL §2.1.3.3"},
	{"", "MS-OXCMAIL §2.1.3.4.2"},
}

// structure tells the parts of what was written.
func (e *explanation) structure(written *io.SectionReader) {
	if written != nil {
		e.part(mailOf(written), "the message")
	}
}

func (e *explanation) part(p *entity.Entity, name string) {
	mediaType, encoding := p.Type.Value, ""
	if p.Encoding != "" {
		encoding = ", in " + p.Encoding
	}
	if p.Disposition.Value != "" {
		encoding += ", " + p.Disposition.Value
	}
	for _, r := range partRules {
		if strings.HasPrefix(mediaType, r.mediaType) {
			e.tell(r.rule, "written: %s is %s%s", name, mediaType, encoding)
			break
		}
	}
	if p.Message != nil {
		e.part(p.Message, name+"'s message")
	}
	for i, inner := range p.Parts {
		number := "part "
		if name != "the message" {
			number = name + "."
		}
		e.part(inner, number+fmt.Sprint(i+1))
	}
}
