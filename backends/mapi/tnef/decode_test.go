package tnef

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestAttributes reads each attribute that stands for properties, in the form of MS-OXTNEF §2.1.3.3.
func TestAttributes(t *testing.T) {
	moment := mapi.NewTime(time.Date(2004, 2, 17, 11, 25, 35, 0, time.UTC))
	date := unhex("d407 0200 1100 0b00 1900 2300 0200")
	text := func(s string) mapi.String8 { return mapi.String8{Octets: s, CodePage: 1252} }
	tests := []struct {
		name      string
		attribute Attribute
		data      []byte
		want      map[mapi.Tag]mapi.Value
	}{
		{"class", attMessageClass, []byte("IPM.Microsoft Mail.Note\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagMessageClass: text("IPM.Note")}},
		{"class with the old prefix", attMessageClass, []byte("Microsoft Mail v3.0 IPM.Microsoft Schedule.MtgReq\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagMessageClass: text("IPM.Schedule.Meeting.Request")}},
		{"class of somebody's own", attMessageClass, []byte("IPM.Note.Ours\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagMessageClass: text("IPM.Note.Ours")}},
		{"original class", attOriginalMessageClass, []byte("IPM.Microsoft Mail.Non-Delivery\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagOriginalMessageClass: text("Report.IPM.Note.NDR")}},
		{"subject", attSubject, []byte("caf\xE9\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagSubject: text("caf\xE9")}},
		{"subject without a NUL", attSubject, []byte("caf\xE9"), map[mapi.Tag]mapi.Value{mapi.PidTagSubject: text("caf\xE9")}},
		{"an empty subject", attSubject, nil, map[mapi.Tag]mapi.Value{mapi.PidTagSubject: text("")}},
		{"body", attBody, []byte("a\r\nb\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagBody: text("a\r\nb")}},
		{"sent", attDateSent, date, map[mapi.Tag]mapi.Value{mapi.PidTagClientSubmitTime: moment}},
		{"received", attDateRecd, date, map[mapi.Tag]mapi.Value{mapi.PidTagMessageDeliveryTime: moment}},
		{"modified", attDateModified, date, map[mapi.Tag]mapi.Value{mapi.PidTagLastModificationTime: moment}},
		{"start", attDateStart, date, map[mapi.Tag]mapi.Value{mapi.PidTagStartDate: moment}},
		{"end", attDateEnd, date, map[mapi.Tag]mapi.Value{mapi.PidTagEndDate: moment}},
		{"a date of zeros", attDateSent, make([]byte, 14), nil},
		{"message id", attMessageID, []byte("757BB19C\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagSearchKey: mapi.Binary("\x75\x7B\xB1\x9C")}},
		{"parent", attParentID, []byte("757b\x00"), map[mapi.Tag]mapi.Value{mapi.PidTagParentKey: mapi.Binary("\x75\x7B")}},
		{"conversation", attConversationID, []byte("00FF\x00"), map[mapi.Tag]mapi.Value{pidTagConversationKey: mapi.Binary("\x00\xFF")}},
		{"high priority", attPriority, unhex("0100"), map[mapi.Tag]mapi.Value{mapi.PidTagImportance: mapi.Integer32(2)}},
		{"normal priority", attPriority, unhex("0200"), map[mapi.Tag]mapi.Value{mapi.PidTagImportance: mapi.Integer32(1)}},
		{"low priority", attPriority, unhex("0300"), map[mapi.Tag]mapi.Value{mapi.PidTagImportance: mapi.Integer32(0)}},
		{"read, with an attachment", attMessageStatus, unhex("a0"), map[mapi.Tag]mapi.Value{mapi.PidTagMessageFlags: mapi.Integer32(0x13)}},
		{"modified and not read", attMessageStatus, unhex("01"), map[mapi.Tag]mapi.Value{mapi.PidTagMessageFlags: mapi.Integer32(0)}},
		{"an answer is wanted", attRequestRes, unhex("0100"), map[mapi.Tag]mapi.Value{mapi.PidTagResponseRequested: mapi.Boolean(true)}},
		{"owner's appointment", attAidOwner, unhex("78563412"), map[mapi.Tag]mapi.Value{mapi.PidTagOwnerAppointmentId: mapi.Integer32(0x12345678)}},
		{"delegate", attDelegate, unhex("00010203"), map[mapi.Tag]mapi.Value{mapi.PidTagReceivedRepresentingEntryId: mapi.Binary("\x00\x01\x02\x03")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := decodeAll(t, newRaw().attribute(1, test.attribute, test.data))
			got := map[mapi.Tag]mapi.Value{}
			for p := range m.All() {
				got[p.Tag.WithType(mapi.PtypUnspecified)] = p.Value
			}
			want := map[mapi.Tag]mapi.Value{}
			for tag, v := range test.want {
				want[tag.WithType(mapi.PtypUnspecified)] = v
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPeople reads the attributes that tell of somebody, MS-OXTNEF §2.1.3.3.3, §2.1.3.3.16, §2.3.3.10.
func TestPeople(t *testing.T) {
	from := append(unhex("0400 2700 0400 1300 416e6e00 534d54503a616e6e406578616d706c652e6300"), make([]byte, 8)...)
	person := unhex("0400 416e6e00 1300 534d54503a616e6e406578616d706c652e6300")
	for _, test := range []struct {
		name, class string
		attribute   Attribute
		data        []byte
		want        mapi.AddressTags
	}{
		{"from", "IPM.Microsoft Mail.Note", attFrom, from, mapi.SenderAddress},
		{"sent for", "IPM.Microsoft Mail.Note", attSentFor, person, mapi.SentRepresentingAddress},
		{"owner of a request", "IPM.Microsoft Schedule.MtgReq", attOwner, person, mapi.SentRepresentingAddress},
		{"owner of a response", "IPM.Microsoft Schedule.MtgRespP", attOwner, person, mapi.ReceivedRepresentingAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := decodeAll(t, newRaw().attribute(1, attMessageClass, []byte(test.class+"\x00")).attribute(1, test.attribute, test.data))
			got, _ := m.Address(test.want)
			if want := (mapi.Address{Name: "Ann", Type: "SMTP", Address: "ann@example.c", SMTP: "ann@example.c"}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if id, err := mapi.ParseEntryID(m.Bytes(test.want.EntryID), 1252); err != nil || m.Len() != 6 {
				t.Errorf("%v, %v: %s", id, err, dump(t, m))
			}
		})
	}
}

// TestPropertiesCountMore than what attributes say of the same, MS-OXTNEF §2.1.3, wherever either stands.
func TestPropertiesCountMore(t *testing.T) {
	properties := list(property(mapi.PidTagSubject, wide("property\x00")))
	for name, stream := range map[string]raw{
		"before": newRaw().attribute(1, attMsgProps, properties).attribute(1, attSubject, []byte("attribute\x00")),
		"behind": newRaw().attribute(1, attSubject, []byte("attribute\x00")).attribute(1, attMsgProps, properties),
	} {
		t.Run(name, func(t *testing.T) {
			if m := decodeAll(t, stream); m.Text(mapi.PidTagSubject) != "property" {
				t.Error(dump(t, m))
			}
		})
	}
	data := newRaw().file("a", "attribute").attribute(2, attAttachment, list(property(mapi.PidTagAttachDataBinary, "property")))
	if got := readAll(t, decodeAll(t, data).Attachments[0].Data); string(got) != "property" {
		t.Errorf("%q", got)
	}
}

// TestValues reads each type, alone and many, MS-OXTNEF §2.1.3.4.
func TestValues(t *testing.T) {
	tests := []struct {
		name string
		hex  string // tag and value
		want mapi.Value
	}{
		{"Integer16", "02000100 ff7f aaaa", mapi.Integer16(32767)},
		{"Integer32", "03000100 feffffff", mapi.Integer32(-2)},
		{"Floating32", "04000100 0000c03f", mapi.Floating32(1.5)},
		{"Floating64", "05000100 000000000000f83f", mapi.Floating64(1.5)},
		{"Currency", "06000100 1027000000000000", mapi.Currency(10000)},
		{"FloatingTime", "07000100 000000000000f83f", mapi.FloatingTime(1.5)},
		{"ErrorCode", "0a000100 0f010480", mapi.ErrorCode(0x8004010F)},
		{"Boolean", "0b000100 0100 0000", mapi.Boolean(true)},
		{"Integer64", "14000100 0100000001000000", mapi.Integer64(1<<32 + 1)},
		{"Time", "40000100 0080355485 72dd01", mapi.Time(0x01DD728554358000)},
		{"Guid", "48000100 000102030405060708090a0b0c0d0e0f", mapi.GUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		{"String8", "1e000100 01000000 05000000 636166e900 000000", mapi.String8{Octets: "caf\xE9", CodePage: 1252}},
		{"String", "1f000100 01000000 06000000 e900ac200000 0000", mapi.String("é\u20ac")},
		{"a character of two units", "1f000100 01000000 06000000 3dd800de0000 0000", mapi.String("😀")},
		{"half a character", "1f000100 01000000 04000000 3dd80000", mapi.String("\uFFFD")},
		{"Binary", "02010100 01000000 03000000 010203 00", mapi.Binary{1, 2, 3}},
		{"Binary of nothing", "02010100 01000000 00000000", mapi.Binary{}},
		{"no value", "02010100 00000000", nil},
		{"many Integer16", "02100100 02000000 01000000 02000000", mapi.Multiple[mapi.Integer16]{1, 2}},
		{"many Integer32", "03100100 02000000 01000000 02000000", mapi.Multiple[mapi.Integer32]{1, 2}},
		{"many Integer64", "14100100 01000000 0100000000000000", mapi.Multiple[mapi.Integer64]{1}},
		{"many String8", "1e100100 02000000 02000000 6100 0000 03000000 626300 00", mapi.Multiple[mapi.String8]{{Octets: "a", CodePage: 1252}, {Octets: "bc", CodePage: 1252}}},
		{"many String", "1f100100 02000000 04000000 61000000 06000000 620063000000 0000", mapi.Multiple[mapi.String]{"a", "bc"}},
		{"many Binary", "02110100 02000000 01000000 01 000000 00000000", mapi.Multiple[mapi.Binary]{{1}, {}}},
		{"many Guid", "48100100 01000000 000102030405060708090a0b0c0d0e0f", mapi.Multiple[mapi.GUID]{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}},
		{"the last one without padding", "02010100 01000000 03000000 010203", mapi.Binary{1, 2, 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			octets := unhex(test.hex)
			m := decodeAll(t, newRaw().attribute(1, attMsgProps, list(octets)))
			if diff := cmp.Diff(test.want, m.Get(mapi.Tag(le.Uint32(octets)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNamedProperties reads both kinds of names, and the value behind them.
func TestNamedProperties(t *testing.T) {
	set := mapi.PSETIDCommon
	number := append(append(unhex("03000180"), set[:]...), unhex("00000000 03850000 05000000")...)
	named := append(append(unhex("03000280"), set[:]...), unhex("01000000 08000000 410062006300 0000 06000000")...)
	m := decodeAll(t, newRaw().attribute(1, attMsgProps, list(number, named)))
	if got, _ := m.Integer(mapi.PidLidReminderSet); got != 5 {
		t.Error(dump(t, m))
	}
	if got, _ := m.Integer(mapi.Named{Set: set, Name: "Abc"}); got != 6 {
		t.Error(dump(t, m))
	}
}

// TestAttachments reads what an attachment can be.
func TestAttachments(t *testing.T) {
	message := string(newRaw().attribute(1, attSubject, []byte("inner\x00")))
	m := decodeAll(t, newRaw().
		file("plain.txt", "plain").
		file("empty", "").
		attribute(2, attAttachRendData, unhex("0200 05000000 2000 2000 01000000")).
		attribute(2, attAttachData, []byte("\xD0\xCF\x11\xE0 ole")).
		attribute(2, attAttachMetaFile, []byte("metafile")).
		attribute(2, attAttachTransportFilename, []byte("transport\x00")).
		attribute(2, attAttachCreateDate, unhex("d407 0200 1100 0b00 1900 2300 0200")).
		attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000")).
		attribute(2, attAttachment, list(objectOf(iidStorage, "storage"), property(mapi.PidTagAttachLongFilename, wide("long\x00")))).
		attribute(2, attAttachTitle, []byte("LONG~1\x00")).
		attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000")).
		attribute(2, attAttachment, list(objectOf(iidMessage, message))))
	if len(m.Attachments) != 5 {
		t.Fatal(dump(t, m))
	}
	for i, want := range []struct {
		name, data string
		method     int64
	}{{"plain.txt", "plain", 1}, {"empty", "", 1}, {"", "\xD0\xCF\x11\xE0 ole", 6}, {"long", "storage", 6}} {
		a := m.Attachments[i]
		method, _ := a.Integer(mapi.PidTagAttachMethod)
		name := a.Text(mapi.PidTagAttachFilename) + a.Text(mapi.PidTagAttachLongFilename)
		if got := readAll(t, a.Data); string(got) != want.data || name != want.name || method != want.method {
			t.Errorf("attachment %d: %q %q %d", i, name, got, method)
		}
	}
	ole := m.Attachments[2]
	position, _ := ole.Integer(mapi.PidTagRenderingPosition)
	if string(ole.Bytes(mapi.PidTagAttachRendering)) != "metafile" || position != 5 ||
		string(ole.Bytes(mapi.PidTagAttachEncoding)) != macBinary || ole.Text(mapi.PidTagAttachTransportName) != "transport" || !ole.Has(mapi.PidTagCreationTime) {
		t.Error(dump(t, m))
	}
	inner := m.Attachments[4].Embedded
	if method, _ := m.Attachments[4].Integer(mapi.PidTagAttachMethod); inner == nil || inner.Text(mapi.PidTagSubject) != "inner" || method != 5 {
		t.Error(dump(t, m))
	}
}

// oddity is a stream in which something is not as it should be. From each, mail.txt with "hello" is had.
type oddity struct {
	name   string
	stream raw
	want   error // what it is called
	lost   bool  // something of the message
}

// oddities are of the kinds that files in the wild have, and the collections of programs that read TNEF.
func oddities() []oddity {
	whole := slices.Clip(newRaw().file("mail.txt", "hello"))
	title, rend := []byte("mail.txt\x00"), unhex("0100 ffffffff 0000 0000 00000000")
	return []oddity{
		{"a wrong checksum", newRaw().attributeOf(1, attSubject, 2, []byte("s\x00"), 1).file("mail.txt", "hello"), ErrChecksum, false},
		{"no last checksum", whole[:len(whole)-2], ErrChecksum, false},
		{"half of the last checksum", whole[:len(whole)-1], ErrChecksum, false},
		{"zeros at the end", append(whole, make([]byte, 100)...), ErrGarbage, false},
		{"line ends at the end", append(whole, "\r\n\r\n\x1A"...), ErrGarbage, false},
		{"garbage at the end", append(whole, "garbage of some length"...), ErrGarbage, true},
		{"a length of 4 GiB", append(whole, "\x01\x0C\x80\x02\x00\xFF\xFF\xFF\xFF"...), io.ErrUnexpectedEOF, true},
		{"data twice", whole.attribute(2, attAttachData, []byte("again")), ErrOrder, true},
		{"the end in a header", append(whole, "\x02\x0F\x80\x06"...), ErrGarbage, true},
		{"an unknown attribute", newRaw().attribute(1, 0x0006_7777, []byte("?")).file("mail.txt", "hello"), ErrUnknown, false},
		{"an unknown attribute of an attachment", whole.attribute(2, 0x0006_7777, []byte("?")), ErrUnknown, false},
		{"an attribute of the wrong level", whole.attribute(2, attSubject, []byte("s\x00")), ErrOrder, false},
		{"no attAttachRendData", newRaw().attribute(2, attAttachTitle, title).attribute(2, attAttachData, []byte("hello")), ErrOrder, false},
		{"data before the name", newRaw().attribute(2, attAttachRendData, rend).attribute(2, attAttachData, []byte("hello")).attribute(2, attAttachTitle, title), nil, false},
		{"another type of attribute", newRaw().attribute(1, 0x0006_0600, []byte("IPM.Note\x00")).file("mail.txt", "hello"), nil, false},
		{"a wrong checksum of the class", newRaw().attributeOf(1, attMessageClass, 9, []byte("IPM.Note\x00"), 1).file("mail.txt", "hello"), nil, false},
		{"an unknown code page", newRaw().attribute(1, attOemCodepage, unhex("ffff0000 00000000")).file("mail.txt", "hello"), ErrUnknown, true},
		{"a short date", newRaw().attribute(1, attDateSent, []byte("short")).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"no such date", newRaw().attribute(1, attDateSent, unhex("d407 0200 1e00 0b00 1900 2300 0200")).file("mail.txt", "hello"), ErrMalformed, true},
		{"no hex", newRaw().attribute(1, attMessageID, []byte("hello")).file("mail.txt", "hello"), ErrMalformed, true},
		{"no such priority", newRaw().attribute(1, attPriority, unhex("0900")).file("mail.txt", "hello"), ErrMalformed, true},
		{"more properties announced", newRaw().attribute(1, attMsgProps, unhex("ffffffff 03001700 01000000")).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"more values announced", newRaw().attribute(1, attMsgProps, unhex("01000000 02110100 ffffffff 00000000")).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"more recipients announced", newRaw().attribute(1, attRecipTable, unhex("ffffffff 00000000")).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"a value of 4 GiB", newRaw().attribute(1, attMsgProps, unhex("01000000 02010100 01000000 ffffffff 00000000")).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"a type that is none", newRaw().attribute(1, attMsgProps, unhex("01000000 99001700 01000000")).file("mail.txt", "hello"), ErrMalformed, true},
		{"many objects", newRaw().attribute(1, attMsgProps, unhex("01000000 0d100100 01000000 00000000")).file("mail.txt", "hello"), ErrMalformed, true},
		{"two values where one may be", newRaw().attribute(1, attMsgProps, unhex("01000000 02010100 02000000 00000000 00000000")).file("mail.txt", "hello"), ErrMalformed, true},
		{"a name of no kind", newRaw().attribute(1, attMsgProps, append(unhex("01000000 03000180"), make([]byte, 16)...)).file("mail.txt", "hello"), io.ErrUnexpectedEOF, true},
		{"a message that is none", whole.attribute(2, attAttachRendData, rend).attribute(2, attAttachment, list(objectOf(iidMessage, "no TNEF"))), ErrNotTNEF, true},
		{"a message that is cut off", whole.attribute(2, attAttachRendData, rend).attribute(2, attAttachment, list(objectOf(iidMessage, string(whole[:len(whole)-4])))), io.ErrUnexpectedEOF, true},
		{"an object without an interface", whole.attribute(2, attAttachRendData, rend).attribute(2, attAttachment, list(property(mapi.PidTagAttachDataObject, "short"))), ErrMalformed, true},
		{"messages in messages", append(whole, nested(mapi.DepthMost + 5)[len(newRaw()):]...), mapi.ErrDepth, true},
	}
}

func TestOddities(t *testing.T) {
	for _, o := range oddities() {
		t.Run(o.name, func(t *testing.T) {
			s, err := decodeRaw(t, o.stream)
			if s == nil {
				t.Fatal(err)
			}
			if (err != nil) != o.lost || o.lost && !errors.Is(err, o.want) {
				t.Errorf("%v, want %v", err, o.want)
			}
			if (len(s.Problems) == 0) != (o.want == nil) || o.want != nil && !errors.Is(s.Problems[0], o.want) {
				t.Errorf("%v, want %v", s.Problems, o.want)
			}
			a := s.Message.Attachments[0]
			if got := readAll(t, a.Data); a.Text(mapi.PidTagAttachFilename) != "mail.txt" || string(got) != "hello" {
				t.Errorf("%q %q", a.Text(mapi.PidTagAttachFilename), got)
			}
		})
	}
}

// TestProblemsAreCounted, of which only the first are told.
func TestProblemsAreCounted(t *testing.T) {
	stream := newRaw()
	for range problemsMost + 7 {
		stream = stream.attribute(1, 0x7777, nil)
	}
	s, err := decodeRaw(t, stream)
	if err != nil || len(s.Problems) != problemsMost || s.MoreProblems != 7 {
		t.Errorf("%d and %d problems, %v", len(s.Problems), s.MoreProblems, err)
	}
	if told := s.Problems[0].Error(); told != "TNEF, octet 49, 0x00007777: 0 octets: an unknown attribute" {
		t.Error(told)
	}
}

// TestNames: what a file is called is told as it is written, also where it is no name to give a file.
func TestNames(t *testing.T) {
	long := strings.Repeat("long", 2000)
	for _, name := range []string{"../../x", `C:\x`, "a\nb", "", long, "same", "same"} {
		m := decodeAll(t, newRaw().file(name, "x").file(name, "y"))
		for _, a := range m.Attachments {
			if a.Text(mapi.PidTagAttachFilename) != name {
				t.Errorf("%q", a.Text(mapi.PidTagAttachFilename))
			}
		}
	}
}

func TestNotTNEF(t *testing.T) {
	for _, text := range []string{"", "x", "\x78\x9F\x3E", "From: a@b.example\r\n\r\n", "\x22\x3E\x9F\x78\x01\x00"} {
		if s, err := decodeRaw(t, raw(text)); !errors.Is(err, ErrNotTNEF) || s != nil {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

// TestCutOff: wherever a file ends, it is told, and what stands before it is had.
func TestCutOff(t *testing.T) {
	whole := newRaw().attribute(1, attMsgProps, list(property(mapi.PidTagSubject, wide("subject\x00")))).file("mail.txt", "hello, world")
	for n := 6; n < len(whole)-2; n++ {
		s, err := decodeRaw(t, whole[:n])
		if s == nil || err == nil && !endsAttribute(whole, n) {
			t.Fatalf("%d octets: %v", n, err)
		}
	}
	s, err := decodeRaw(t, whole[:len(whole)-2-6])
	if got := readAll(t, s.Message.Attachments[0].Data); string(got) != "hello, " && string(got) != "hello," || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

// endsAttribute says whether a stream may end there: behind an attribute, or in its checksum.
func endsAttribute(stream raw, n int) bool {
	at := 6
	for at < n {
		at += headerSize + int(le.Uint32(stream[at+5:])) + 2
	}
	return n >= at-2
}

// TestReadingFails: an error of the file is no fault of the stream.
func TestReadingFails(t *testing.T) {
	broken := errors.New("broken")
	stream := string(newRaw().file("mail.txt", strings.Repeat("x", 3*windowSize)))
	for _, n := range []int{0, 3, 60, windowSize, 2*windowSize + 7} {
		r := failing{strings.NewReader(stream[:n]), broken}
		if s, err := Decode(r, int64(len(stream))); s != nil || !errors.Is(err, broken) {
			t.Errorf("after %d octets: %v, %v", n, s, err)
		}
	}
	if s, err := Decode(strings.NewReader(stream[:60]), int64(len(stream))); s != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is shorter than it was said: %v, %v", s, err)
	}
}

// failing is a file that fails at its end.
type failing struct {
	io.ReaderAt
	err error
}

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, at)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}
