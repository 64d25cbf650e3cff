package convert

import (
	"fmt"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// Choice is what a conversion did, and the rule that it follows.
type Choice struct{ Text, Rule string }

// String returns the choice in a line.
func (c Choice) String() string {
	if c.Rule == "" {
		return c.Text
	}
	return c.Text + " (" + c.Rule + ")"
}

// Explain returns the choices of a conversion of a message that has been read. It tells no contents.
func Explain(m *mapi.Message, from, to Format) []Choice {
	e := &explanation{m: m}
	if from == EML {
		e.fromMail()
	}
	switch to {
	case EML:
		e.toMail()
	case TNEF:
		e.without("TNEF has no form for the type", "MS-OXTNEF §2.1.3.4", mapi.PtypServerId, mapi.PtypRestriction, mapi.PtypRuleAction, mapi.PtypNull, mapi.PtypErrorCode)
	case FastTransfer:
		e.without("an error in the place of a value is not in a stream", "MS-OXCFXICS §2.2.4.1", mapi.PtypErrorCode)
	}
	return e.choices
}

type explanation struct {
	m       *mapi.Message
	choices []Choice
}

func (e *explanation) tell(rule, format string, args ...any) {
	e.choices = append(e.choices, Choice{fmt.Sprintf(format, args...), rule})
}

// fromMail tells what Internet mail became, MS-OXCMAIL §2.2.
func (e *explanation) fromMail() {
	e.tell("MS-OXCMAIL §2.2.3.2.1", "the message class is %s", e.m.Text(mapi.PidTagMessageClass))
	for _, body := range []struct {
		tag  mapi.Tag
		part string
	}{{mapi.PidTagBody, "the first text/plain part that is no attachment"}, {mapi.PidTagHtml, "the first text/html part that is no attachment"}} {
		if e.m.Has(body.tag) {
			e.tell("MS-OXCMAIL §2.2.3.3.2", "%s is the body, %s", body.part, body.tag.Name())
		}
	}
	for p := range e.m.All() {
		if p.Named.Set == mapi.PSInternetHeaders {
			e.tell("MS-OXCMAIL §2.2.3.2", "the header field %s has no property of its own, and is kept by its name", p.Named.Name)
		}
	}
	for i, a := range e.m.Attachments {
		if strings.Contains(strings.ToLower(a.Text(mapi.PidTagAttachMimeTag)), "ms-tnef") {
			e.tell("MS-OXCMAIL §2.2.2", "attachment %d is TNEF that could not be opened, and stays a file", i+1)
		}
	}
}

// toMail tells what a message becomes as Internet mail, MS-OXCMAIL §2.1.
func (e *explanation) toMail() {
	if e.m.Has(mapi.PidTagTransportMessageHeaders) {
		e.tell("MS-OXCMAIL §2.1.3.2", "the header is the one that the message came with, PidTagTransportMessageHeaders")
	} else {
		e.tell("MS-OXCMAIL §2.1.3.2", "the header is made of properties: there is no PidTagTransportMessageHeaders")
	}
	e.body()
	for i, r := range e.m.Recipients {
		if kind := r.Text(mapi.PidTagAddressType); kind != "" && !strings.EqualFold(kind, "SMTP") && !r.Has(mapi.PidTagSmtpAddress) {
			e.tell("MS-OXCMAIL §2.1.3.1.8", "recipient %d has an address of the type %s, which is encapsulated with --domain, and is left out without it", i+1, kind)
		}
	}
	for i, a := range e.m.Attachments {
		e.attachment(i+1, a)
	}
}

// body tells which of the bodies are written, MS-OXBBODY §2.1.3.
func (e *explanation) body() {
	plain, html := e.m.Has(mapi.PidTagBody), e.m.Has(mapi.PidTagHtml) || e.m.Has(mapi.PidTagBodyHtml)
	compressed := e.m.Has(mapi.PidTagRtfCompressed)
	switch {
	case html && compressed:
		e.tell("MS-OXBBODY §2.1.3", "HTML is the best body; PidTagRtfCompressed, which says the same, is not written")
	case html:
		e.tell("MS-OXBBODY §2.1.3", "HTML is the best body")
	case compressed:
		e.rtf()
	case plain:
		e.tell("MS-OXBBODY §2.1.3", "plain text is the only body")
	default:
		e.tell("MS-OXCMAIL §2.1.3.3", "there is no body: an empty one is written if there are no attachments either")
	}
	if plain && html {
		e.tell("MS-OXCMAIL §2.1.3.3", "plain text and HTML are multipart/alternative")
	}
	if number, ok := e.m.Integer(mapi.PidTagInternetCodepage); ok {
		if page, known := codepage.Find(int(number)); known {
			e.tell("MS-OXCMAIL §2.1.3.3", "the charset is %s if that has all characters, as PidTagInternetCodepage says, and UTF-8 otherwise", page.Charset)
		} else {
			e.tell("MS-OXCMAIL §2.1.3.3", "the charset is UTF-8: code page %d is not known", number)
		}
	}
}

// rtf tells what becomes of an RTF body that is the only rich one, as package rtf reports it.
func (e *explanation) rtf() {
	report, kind, err := readRTF(e.m)
	switch {
	case err != nil:
		e.tell("MS-OXRTFCP", "the RTF cannot be read whole (%v), and is attached as it is", err)
	case kind == rtf.FromHTML:
		e.tell("MS-OXRTFEX §2.2.3.2", "the RTF was made from HTML, which is taken out of it")
	case kind == rtf.FromText:
		e.tell("MS-OXRTFEX §2.2.3.3", "the RTF was made from plain text, which is taken out of it or stands beside it")
	default:
		e.tell("MS-OXBBODY §2.1.3", "the RTF was written as RTF, and becomes HTML that looks like it")
	}
	for _, page := range report.CodePages {
		e.tell("", "%d octets of the RTF are of code page %d, which is not known: each is U+FFFD", page.Count, page.Number)
	}
	if report.PictureCount > 0 {
		e.tell("", "%d pictures of the RTF become attachments, which the HTML shows if they are PNG or JPEG", report.PictureCount)
	}
	if len(report.Refused) > 0 {
		e.tell("", "%d addresses of the RTF are no links in the HTML: they are not of the Internet's kinds", len(report.Refused))
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
func (e *explanation) attachment(n int, a *mapi.Attachment) {
	method, _ := a.Integer(mapi.PidTagAttachMethod)
	switch {
	case a.Embedded != nil:
		e.tell("MS-OXCMAIL §2.1.3.4.3", "attachment %d is a message, and is written as message/rfc822", n)
	case a.Data.IsZero():
		e.tell("MS-OXCMAIL §2.1.3.4", "attachment %d has no data here (method %d): what is written is at most its path", n, method)
	case method == int64(mapi.AttachOLE):
		e.tell("MS-OXCMAIL §2.1.3.4.4", "attachment %d is an OLE object: the file in it is written, or a picture of it beside it", n)
	case a.Has(mapi.PidTagAttachContentId):
		e.tell("MS-OXCMAIL §2.1.3.4.1.2", "attachment %d is inline if the HTML refers to its Content-ID", n)
	default:
		e.tell("MS-OXCMAIL §2.1.3.4.2", "attachment %d is a file of %d octets", n, a.Data.Size)
	}
}

// without tells the properties of types that a format does not have.
func (e *explanation) without(text, rule string, types ...mapi.Type) {
	each("", e.m, func(where string, p mapi.Property) {
		for _, t := range types {
			if p.Value.Type() == t {
				e.tell(rule, "%s%s is left out: %s (%s)", where, p, text, t)
			}
		}
	})
}

// each calls a function for each property of a message and of what is in it.
func each(where string, m *mapi.Message, f func(where string, p mapi.Property)) {
	all := func(where string, bag *mapi.Properties) {
		for p := range bag.All() {
			f(where, p)
		}
	}
	all(where, &m.Properties)
	for i, r := range m.Recipients {
		all(fmt.Sprintf("%srecipient %d, ", where, i+1), &r.Properties)
	}
	for i, a := range m.Attachments {
		in := fmt.Sprintf("%sattachment %d, ", where, i+1)
		all(in, &a.Properties)
		if a.Embedded != nil {
			each(in+"in the message, ", a.Embedded, f)
		}
	}
}

// Lost returns which properties of one message another one lacks, by their places and names. It tells no values.
func Lost(from, to *mapi.Message) []string {
	type place struct {
		where string
		id    mapi.ID
		named mapi.Named
	}
	at := func(where string, p mapi.Property) place {
		if !p.Named.IsZero() {
			return place{where: where, named: p.Named}
		}
		return place{where: where, id: p.Tag.ID()} // whatever its type
	}
	kept := map[place]bool{}
	each("", to, func(where string, p mapi.Property) { kept[at(where, p)] = true })
	var lost []string
	each("", from, func(where string, p mapi.Property) {
		if !kept[at(where, p)] {
			lost = append(lost, where+p.String())
		}
	})
	return lost
}
