package tnef

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
)

func encode(t testing.TB, m *mapi.Message, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, m, o); err != nil {
		t.Fatal(err)
	}
	size, err := Size(m, o)
	if err != nil || size != int64(b.Len()) {
		t.Fatalf("Size says %d, %v; there are %d octets", size, err, b.Len())
	}
	return b.Bytes()
}

// sample is a message with all that TNEF has a form for.
func sample() *mapi.Message {
	m := &mapi.Message{}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Schedule.Meeting.Request"))
	m.Set(mapi.PidTagSubject, mapi.String("Grüße – Ω 😀"))
	m.Set(mapi.PidTagBody, mapi.String("first\r\nΩ\r\n"))
	m.Set(mapi.PidTagHtml, mapi.Binary("<p>first</p>"))
	m.Set(mapi.PidTagSenderName, mapi.String("Zoë"))
	m.Set(mapi.PidTagSenderAddressType, mapi.String("SMTP"))
	m.Set(mapi.PidTagSenderEmailAddress, mapi.String("zoe@sakes.example"))
	m.Set(mapi.PidTagSentRepresentingName, mapi.String("Ann"))
	m.Set(mapi.PidTagSentRepresentingAddressType, mapi.String("SMTP"))
	m.Set(mapi.PidTagSentRepresentingEmailAddress, mapi.String("ann@sakes.example"))
	m.Set(mapi.PidTagReceivedRepresentingEntryId, mapi.Binary{0, 1, 2})
	m.Set(mapi.PidTagClientSubmitTime, mapi.NewTime(time.Date(2004, 2, 17, 11, 25, 35, 700, time.UTC)))
	m.Set(mapi.PidTagStartDate, mapi.NewTime(time.Date(2004, 2, 17, 11, 0, 0, 0, time.UTC)))
	m.Set(mapi.PidTagImportance, mapi.Integer32(2))
	m.Set(mapi.PidTagAttachRendering, mapi.Binary("of no attachment"))
	m.Set(mapi.PidTagMessageFlags, mapi.Integer32(0x11))
	m.Set(mapi.PidTagOwnerAppointmentId, mapi.Integer32(77))
	m.Set(mapi.PidTagResponseRequested, mapi.Boolean(true))
	m.Set(mapi.PidTagSearchKey, mapi.Binary("\x75\x7B\xB1\x9C\xDE"))
	for i, v := range everyType() {
		m.Set(mapi.NewTag(mapi.ID(0x6000+i), mapi.PtypUnspecified), v)
		m.Set(mapi.Named{Set: mapi.PSETIDCommon, LID: uint32(0x9000 + i)}, v)
		m.Set(mapi.Named{Set: mapi.PSPublicStrings, Name: fmt.Sprint("name ", i)}, v)
	}
	for i := range 3 {
		r := &mapi.Recipient{}
		r.Set(mapi.PidTagRecipientType, mapi.Integer32(int32(i+1)))
		r.Set(mapi.PidTagDisplayName, mapi.String("Zoë"))
		m.Recipients = append(m.Recipients, r)
	}
	m.Attachments = attachments()
	return m
}

func everyType() []mapi.Value {
	return []mapi.Value{
		mapi.Integer16(-3), mapi.Integer32(math.MinInt32), mapi.Integer64(math.MaxInt64), mapi.Floating32(1.5),
		mapi.Floating64(-2.5), mapi.Currency(12345), mapi.FloatingTime(0.25), mapi.Boolean(true), mapi.Boolean(false),
		mapi.Time(math.MaxUint64),
		mapi.GUID{1, 2, 3},
		mapi.String(""), mapi.String("odd"), mapi.String("with\x00a NUL"),
		mapi.Binary{},
		mapi.Binary{0},
		mapi.Binary("\x00\x00\x00\x00\x00"), mapi.Object("\x01interface of sixteen and more"),
		mapi.Multiple[mapi.Integer16]{1, 2, 3},
		mapi.Multiple[mapi.Integer32]{1},
		mapi.Multiple[mapi.Integer64]{1, 2},
		mapi.Multiple[mapi.Floating32]{1},
		mapi.Multiple[mapi.Floating64]{1},
		mapi.Multiple[mapi.Currency]{1},
		mapi.Multiple[mapi.FloatingTime]{1},
		mapi.Multiple[mapi.Time]{1},
		mapi.Multiple[mapi.GUID]{{1}, {2}},
		mapi.Multiple[mapi.String]{"a", "", "Ω"},
		mapi.Multiple[mapi.Binary]{{1, 2, 3}, {}, {4}},
	}
}

func attachments() []*mapi.Attachment {
	file := &mapi.Attachment{Data: mapi.ContentOf([]byte("file"))}
	file.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	file.Set(mapi.PidTagAttachFilename, mapi.String("FILE~1.TXT"))
	file.Set(mapi.PidTagAttachLongFilename, mapi.String("a long file – Ω.txt"))
	file.Set(mapi.PidTagRenderingPosition, mapi.Integer32(-1))
	file.Set(mapi.PidTagAttachRendering, mapi.Binary("metafile"))
	file.Set(mapi.PidTagCreationTime, mapi.NewTime(time.Date(2004, 2, 17, 11, 25, 35, 0, time.UTC)))
	empty := &mapi.Attachment{Data: mapi.ContentOf(nil)}
	empty.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	empty.Set(mapi.PidTagAttachLongFilename, mapi.String("empty"))
	mac := &mapi.Attachment{Data: mapi.ContentOf([]byte("mac"))}
	mac.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	mac.Set(mapi.PidTagAttachEncoding, mapi.Binary(macBinary))
	storage := &mapi.Attachment{Data: mapi.ContentOf([]byte(compoundFile + " and more"))}
	storage.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
	stream := &mapi.Attachment{Data: mapi.ContentOf([]byte("a stream"))}
	stream.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
	embedded := &mapi.Attachment{Embedded: &mapi.Message{}}
	embedded.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	embedded.Set(mapi.PidTagDisplayName, mapi.String("inner"))
	embedded.Embedded.Set(mapi.PidTagSubject, mapi.String("inner"))
	deeper := &mapi.Attachment{Embedded: &mapi.Message{}}
	deeper.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	deeper.Embedded.Attachments = []*mapi.Attachment{file, storage}
	embedded.Embedded.Attachments = []*mapi.Attachment{deeper, file}
	return []*mapi.Attachment{file, empty, mac, storage, stream, embedded}
}

// compareAll compares messages: the properties in any order.
func compareAll(t testing.TB, want, got *mapi.Message) {
	t.Helper()
	sorted(want)
	sorted(got)
	if diff := cmp.Diff(dump(t, want), dump(t, got)); diff != "" {
		t.Error(diff)
	}
}

// sorted puts properties in one order, and leaves out the ids of named ones, which a stream makes up.
func sorted(m *mapi.Message) {
	sortProperties(&m.Properties)
	for _, r := range m.Recipients {
		sortProperties(&r.Properties)
	}
	for _, a := range m.Attachments {
		sortProperties(&a.Properties)
		if a.Embedded != nil {
			sorted(a.Embedded)
		}
	}
}

func sortProperties(p *mapi.Properties) {
	all := slices.SortedFunc(p.All(), func(a, b mapi.Property) int { return strings.Compare(sortKey(a), sortKey(b)) })
	for _, property := range all {
		p.Delete(property.Key())
	}
	for _, property := range all {
		p.Set(property.Key(), property.Value)
	}
}

func sortKey(p mapi.Property) string { return fmt.Sprintf("%v %08x", p.Named, uint32(p.Tag)) }

// TestRoundTrip: what was written is read again.
func TestRoundTrip(t *testing.T) {
	for _, page := range []int{0, 1252, 932, 65001, 1200, 99999} {
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			octets := encode(t, sample(), Options{CodePage: page})
			compareAll(t, sample(), decodeAll(t, octets))
			if again := encode(t, sample(), Options{CodePage: page}); !bytes.Equal(octets, again) {
				t.Error("the second time there are other octets")
			}
		})
	}
}

// TestRecordedAgain writes what a server wrote, and reads it.
func TestRecordedAgain(t *testing.T) {
	for _, name := range []string{"05-alternative", "07-mixed-two-attachments", "08-nested-rfc822", "10-calendar-request", "14-many-recipients"} {
		t.Run(name, func(t *testing.T) {
			compareAll(t, decodeFile(t, name), decodeAll(t, encode(t, decodeFile(t, name), Options{})))
		})
	}
}

// TestSpecificationExample writes the attributes of MS-OXTNEF §3.1 with the octets and the checksums that it tells.
func TestSpecificationExample(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	m.Set(mapi.PidTagSubject, mapi.String("Simple subject"))
	m.Set(mapi.PidTagClientSubmitTime, mapi.NewTime(time.Date(2004, 2, 17, 11, 25, 35, 0, time.UTC)))
	m.Set(mapi.PidTagLastModificationTime, mapi.NewTime(time.Date(2004, 2, 17, 12, 26, 9, 0, time.UTC)))
	m.Set(mapi.PidTagSearchKey, mapi.Binary(unhex("757BB19CDE936A4087D90BB784C58E3B")))
	m.Set(mapi.PidTagImportance, mapi.Integer32(1))
	octets := encode(t, m, Options{CodePage: 1252})
	for name, want := range map[string]string{
		"signature, key, attTnefVersion": "789f3e22 0100 01 06900800 04000000 00000100 0100",
		"attOemCodepage":                 "01 07900600 08000000 e404000000000000 e800",
		"attMessageClass":                "01 08800700 18000000 49504d2e4d6963726f736f6674204d61696c2e4e6f746500 3108",
		"attPriority":                    "01 0d800400 02000000 0200 0200",
		"attSubject":                     "01 04800100 0f000000 53696d706c65207375626a65637400 7a05",
		"attDateSent":                    "01 05800300 0e000000 d407 0200 1100 0b00 1900 2300 0200 3701",
		"attDateModified":                "01 20800300 0e000000 d407 0200 1100 0c00 1a00 0900 0200 1f01",
		"attMessageID":                   "01 09800100 21000000 3735374242313943444539333641343038374439304242373834433538453342 00 5107",
	} {
		if !bytes.Contains(octets, unhex(want)) {
			t.Errorf("%s is not as it should be in %x", name, octets)
		}
	}
}

// TestCodePages: what is not Unicode stays in its code page, or becomes Unicode where the stream has another.
func TestCodePages(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String8{Octets: "\x83\x65\x83\x58\x83\x67", CodePage: 932})
	m.Set(mapi.PidTagConversationTopic, mapi.String8{Octets: "caf\xE9", CodePage: 1252})
	streamed := mapi.Streamed{Of: mapi.PtypString8, CodePage: 1252, Content: mapi.ContentOf([]byte("caf\xE9"))}
	m.Set(mapi.PidTagBody, streamed)
	got := decodeAll(t, encode(t, m, Options{}))
	if v, ok := mapi.As[mapi.String8](&got.Properties, mapi.PidTagSubject); !ok || v.CodePage != 932 || v.Text() != "テスト" {
		t.Errorf("%#v", v)
	}
	for _, k := range []mapi.Tag{mapi.PidTagConversationTopic, mapi.PidTagBody} {
		if v, ok := mapi.As[mapi.String](&got.Properties, k); !ok || v != "café" {
			t.Errorf("%s: %#v", k, got.Get(k))
		}
	}
}

// TestWideCodePage: UTF-16 is no code page of a stream, also where a string claims it (MS-OXTNEF §2.1.3).
func TestWideCodePage(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String8{Octets: wide("Ω"), CodePage: 1200})
	s, err := decodeRaw(t, encode(t, m, Options{CodePage: 1200}))
	if err != nil || s.CodePage != 65001 || s.Message.Get(mapi.PidTagSubject) != mapi.String("Ω") {
		t.Errorf("code page %d, %v: %s", s.CodePage, err, dump(t, s.Message))
	}
}

// TestLargeValues stay where they are, and are copied from there.
func TestLargeValues(t *testing.T) {
	long := strings.Repeat("Ω 0123456789", 20_000)
	m := &mapi.Message{}
	m.Set(mapi.PidTagBody, mapi.String(long))
	m.Set(mapi.PidTagHtml, mapi.Binary(long))
	first := encode(t, m, Options{})
	got := decodeAll(t, first)
	for _, k := range []mapi.Tag{mapi.PidTagBody, mapi.PidTagHtml} {
		if _, ok := got.Get(k).(mapi.Streamed); !ok {
			t.Errorf("%s is %T", k, got.Get(k))
		}
	}
	for _, message := range []*mapi.Message{got, decodeAll(t, encode(t, got, Options{}))} {
		text, err := message.OpenText(mapi.PidTagBody)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(text); string(all) != long || err != nil {
			t.Errorf("%d octets of text, want %d, %v", len(all), len(long), err)
		}
		octets, err := message.OpenBytes(mapi.PidTagHtml)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(octets); string(all) != long || err != nil {
			t.Errorf("%d octets, want %d, %v", len(all), len(long), err)
		}
	}
}

// TestLeftOut: what TNEF has no form for does not keep the rest from being written.
func TestLeftOut(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.ErrorCode(0x8004010F))
	m.Set(mapi.NewTag(0x6001, 0), mapi.Null{})
	m.Set(mapi.NewTag(0x6002, 0), mapi.ServerID("\x01"))
	m.Set(mapi.NewTag(0x6003, 0), mapi.Multiple[mapi.Integer32]{})
	m.Set(mapi.PidTagImportance, mapi.Integer32(1))
	if got := decodeAll(t, encode(t, m, Options{})); got.Len() != 1 {
		t.Error(dump(t, got))
	}
}

// TestCannotBeWritten: an error says why.
func TestCannotBeWritten(t *testing.T) {
	with := func(a *mapi.Attachment) *mapi.Message { return &mapi.Message{Attachments: []*mapi.Attachment{a}} }
	broken := errors.New("broken")
	fails := func() (io.ReadCloser, error) { return nil, broken }
	of := func(size int64) mapi.Content {
		return mapi.Content{Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("12345")), nil }}
	}
	endless := with(&mapi.Attachment{})
	endless.Attachments[0].Embedded = endless
	endless.Attachments = append(endless.Attachments, endless.Attachments...) // without end in two ways
	for name, test := range map[string]struct {
		m    *mapi.Message
		want error
	}{
		"a content that cannot be opened": {with(&mapi.Attachment{Data: mapi.Content{Size: 5, Open: fails}}), broken},
		"a content that is shorter":       {with(&mapi.Attachment{Data: of(6)}), nil},
		"a content that is longer":        {with(&mapi.Attachment{Data: of(4)}), nil},
		"a message in itself":             {endless, mapi.ErrDepth},
		"4 GiB":                           {with(&mapi.Attachment{Data: of(1 << 32)}), ErrTooLarge},
		"4 GiB in a message":              {with(&mapi.Attachment{Embedded: with(&mapi.Attachment{Data: of(1<<32 - 1)})}), ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Encode(io.Discard, test.m, Options{}); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	if err := Encode(writer{broken}, sample(), Options{}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type writer struct{ err error }

func (w writer) Write([]byte) (int, error) { return 0, w.err }

// TestDeepest: as deep as may be read may be written.
func TestDeepest(t *testing.T) {
	m := decodeAll(t, nested(mapi.DepthMost))
	compareAll(t, m, decodeAll(t, encode(t, m, Options{})))
}

// TestRandomMessages: whatever is in a message is read as it was written.
func TestRandomMessages(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 2026))
	for range 50 {
		m := randomMessage(random, 0)
		octets := encode(t, m, Options{})
		compareAll(t, m, decodeAll(t, octets))
		if t.Failed() {
			t.Fatalf("%x", octets)
		}
	}
}

func randomMessage(random *rand.Rand, depth int) *mapi.Message {
	m := &mapi.Message{}
	randomProperties(random, &m.Properties)
	for range random.IntN(3) {
		r := &mapi.Recipient{}
		randomProperties(random, &r.Properties)
		m.Recipients = append(m.Recipients, r)
	}
	for range random.IntN(3) {
		a := &mapi.Attachment{}
		randomProperties(random, &a.Properties)
		a.Delete(mapi.NewTag(0x3701, 0))
		switch kind := random.IntN(3); {
		case kind == 0 && depth < 3:
			a.Embedded = randomMessage(random, depth+1)
			a.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
		case kind == 1:
			a.Data = mapi.ContentOf(randomOctets(random))
			a.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
		default:
			a.Data = mapi.ContentOf(randomOctets(random))
			a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
		}
		m.Attachments = append(m.Attachments, a)
	}
	return m
}

func randomOctets(random *rand.Rand) []byte {
	octets := make([]byte, random.IntN(40))
	for i := range octets {
		octets[i] = byte(random.Uint32())
	}
	return octets
}

func randomProperties(random *rand.Rand, p *mapi.Properties) {
	values := everyType()
	for range random.IntN(12) {
		v := values[random.IntN(len(values))]
		if random.IntN(2) == 0 {
			v = mapi.Binary(randomOctets(random))
		}
		id := mapi.ID(1 + random.IntN(0x7FFF))
		if id >= 0x3700 && id < 0x3720 {
			continue // what attributes stand for has types of its own
		}
		p.Set(mapi.NewTag(id, 0), v)
		p.Set(mapi.Named{Set: mapi.PSETIDCommon, LID: uint32(1 + random.IntN(9))}, v)
	}
}

// writes counts the calls of its Write.
type writes int

func (w *writes) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

// TestFewWrites: what is written goes on in large pieces, and not number by number.
func TestFewWrites(t *testing.T) {
	m := &mapi.Message{}
	for range 1000 {
		r := &mapi.Recipient{}
		r.Set(mapi.PidTagRecipientType, mapi.Integer32(1))
		m.Recipients = append(m.Recipients, r)
	}
	var n writes
	if err := Encode(&n, m, Options{}); err != nil || n > 10 {
		t.Errorf("%d writes of 16 KiB, %v", n, err)
	}
}
