package mapi

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestProperties(t *testing.T) {
	var p Properties
	german, err := NewString8("Grüße", 1252)
	if err != nil {
		t.Fatal(err)
	}
	p.Set(PidTagSubject, german)
	p.Set(PidLidReminderSet, Boolean(true))
	p.Set(PidTagImportance, Integer32(2))
	p.Set(PidTagClientSubmitTime, NewTime(time.Date(2026, 11, 30, 10, 0, 0, 700, time.UTC)))
	p.Set(PidNameKeywords, Multiple[String]{"a", "b"})
	p.Set(PidTagSearchKey, Binary("SMTP:A@B"))
	p.Set(PidTagSubject.WithType(PtypString8), String("Größe")) // the same property: it keeps its place

	if got := p.Text(PidTagSubject); got != "Größe" {
		t.Errorf("the subject is %q", got)
	}
	if n, ok := p.Integer(PidTagImportance); !ok || n != 2 {
		t.Errorf("the importance is %d, %v", n, ok)
	}
	if !p.Bool(PidLidReminderSet) || p.Bool(PidLidReminderOverride) {
		t.Error("a boolean is wrong")
	}
	if at, ok := p.Time(PidTagClientSubmitTime); !ok || at.Format(time.RFC3339Nano) != "2026-11-30T10:00:00.0000007Z" {
		t.Errorf("the time is %v, %v", at, ok)
	}
	if got := p.Texts(PidNameKeywords); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the keywords are %q", got)
	}
	if got := string(p.Bytes(PidTagSearchKey)); got != "SMTP:A@B" {
		t.Errorf("the search key is %q", got)
	}
	var order []string
	for property := range p.All() {
		order = append(order, property.String())
	}
	want := []string{"0x0037001f PidTagSubject", "PidLidReminderSet", "0x00170003 PidTagImportance", "0x00390040 PidTagClientSubmitTime", "PidNameKeywords", "0x300b0102 PidTagSearchKey"}
	if !slices.Equal(order, want) {
		t.Errorf("the order is %q", order)
	}

	p.Delete(PidTagSubject, PidNameKeywords)
	if p.Len() != 4 || p.Has(PidTagSubject) || !p.Has(PidTagSearchKey) || string(p.Bytes(PidTagSearchKey)) == "" {
		t.Errorf("%d properties are left", p.Len())
	}
}

func TestWhatIsNotThere(t *testing.T) {
	var p Properties
	p.Set(PidTagBody, ErrorCode(0x8007000E))
	p.Set(PidTagImportance, String("high"))
	if p.Has(PidTagBody) || p.Text(PidTagBody) != "" || p.Bytes(PidTagBody) != nil || p.Texts(PidTagBody) != nil || p.Get(PidTagSubject) != nil {
		t.Error("an error has a value")
	}
	if _, ok := p.Integer(PidTagImportance); ok {
		t.Error("a text is an integer")
	}
	if _, ok := p.Time(PidTagImportance); ok {
		t.Error("a text is a time")
	}
	if _, err := p.OpenText(PidTagBody); !errors.Is(err, ErrNoProperty) {
		t.Errorf("no text: %v", err)
	}
	if _, err := p.OpenBytes(PidTagImportance); !errors.Is(err, ErrNoProperty) {
		t.Errorf("no octets: %v", err)
	}
}

func TestHeaderFieldsAreFoundInEitherCase(t *testing.T) {
	var p Properties
	p.Set(Named{Set: PSInternetHeaders, Name: "X-Mailer"}, String("one"))
	if got := p.Text(Named{Set: PSInternetHeaders, Name: "x-mailer"}); got != "one" {
		t.Errorf("the field is %q", got)
	}
	p.Set(Named{Set: PSPublicStrings, Name: "Keywords"}, String("two"))
	if p.Has(Named{Set: PSPublicStrings, Name: "keywords"}) {
		t.Error("a name of another set was found in another case")
	}
}

func TestLargeValues(t *testing.T) {
	var p Properties
	p.Set(PidTagBody, Streamed{Of: PtypString, Content: ContentOf(utf16Octets("Grüße 💡"))})
	p.Set(PidTagBodyHtml, String("in memory"))
	p.Set(PidTagSubject, Streamed{Of: PtypString8, CodePage: 1252, Content: ContentOf([]byte("\xfc"))})
	p.Set(PidTagRtfCompressed, Streamed{Of: PtypBinary, Content: ContentOf([]byte{1, 2})})
	for k, want := range map[Key]string{PidTagBody: "Grüße 💡", PidTagBodyHtml: "in memory", PidTagSubject: "ü"} {
		if got := readAll(t, p.OpenText, k); got != want {
			t.Errorf("%v is %q, want %q", k, got, want)
		}
	}
	if got := readAll(t, p.OpenBytes, PidTagRtfCompressed); got != "\x01\x02" {
		t.Errorf("the octets are %q", got)
	}
}

func readAll(t *testing.T, open func(Key) (io.ReadCloser, error), k Key) string {
	t.Helper()
	r, err := open(k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	octets, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// TestDumpCycle: a message that is in itself is not dumped for ever.
func TestDumpCycle(t *testing.T) {
	m := &Message{}
	m.Attachments = []*Attachment{{Embedded: m}}
	if err := WriteDump(io.Discard, m); !errors.Is(err, ErrDepth) {
		t.Errorf("%v", err)
	}
}
