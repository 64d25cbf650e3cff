package mime

import (
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestContact: a contact is a vCard beside its text.
func TestContact(t *testing.T) {
	m := &mapi.Message{}
	for key, text := range map[mapi.Key]string{
		mapi.PidTagMessageClass: "IPM.Contact", mapi.PidTagDisplayName: "Erika M\u00fcller", mapi.PidTagSurname: "M\u00fcller; geb. K.", mapi.PidTagGivenName: "Erika",
		mapi.PidTagCompanyName: "A, B & C", mapi.PidTagMobileTelephoneNumber: "+49 170 1", mapi.PidLidEmail1EmailAddress: "erika@a.example",
		mapi.PidLidEmail2EmailAddress: "/o=A/cn=erika", mapi.PidLidWorkAddressCity: "K\u00f6ln", mapi.PidTagBody: "one\r\ntwo",
	} {
		m.Set(key, mapi.String(text))
	}
	e := parse(t, write(t, Writer{}, m))
	if !e.Is("multipart/mixed") || len(e.Parts) != 2 || !e.Parts[0].Is("text/plain") || !e.Parts[1].Is("text/vcard") || e.Parts[1].Filename() != "Erika M\u00fcller.vcf" {
		t.Fatalf("%q", outline(t, e, 0))
	}
	octets, err := io.ReadAll(e.Parts[1].Decoded())
	if err != nil {
		t.Fatal(err)
	}
	want := "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Erika M\u00fcller\r\nN:M\u00fcller\\; geb. K.;Erika;;;\r\nTEL;TYPE=CELL,VOICE:+49 170 1\r\nNOTE:one\\ntwo\r\n" +
		"EMAIL;TYPE=INTERNET:erika@a.example\r\nORG:A\\, B & C;\r\nADR;TYPE=WORK:;;;K\u00f6ln;;;\r\nEND:VCARD\r\n"
	if got := string(octets); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	if written := string(write(t, Writer{}, m)); strings.Contains(written, "text/vcard") {
		t.Errorf("a message is a vCard: %s", written)
	}
}
