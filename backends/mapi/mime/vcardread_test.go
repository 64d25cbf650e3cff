package mime

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

const card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Erika Müller\r\nN:Müller\\; geb. K.;Erika;;Dr.;\r\nNICKNAME:E\r\nTEL;TYPE=WORK,VOICE:+49 1\r\nTEL;TYPE=CELL,VOICE:+49 170 1\r\nNOTE:one\\ntwo\r\n" +
	"EMAIL;TYPE=INTERNET:erika@a.example\r\nEMAIL;TYPE=INTERNET:e@b.example\r\nORG:A\\, B & C;Sales\r\nADR;TYPE=WORK:;;Quay 1;Köln;;50667;Germany\r\nBDAY:1970-02-28\r\nEND:VCARD\r\n"

// cardLines is what must stay of a contact.
func cardLines(m *mapi.Message) string {
	var lines []string
	for _, key := range []mapi.Key{
		mapi.PidTagMessageClass, mapi.PidTagDisplayName, mapi.PidTagSurname, mapi.PidTagGivenName, mapi.PidTagDisplayNamePrefix, mapi.PidTagNickname, mapi.PidTagBusinessTelephoneNumber,
		mapi.PidTagMobileTelephoneNumber, mapi.PidTagBody, mapi.PidLidEmail1EmailAddress, mapi.PidLidEmail2EmailAddress, mapi.PidTagCompanyName, mapi.PidTagDepartmentName,
		mapi.PidLidWorkAddressStreet, mapi.PidLidWorkAddressCity, mapi.PidLidWorkAddressPostalCode, mapi.PidLidWorkAddressCountry,
	} {
		lines = append(lines, strings.TrimSpace(m.Text(key)))
	}
	born, _ := m.Time(mapi.PidTagBirthday)
	return fmt.Sprintf("%q", append(lines, born.Format("2006-01-02")))
}

// TestContactRead: a vCard that is the message, or what a text says again, is a contact, and is written as it.
func TestContactRead(t *testing.T) {
	const want = `["IPM.Contact" "Erika Müller" "Müller; geb. K." "Erika" "Dr." "E" "+49 1" "+49 170 1" "one\r\ntwo" "erika@a.example" "e@b.example" "A, B & C" "Sales" "Quay 1" "Köln" "50667" "Germany" "1970-02-28"]`
	for _, head := range []string{"text/vcard; charset=utf-8", "text/x-vcard; charset=utf-8", "text/directory; profile=vCard; charset=utf-8"} {
		m := convert(t, Reader{}, []byte("Subject: a card\r\nContent-Type: "+head+"\r\n\r\n"+card))
		if got := cardLines(m); got != want || len(m.Attachments) != 0 {
			t.Fatalf("%s: %s\nwant %s", head, got, want)
		}
		written := write(t, Writer{}, m)
		if !strings.Contains(string(written), "text/vcard") {
			t.Fatalf("%s", written)
		}
		if got := cardLines(convert(t, Reader{}, written)); got != want {
			t.Errorf("the second time %s", got)
		}
	}
}

// TestContactAsItCame: a contact comes back as the vCard that it was, until it is changed.
func TestContactAsItCame(t *testing.T) {
	came := "Subject:  a card\r\nContent-Type: text/x-vcard; charset=utf-8\r\n\r\n" + strings.ReplaceAll(card, "\\, ", ", ")
	m := convert(t, Reader{Skeleton: true}, []byte(came))
	if got := string(twice(t, asItCame, m)); got != came || m.Text(mapi.PidTagMessageClass) != "IPM.Contact" {
		t.Errorf("%s", got)
	}
	m.Set(mapi.PidTagMobileTelephoneNumber, mapi.String("+49 170 2"))
	if got := string(write(t, asItCame, m)); got == came || strings.Contains(got, "+49 170 1") {
		t.Errorf("a contact that was changed is %s", got)
	}
}

// TestContactNotWhole: what has no property stays, in the vCard as it came.
func TestContactNotWhole(t *testing.T) {
	for _, line := range []string{"PHOTO;ENCODING=b:AAAA", "X-SOCIAL:x", "TEL;TYPE=PAGER:1", "TEL;TYPE=WORK,VOICE:2", "ADR;TYPE=WORK:box;;;;;;", "item1.URL;TYPE=HOME:http://a.example/"} {
		message := "Content-Type: text/vcard; charset=utf-8\r\n\r\n" + strings.Replace(card, "END:", line+"\r\nEND:", 1)
		m := convert(t, Reader{}, []byte(message))
		if len(m.Attachments) != 1 {
			t.Errorf("%s: %d attachments", line, len(m.Attachments))
		}
		if written := string(write(t, Writer{}, m)); strings.Count(written, "text/vcard") != 1 {
			t.Errorf("%s: %s", line, written)
		}
	}
}

// TestCardIsFile: a vCard that is attached to a message is a file, and one that is none is text or a file.
func TestCardIsFile(t *testing.T) {
	for name, message := range map[string]string{
		"beside another text": "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nMy card\r\n--b\r\nContent-Type: text/vcard; charset=utf-8\r\n\r\n" + card + "\r\n--b--\r\n",
		"an attachment":       "Content-Type: text/vcard\r\nContent-Disposition: attachment\r\n\r\n" + card,
		"two":                 "Content-Type: text/vcard\r\n\r\n" + card + card,
		"of version 2.1":      "Content-Type: text/x-vcard\r\n\r\nBEGIN:VCARD\r\nFN;ENCODING=QUOTED-PRINTABLE:=41\r\nN:x\r\nEND:VCARD\r\n",
		"of an empty name":    "Content-Type: text/vcard\r\n\r\nBEGIN:VCARD\r\nVERSION:3.0\r\nFN:\r\nN:;\r\nEND:VCARD\r\n",
		"without a name":      "Content-Type: text/vcard\r\n\r\nBEGIN:VCARD\r\nVERSION:3.0\r\nNOTE:x\r\nEND:VCARD\r\n",
		"no card":             "Content-Type: text/vcard\r\n\r\nhello\r\n",
	} {
		if m := convert(t, Reader{}, []byte(message)); m.Text(mapi.PidTagMessageClass) != "IPM.Note" || len(m.Attachments) != 1 {
			t.Errorf("%s: %s with %d attachments", name, m.Text(mapi.PidTagMessageClass), len(m.Attachments))
		}
	}
}

// FuzzCard: any text is a contact or a file, and a contact is written and read again.
func FuzzCard(f *testing.F) {
	f.Add(card)
	f.Add("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:\r\nEND:VCARD\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzMost {
			return
		}
		m := convert(t, Reader{}, []byte("Content-Type: text/vcard; charset=utf-8\r\n\r\n"+text))
		convert(t, Reader{}, twice(t, Writer{}, m))
	})
}

// TestContactAttached: mail without a text to which somebody has attached a vCard has its subject still, and the vCard is a file.
func TestContactAttached(t *testing.T) {
	const card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Erika\r\nN:M;Erika\r\nEND:VCARD\r\n"
	for subject, class := range map[string]string{"please call her": "IPM.Note", "Erika": "IPM.Contact"} {
		m := convert(t, Reader{}, []byte("Subject: "+subject+"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b\r\nContent-Type: text/vcard\r\n"+
			"Content-Disposition: attachment; filename=e.vcf\r\n\r\n"+card+"--b--\r\n"))
		if got := m.Text(mapi.PidTagMessageClass); got != class || m.Text(mapi.PidTagSubject) != subject || (len(m.Attachments) == 1) != (class == "IPM.Note") {
			t.Errorf("%s: %s of the subject %q, %d files", subject, got, m.Text(mapi.PidTagSubject), len(m.Attachments))
		}
	}
}
