package msg

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
)

var update = flag.Bool("update", false, "write testdata/letter.msg")

// letter is a message with properties of every kind, recipients, an attachment, and a message in it.
func letter() *mapi.Message {
	m := &mapi.Message{}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	m.Set(mapi.PidTagSubject, mapi.String("Grüße – Ω 😀"))
	m.SetAddress(mapi.SenderAddress, mapi.Address{Name: "Zoë", Type: "SMTP", Address: "zoe@sakes.example"})
	m.Set(mapi.PidTagDisplayTo, mapi.String("Ada"))
	m.Set(mapi.PidTagBody, mapi.String("first\r\nsecond\r\n"))
	m.Set(mapi.PidTagHtml, mapi.Binary("<p>first</p><p>second</p>"))
	m.Set(mapi.PidTagInternetCodepage, mapi.Integer32(65001))
	m.Set(mapi.PidTagImportance, mapi.Integer32(2))
	m.Set(mapi.PidTagClientSubmitTime, mapi.Time(133_000_000_000_000_000))
	m.Set(mapi.PidTagReadReceiptRequested, mapi.Boolean(false))
	m.Set(mapi.PidLidReminderSet, mapi.Boolean(true))
	m.Set(mapi.PidLidPercentComplete, mapi.Floating64(0.5))
	m.Set(mapi.PidNameKeywords, mapi.Multiple[mapi.String]{"red", "blue", ""})
	m.Set(mapi.Named{Set: mapi.PSInternetHeaders, Name: "x-list"}, mapi.String("letters"))
	m.Set(mapi.Named{Set: mapi.PSMapi, LID: 0x4711}, mapi.Multiple[mapi.Integer32]{1, -2, 3})
	m.Set(mapi.Named{Set: mapi.PSMapi, LID: 0x4712}, mapi.Multiple[mapi.Binary]{{1}, {}, {2, 3}})
	m.Set(mapi.Named{Set: mapi.PSMapi, LID: 0x4713}, mapi.PSETIDCommon)
	r := &mapi.Recipient{}
	r.Set(mapi.PidTagRecipientType, mapi.Integer32(1))
	r.Set(mapi.PidTagDisplayName, mapi.String("Ada"))
	r.Set(mapi.PidTagAddressType, mapi.String("SMTP"))
	r.Set(mapi.PidTagEmailAddress, mapi.String("ada@sakes.example"))
	m.Recipients = append(m.Recipients, r)
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(strings.Repeat("0123456789", 3000)))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("Übersicht.txt"))
	inner := &mapi.Message{}
	inner.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	inner.Set(mapi.PidTagSubject, mapi.String("inside"))
	inner.Set(mapi.PidTagBody, mapi.String("I am attached.\r\n"))
	inner.Set(mapi.PidLidReminderSet, mapi.Boolean(false))
	b := &mapi.Attachment{Embedded: inner}
	b.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	b.Set(mapi.PidTagDisplayName, mapi.String("inside"))
	m.Attachments = append(m.Attachments, a, b)
	return m
}

// dump returns a message as JSON without the ids of named properties, which say nothing.
func dump(t testing.TB, m *mapi.Message) string {
	t.Helper()
	forget(m)
	var out bytes.Buffer
	if err := mapi.WriteDump(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func forget(m *mapi.Message) {
	bags := []*mapi.Properties{&m.Properties}
	for _, r := range m.Recipients {
		bags = append(bags, &r.Properties)
	}
	for _, a := range m.Attachments {
		bags = append(bags, &a.Properties)
		if a.Embedded != nil {
			forget(a.Embedded)
		}
	}
	for _, bag := range bags {
		for p := range bag.All() {
			if !p.Named.IsZero() {
				bag.Set(p.Named, p.Value)
			}
		}
	}
}

func readWhole(t testing.TB, octets []byte) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Problems) > 0 {
		t.Errorf("problems: %v", f.Problems)
	}
	return f
}

// whole returns the octets of a content.
func whole(t *testing.T, c mapi.Content) []byte {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	octets, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// TestRead: each property, recipient and attachment comes back, with sectors of either size.
func TestRead(t *testing.T) {
	for _, shift := range []int{9, 12} {
		f := readWhole(t, compound(encode(t, letter()), shift))
		if diff := cmp.Diff(dump(t, letter()), dump(t, f.Message)); diff != "" {
			t.Errorf("sectors of 2^%d octets (-written +read):\n%s", shift, diff)
		}
	}
}

// TestLetter: the file that other packages' tests read is what is written here.
func TestLetter(t *testing.T) {
	const name = "testdata/letter.msg"
	if *update {
		if err := os.WriteFile(name, compound(encode(t, letter()), 9), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	octets, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dump(t, letter()), dump(t, readWhole(t, octets).Message)); diff != "" {
		t.Errorf("go test ./backends/mapi/msg -run TestLetter -update (-written +read):\n%s", diff)
	}
}

// TestNames: the first two are the entries of MS-OXMSG's examples, §3.2.1.1.1 and §3.2.1.1.2.
func TestNames(t *testing.T) {
	octets := func(name string) []byte {
		var all []byte
		for _, unit := range name {
			all = append(all, byte(unit), 0)
		}
		return all
	}
	texts := append([]byte{10, 0, 0, 0}, octets("Name1")...)
	texts = append(texts, 0, 0)
	texts = append(append(texts, 10, 0, 0, 0), octets("Name2")...)
	one, two := mapi.GUID{0x11, 0x22}, mapi.GUID{0x33}
	guids := append(one[:], two[:]...)
	for name, test := range map[string]struct {
		entry []byte
		want  mapi.Named
		index uint16
	}{
		"a number":          {[]byte{0x1C, 0x81, 0, 0, 8, 0, 5, 0}, mapi.Named{Set: two, LID: 0x811C}, 5},
		"a string":          {[]byte{0x10, 0, 0, 0, 7, 0, 5, 0}, mapi.Named{Set: one, Name: "Name2"}, 5},
		"first string":      {[]byte{0, 0, 0, 0, 5, 0, 0, 0}, mapi.Named{Set: mapi.PSPublicStrings, Name: "Name1"}, 0},
		"number in PS_MAPI": {[]byte{1, 0, 0, 0, 2, 0, 9, 0}, mapi.Named{Set: mapi.PSMapi, LID: 1}, 9},
	} {
		got, index, err := nameOf(test.entry, guids, texts)
		if err != nil || got != test.want || index != test.index {
			t.Errorf("%s: %v, property %d, %v; want %v, property %d", name, got, index, err, test.want, test.index)
		}
	}
	for name, entry := range map[string][]byte{
		"no such property set": {0, 0, 0, 0, 10, 0, 0, 0}, "set 0": {0, 0, 0, 0, 0, 0, 0, 0},
		"beyond the strings": {200, 0, 0, 0, 7, 0, 0, 0}, "in a string": {1, 0, 0, 0, 7, 0, 0, 0}, "no such id": {0, 0, 0, 0, 6, 0, 0xFF, 0xFF},
	} {
		if got, _, err := nameOf(entry, guids, texts); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestCodePages: strings that are not Unicode are of the code page that the message says, with a NUL behind them or none.
func TestCodePages(t *testing.T) {
	for name, test := range map[string]struct {
		tag  mapi.Tag
		page mapi.Integer32
		want string
	}{
		"of the message":  {mapi.PidTagMessageCodepage, 1251, "Ж"},
		"of the Internet": {mapi.PidTagInternetCodepage, 1253, "Ζ"},
		"none":            {mapi.PidTagImportance, 1, "Æ"},
	} {
		m := &mapi.Message{}
		m.Set(mapi.PidTagSubject, mapi.String8{Octets: "\xC6\x00"})
		m.Set(test.tag, test.page)
		if got := readWhole(t, compound(encode(t, m), 9)).Message.Text(mapi.PidTagSubject); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestLargeValuesStayInTheFile: they are streamed, and two readers at once do not disturb one another.
func TestLargeValuesStayInTheFile(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 10_000)
	m := &mapi.Message{}
	m.Set(mapi.PidTagBody, mapi.String(text))
	got, ok := readWhole(t, compound(encode(t, m), 9)).Message.Get(mapi.PidTagBody).(mapi.Streamed)
	if !ok {
		t.Fatal("the body is in memory")
	}
	one, err := got.OpenText()
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, len(text)/2)
	if _, err := io.ReadFull(one, half); err != nil {
		t.Fatal(err)
	}
	two, err := got.OpenText()
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(two)
	if err != nil || string(all) != text {
		t.Errorf("the second reader has %d octets: %v", len(all), err)
	}
	rest, err := io.ReadAll(one)
	if err != nil || string(half)+string(rest) != text {
		t.Errorf("the first reader has %d octets: %v", len(rest), err)
	}
}

// TestProblems: what is missing or wrong is told with its place, and the rest is there.
func TestProblems(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*dir)
		where  string
		err    error
	}{
		"stream":     {func(d *dir) { delete(d.streams, "__substg1.0_1000001F") }, "__substg1.0_1000001F", ErrMissing},
		"one value":  {func(d *dir) { deleteSuffix(d, "101F-00000001") }, "", ErrMissing},
		"names":      {func(d *dir) { delete(d.storages, nameStorage) }, propertyStream, ErrNoName},
		"recipient":  {func(d *dir) { delete(d.storages["__recip_version1.0_#00000000"].streams, propertyStream) }, "__recip_version1.0_#00000000/" + propertyStream, ErrMissing},
		"attachment": {func(d *dir) { delete(d.storages["__attach_version1.0_#00000000"].streams, "__substg1.0_37010102") }, "__attach_version1.0_#00000000/__substg1.0_37010102", ErrMissing},
		"OLE": {
			func(d *dir) {
				delete(d.storages["__attach_version1.0_#00000001"].storages["__substg1.0_3701000D"].streams, propertyStream)
			}, "__attach_version1.0_#00000001/__substg1.0_3701000D", ErrObject,
		},
	} {
		root := encode(t, letter())
		test.damage(root)
		octets := compound(root, 9)
		f, err := Read(bytes.NewReader(octets), int64(len(octets)))
		problem, ok := errors.AsType[*Problem](err)
		if !ok || !errors.Is(err, test.err) || !problem.Lost || test.where != "" && problem.Where != test.where {
			t.Errorf("%s: %v", name, err)
		}
		if f == nil || f.Message.Text(mapi.PidTagSubject) != letter().Text(mapi.PidTagSubject) {
			t.Errorf("%s: the rest is not there", name)
		}
	}
}

func deleteSuffix(d *dir, suffix string) {
	for name := range d.streams {
		if strings.HasSuffix(name, suffix) {
			delete(d.streams, name)
		}
	}
}
