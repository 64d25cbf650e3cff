package mime

import (
	"io"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// classContact is the class of a contact, MS-OXOCNTC §2.2.2.1.
const classContact = "ipm.contact"

// cardTexts are the properties of a contact that are one value of a vCard. MS-OXVCARD §2.1.3 and RFC 2426 §3.
var cardTexts = []struct {
	name string
	key  mapi.Key
}{
	{"NICKNAME", mapi.PidTagNickname},
	{"TITLE", mapi.PidTagTitle},
	{"TEL;TYPE=WORK,VOICE", mapi.PidTagBusinessTelephoneNumber},
	{"TEL;TYPE=HOME,VOICE", mapi.PidTagHomeTelephoneNumber},
	{"TEL;TYPE=CELL,VOICE", mapi.PidTagMobileTelephoneNumber},
	{"TEL;TYPE=WORK,FAX", mapi.PidTagBusinessFaxNumber},
	{"URL;TYPE=WORK", mapi.PidTagBusinessHomePage},
	{"NOTE", mapi.PidTagBody},
}

// cardLists are those that are several, with semicolons in between.
var cardLists = []struct {
	name string
	keys []mapi.Key // nil for what has no property
}{
	{"ORG", []mapi.Key{mapi.PidTagCompanyName, mapi.PidTagDepartmentName}},
	{"ADR;TYPE=WORK", []mapi.Key{
		nil, nil, mapi.PidLidWorkAddressStreet, mapi.PidLidWorkAddressCity, mapi.PidLidWorkAddressState, mapi.PidLidWorkAddressPostalCode, mapi.PidLidWorkAddressCountry,
	}},
	{"ADR;TYPE=HOME", []mapi.Key{
		nil, nil, mapi.PidTagHomeAddressStreet, mapi.PidTagHomeAddressCity, mapi.PidTagHomeAddressStateOrProvince, mapi.PidTagHomeAddressPostalCode, mapi.PidTagHomeAddressCountry,
	}},
}

// cardAddresses are the properties of mail addresses, MS-OXOCNTC §2.2.1.2.
var cardAddresses = []mapi.Key{mapi.PidLidEmail1EmailAddress, mapi.PidLidEmail2EmailAddress, mapi.PidLidEmail3EmailAddress}

// card plans the vCard of a contact (RFC 2426, MS-OXVCARD). It returns nil for an object that is none.
func (p *planner) card() (*part, error) {
	class := strings.ToLower(p.m.Text(mapi.PidTagMessageClass))
	if class != classContact && !strings.HasPrefix(class, classContact+".") {
		return nil, nil
	}
	if slices.ContainsFunc(p.m.Attachments, func(a *mapi.Attachment) bool { return a.Text(mapi.PidTagAttachMimeTag) == "text/vcard" }) {
		return nil, nil // it came with more than properties say
	}
	name := p.m.Text(mapi.PidTagDisplayName)
	if name == "" {
		name = p.subject()
	}
	var w calendarWriter // whose lines are the same
	w.line("BEGIN:VCARD")
	w.line("VERSION:3.0")
	w.text("FN", name)
	w.list("N", p.m.Text(mapi.PidTagSurname), p.m.Text(mapi.PidTagGivenName), p.m.Text(mapi.PidTagMiddleName), p.m.Text(mapi.PidTagDisplayNamePrefix), p.m.Text(mapi.PidTagGeneration))
	for _, c := range cardTexts {
		w.text(c.name, p.m.Text(c.key))
	}
	for _, key := range cardAddresses {
		if address := p.m.Text(key); strings.Contains(address, "@") {
			w.text("EMAIL;TYPE=INTERNET", address)
		}
	}
	for _, c := range cardLists {
		w.list(c.name, p.textsOf(c.keys)...)
	}
	if born, ok := dateOf(&p.m.Properties, mapi.PidTagBirthday); ok {
		w.line("BDAY:" + born.Format("2006-01-02"))
	}
	w.line("END:VCARD")
	planned, err := p.textPart("text/vcard", func(out io.Writer) error {
		_, err := io.WriteString(out, w.String())
		return err
	}, "")
	if err != nil {
		return nil, err
	}
	planned.fields = append(planned.fields, "Content-Disposition: attachment"+entity.FormatParameter("filename", name+".vcf")+"\r\n")
	return planned, nil
}

// textsOf returns the texts of some properties.
func (p *planner) textsOf(keys []mapi.Key) (texts []string) {
	for _, key := range keys {
		text := ""
		if key != nil {
			text = p.m.Text(key)
		}
		texts = append(texts, text)
	}
	return texts
}

// list writes a property of several texts, if there is one of them.
func (w *calendarWriter) list(name string, texts ...string) {
	if strings.Join(texts, "") == "" {
		return
	}
	escaped := make([]string, 0, len(texts))
	for _, text := range texts {
		escaped = append(escaped, calendarEscape.Replace(text))
	}
	w.line(name + ":" + strings.Join(escaped, ";"))
}
