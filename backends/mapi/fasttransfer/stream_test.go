package fasttransfer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Elements of streams in hex.
const (
	startMessage = "03000c40"
	endMessage   = "03000d40"
	newAttach    = "03000040"
	endAttach    = "03000e40"
	startEmbed   = "03000140"
	endEmbed     = "03000240"
	startRecip   = "03000340"
	endRecip     = "03000440"
	importance   = "0300170002000000"
)

func TestHostileStreams(t *testing.T) {
	set := strings.Repeat("11", 16)
	for _, c := range []struct {
		name, stream string
		want         error
	}{
		{"half a tag", "0300", io.ErrUnexpectedEOF},
		{"half a value", "030017000200", io.ErrUnexpectedEOF},
		{"no value", "03001700", io.ErrUnexpectedEOF},
		{"octets of 4 GiB", "02013b00ffffffff", errLarge},
		{"octets that are cut off", "02013b00ff00000001", io.ErrUnexpectedEOF},
		{"4 G values", "03100180" + set + "0000000000" + "ffffffff", io.ErrUnexpectedEOF},
		{"many octets of 4 GiB", "02110180" + set + "0000000000" + "01000000ffffffff", errLarge},
		{"a type that does not exist", "77003700", mapi.ErrType},
		{"a restriction", "fd003700", mapi.ErrType},
		{"many booleans", "0b10370001000000" + "0100", mapi.ErrType},
		{"no kind of name", "03000180" + set + "02", nil},
		{"an empty name", "03000180" + set + "010000", errName},
		{"a name of zeros", "03000180" + strings.Repeat("00", 21), errName},
		{"a long name", "03000180" + set + "01" + strings.Repeat("4100", 200) + "0000", errName},
		{"a name without an end", "03000180" + set + "014100", io.ErrUnexpectedEOF},
		{"no end of a message", startMessage + importance, io.ErrUnexpectedEOF},
		{"no end of an attachment", startMessage + newAttach, io.ErrUnexpectedEOF},
		{"no end of a recipient", startMessage + startRecip, io.ErrUnexpectedEOF},
		{"no end of a message in a message", newAttach + startEmbed, io.ErrUnexpectedEOF},
		{"the end of another thing", startMessage + endAttach, errMarker},
		{"an end without a beginning", endMessage, errMarker},
		{"a recipient in a recipient", startMessage + startRecip + startRecip, errMarker},
		{"two messages in an attachment", newAttach + startEmbed + endEmbed + startEmbed, errMarker},
		{"content behind a message", startMessage + endMessage + importance, errMarker},
		{"messages in messages", strings.Repeat(newAttach+startEmbed, 10_000), mapi.ErrDepth},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(unhexed(t, c.stream)), Options{})
			var err error
			for err == nil {
				_, err = r.Message()
			}
			if at := (*mapi.DecodeError)(nil); !errors.As(err, &at) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, again := r.Message(); again == nil || again == io.EOF {
				t.Errorf("after the error: %v", again)
			}
		})
	}
}

// TestIDsOfNames gives names ids of the stream's own: those of the source would be those of other properties elsewhere.
func TestIDsOfNames(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidLidReminderSet, mapi.Boolean(true))
	m.Put(mapi.Property{Tag: mapi.NewTag(0x8000, mapi.PtypBoolean), Named: mapi.PidLidPrivate, Value: mapi.Boolean(true)})
	ids := map[mapi.ID]bool{}
	for s := NewScanner(bytes.NewReader(written(t, []*mapi.Message{m})), Options{}); s.Scan(); {
		if s.Marker() == 0 {
			ids[s.Property().Tag.ID()] = true
		}
	}
	if !ids[0x8000] || !ids[0x8001] || len(ids) != 2 {
		t.Errorf("the ids are %v", ids)
	}
	for p := range readAll(t, written(t, []*mapi.Message{m}), Options{})[0].All() {
		if p.Tag.ID() != 0 {
			t.Errorf("%s has the id 0x%04x", p, p.Tag.ID())
		}
	}
}

func unhexed(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// TestMemoryIsBounded reads what would take more memory than is allowed, whatever it is made of.
func TestMemoryIsBounded(t *testing.T) {
	set := strings.Repeat("11", 16)
	value := func(i int) string {
		return fmt.Sprintf("0201%02x%02x", i%256, i/256%64+1) + "00010000" + strings.Repeat("ab", 256)
	}
	for name, element := range map[string]func(i int) string{
		"properties":  value,
		"recipients":  func(int) string { return startRecip + endRecip },
		"attachments": func(int) string { return newAttach + endAttach },
		"names":       func(i int) string { return "03000180" + set + "00" + fmt.Sprintf("%08x", i) + "00000000" },
	} {
		t.Run(name, func(t *testing.T) {
			i := 0
			stream := endless(func() []byte { i++; return unhexed(t, element(i)) })
			if _, err := NewReader(stream, Options{MemoryMost: 1 << 20}).Message(); !errors.Is(err, ErrMemory) {
				t.Error(err)
			}
		})
	}
}

// endless is a stream of what more returns.
type endless func() []byte

func (more endless) Read(p []byte) (int, error) {
	n := 0
	for rest := p; ; {
		next := more()
		if len(next) > len(rest) {
			return n, nil
		}
		rest = rest[copy(rest, next):]
		n += len(next)
	}
}

// TestLargeAttachment reads a large attachment, and a large text, with little memory.
func TestLargeAttachment(t *testing.T) {
	const size = 16 << 20
	data := mapi.Content{Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(rand.New(rand.NewSource(1)), size)), nil
	}}
	m := &mapi.Message{Attachments: []*mapi.Attachment{{Data: data}}}
	m.Set(mapi.PidTagBody, mapi.String(strings.Repeat("long €", 20_000)))
	r, w := io.Pipe()
	go func() {
		writer := NewWriter(w)
		err := writer.Message(m)
		w.CloseWithError(errors.Join(err, writer.Flush()))
	}()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var kept []int64
	keep := func(r io.Reader) (mapi.Content, error) {
		if len(kept) == 0 {
			kept = append(kept, 0)
			return mapi.KeepInMemory(r) // the text
		}
		n, err := io.Copy(io.Discard, r)
		kept = append(kept, n)
		return mapi.Content{Size: n, Open: data.Open}, err
	}
	got, err := NewReader(r, Options{Keep: keep}).Message()
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d octets were allocated", allocated)
	}
	if len(kept) != 2 || kept[1] != size || got.Attachments[0].Data.Size != size {
		t.Errorf("kept %v, size %d", kept, got.Attachments[0].Data.Size)
	}
	text, err := got.OpenText(mapi.PidTagBody)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(text); err != nil || string(body) != strings.Repeat("long €", 20_000) {
		t.Errorf("%d octets, %v", len(body), err)
	}
}

// TestKeepThatFails passes on what went wrong, and notices a Keep that does not read all.
func TestKeepThatFails(t *testing.T) {
	stream := unhexed(t, "02013b00"+"00000200"+strings.Repeat("ab", 0x20000))
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		keep mapi.Keep
		want error
	}{
		"full":     {func(io.Reader) (mapi.Content, error) { return mapi.Content{}, full }, full},
		"too lazy": {func(io.Reader) (mapi.Content, error) { return mapi.ContentOf(nil), nil }, errSize},
		"wrong": {func(r io.Reader) (mapi.Content, error) {
			_, err := io.Copy(io.Discard, r)
			return mapi.ContentOf(nil), err
		}, errSize},
	} {
		if _, err := NewReader(bytes.NewReader(stream), Options{Keep: c.keep}).Message(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	deaf := func(r io.Reader) (mapi.Content, error) {
		n, _ := io.Copy(io.Discard, r)
		return mapi.Content{Size: n}, nil
	}
	cut := stream[:len(stream)-1]
	if _, err := NewReader(bytes.NewReader(cut), Options{Keep: deaf}).Message(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that is cut off: %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(cut), iotest.ErrReader(full))
	if _, err := NewReader(broken, Options{Keep: deaf}).Message(); !errors.Is(err, full) {
		t.Errorf("a stream that breaks: %v", err)
	}
	if _, err := NewReader(iotest.ErrReader(full), Options{}).Message(); !errors.Is(err, full) {
		t.Errorf("a stream that breaks at once: %v", err)
	}
}

// TestCodePages reads strings whose type is their code page, MS-OXCFXICS §2.2.4.1.1.1.
func TestCodePages(t *testing.T) {
	for stream, want := range map[string]mapi.Value{
		"b0843700" + "04000000" + "e9000000": mapi.String("é"),
		"e4843700" + "02000000" + "e900":     mapi.String8{Octets: "\xe9", CodePage: 1252},
		"a4833700" + "03000000" + "82b100":   mapi.String8{Octets: "\x82\xb1", CodePage: 932},
		"e9fd3700" + "03000000" + "c3a900":   mapi.String8{Octets: "é", CodePage: 65001},
		"1e003700" + "02000000" + "e900":     mapi.String8{Octets: "\xe9", CodePage: 1250},
		"1e003700" + "01000000" + "e9":       mapi.String8{Octets: "\xe9", CodePage: 1250}, // without the NUL
		"1f003700" + "02000000" + "e900":     mapi.String("é"),
		"1f003700" + "00000000":              mapi.String(""),
		"1f003700" + "03000000" + "e90000":   mapi.String("é\uFFFD"),
	} {
		s := NewScanner(bytes.NewReader(unhexed(t, stream)), Options{CodePage: 1250})
		if !s.Scan() || !cmp.Equal(s.Property().Value, want) || s.Property().Tag != mapi.PidTagSubject.WithType(want.Type()) {
			t.Errorf("%s is %#v, %v; want %#v", stream, s.Property(), s.Err(), want)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	message := func(k mapi.Key, v mapi.Value) *mapi.Message {
		m := &mapi.Message{}
		m.Set(k, v)
		return m
	}
	short := mapi.Content{Size: 5, Open: mapi.ContentOf([]byte("four")).Open}
	long := mapi.Content{Size: 3, Open: mapi.ContentOf([]byte("four")).Open}
	broken := mapi.Content{Size: 3, Open: func() (io.ReadCloser, error) { return nil, io.ErrClosedPipe }}
	deep := &mapi.Message{}
	for range mapi.DepthMost + 1 {
		deep = &mapi.Message{Attachments: []*mapi.Attachment{{Embedded: deep}}}
	}
	for name, m := range map[string]*mapi.Message{
		"a named property without its name": message(mapi.NewTag(0x8001, mapi.PtypString), mapi.String("x")),
		"a restriction":                     message(mapi.PidTagSubject, mapi.ExistRestriction{}),
		"a content that is short":           {Attachments: []*mapi.Attachment{{Data: short}}},
		"a content that is long":            {Attachments: []*mapi.Attachment{{Data: long}}},
		"a content that is gone":            {Attachments: []*mapi.Attachment{{Data: broken}}},
		"a content of more than 4 GiB":      {Attachments: []*mapi.Attachment{{Data: mapi.Content{Size: 1 << 32, Open: short.Open}}}},
		"a long name":                       message(mapi.Named{Set: mapi.PSMapi, Name: strings.Repeat("n", 128)}, mapi.String("")),
		"a name with a NUL":                 message(mapi.Named{Set: mapi.PSMapi, Name: "a\x00b"}, mapi.String("")),
		"messages in messages":              deep,
	} {
		w := NewWriter(io.Discard)
		if err := w.Message(m); err == nil {
			t.Errorf("%s was written", name)
		}
		if err := w.Flush(); err == nil {
			t.Errorf("%s: Flush forgot the error", name)
		}
	}
	w := NewWriter(io.Discard)
	if err := w.Content(message(mapi.PidTagBody, mapi.ErrorCode(0x8004010F))); err != nil {
		t.Errorf("an error in the place of a value: %v", err)
	}
}

// TestRoundTrip writes any message, reads it, and compares.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := messages(2).Draw(t, "message")
		var b bytes.Buffer
		w := NewWriter(&b)
		content := rapid.Bool().Draw(t, "content")
		write := w.Message
		if content && m.Len() > 0 {
			write = w.Content
		}
		if err := errors.Join(write(m), w.Flush()); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&b, Options{ValueMost: 30, Keep: mapi.KeepInMemory})
		got, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dump(t, m), dump(t, got)); diff != "" {
			t.Fatal(diff)
		}
		if _, err := r.Message(); err != io.EOF {
			t.Fatal(err)
		}
	})
}

// dump is a message without the numbers that the stream adds, and the ids that it gives to names.
func dump(t *rapid.T, m *mapi.Message) string {
	var b strings.Builder
	if err := mapi.WriteDump(&b, canonical(m)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func canonical(m *mapi.Message) *mapi.Message {
	c := &mapi.Message{}
	bare(&c.Properties, &m.Properties)
	for _, r := range m.Recipients {
		other := &mapi.Recipient{}
		bare(&other.Properties, &r.Properties)
		c.Recipients = append(c.Recipients, other)
	}
	for _, a := range m.Attachments {
		other := &mapi.Attachment{Data: a.Data}
		bare(&other.Properties, &a.Properties)
		if a.Embedded != nil {
			other.Embedded = canonical(a.Embedded)
		}
		c.Attachments = append(c.Attachments, other)
	}
	return c
}

func bare(to, from *mapi.Properties) {
	for p := range from.All() {
		if p.Tag != mapi.PidTagRowid && p.Tag != mapi.PidTagAttachNumber {
			to.Set(p.Key(), p.Value)
		}
	}
}

func messages(depth int) *rapid.Generator[*mapi.Message] {
	return rapid.Custom(func(t *rapid.T) *mapi.Message {
		m := &mapi.Message{}
		fill(t, &m.Properties)
		for range rapid.IntRange(0, 2).Draw(t, "recipients") {
			r := &mapi.Recipient{}
			fill(t, &r.Properties)
			m.Recipients = append(m.Recipients, r)
		}
		for range rapid.IntRange(0, 2).Draw(t, "attachments") {
			a := &mapi.Attachment{}
			fill(t, &a.Properties)
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case kind == 0:
				a.Data = mapi.ContentOf(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "data"))
			case kind == 1:
				a.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
				a.Data = mapi.ContentOf([]byte("OLE"))
			case kind == 2 && depth > 0:
				a.Embedded = messages(depth-1).Draw(t, "embedded")
			}
			m.Attachments = append(m.Attachments, a)
		}
		return m
	})
}

var sample = []mapi.Value{
	mapi.Integer16(-1), mapi.Integer32(1), mapi.Integer64(-5), mapi.Floating32(1.5), mapi.Floating64(2.5), mapi.Currency(7), mapi.FloatingTime(5.25),
	mapi.Boolean(true), mapi.Boolean(false), mapi.Time(134389479070000000), mapi.PSMapi, mapi.String("Grüße 💡"), mapi.String(""), mapi.String(strings.Repeat("lang ", 20)),
	mapi.String8{Octets: "caf\xe9", CodePage: 1252},
	mapi.Binary{1, 2, 3},
	mapi.Binary{},
	mapi.Binary(strings.Repeat("b", 100)), mapi.Object("object"),
	mapi.ServerID{1, 2},
	mapi.Multiple[mapi.Integer32]{1, 2},
	mapi.Multiple[mapi.String]{"a", "", "ü"},
	mapi.Multiple[mapi.Binary]{{1}, {}},
	mapi.Multiple[mapi.Time]{5},
	mapi.Multiple[mapi.GUID]{},
	mapi.Multiple[mapi.String8]{{Octets: "a", CodePage: 1252}},
}

func fill(t *rapid.T, p *mapi.Properties) {
	for range rapid.IntRange(0, 6).Draw(t, "properties") {
		v := rapid.SampledFrom(sample).Draw(t, "value")
		if rapid.Bool().Draw(t, "named") {
			p.Set(rapid.SampledFrom([]mapi.Named{mapi.PidLidReminderSet, mapi.PidNameKeywords, {Set: mapi.PSPublicStrings, Name: "größe"}, {Set: mapi.PSMapi, LID: 5}}).Draw(t, "name"), v)
			continue
		}
		p.Set(mapi.Tag(rapid.Uint32Range(0x0001, 0x36FF).Draw(t, "id")<<16), v)
	}
}

func FuzzReader(f *testing.F) {
	for _, file := range recordings(f) {
		_, octets := load(f, file)
		f.Add(octets)
	}
	f.Add(unhexed(f, startMessage+importance+startRecip+endRecip+newAttach+startEmbed+importance+endEmbed+endAttach+endMessage))
	f.Add(unhexed(f, "b0843700"+"04000000"+"e9000000"+"02113b00"+"0100000001000000aa"))
	f.Add(unhexed(f, "0300000001000000"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > 16<<10 { // larger ones have thousands of properties, take milliseconds, and say nothing else
			return
		}
		r := NewReader(bytes.NewReader(octets), Options{ValueMost: 100, MemoryMost: 32 << 10, Keep: mapi.KeepInMemory})
		for {
			m, err := r.Message()
			if err != nil {
				return
			}
			w := NewWriter(io.Discard)
			if err := w.Message(m); err != nil {
				t.Fatalf("it cannot be written: %v", err)
			}
		}
	})
}

// TestIDsOfEach: the ids of named properties are a message's own. What others before it had in a stream changes none of its
// octets, and no number of them uses the ids up.
func TestIDsOfEach(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-Last"}, mapi.String("x"))
	var alone, behind bytes.Buffer
	w := NewWriter(&alone)
	if err := errors.Join(w.Message(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	w = NewWriter(&behind)
	for i := range 4 {
		many := &mapi.Message{}
		for j := range 10_000 {
			many.Set(mapi.Named{Set: mapi.PSInternetHeaders, Name: fmt.Sprintf("X-%d-%d", i, j)}, mapi.Integer32(1))
		}
		if err := w.Message(many); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Message(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(behind.Bytes(), alone.Bytes()) {
		t.Error("a message is written otherwise behind others")
	}
}
