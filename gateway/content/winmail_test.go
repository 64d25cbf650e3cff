package content_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/gateway/content"
)

// recorded is a message with TNEF that was recorded.
func recorded(t *testing.T, name string) string {
	t.Helper()
	octets, err := os.ReadFile(filepath.Join("../../backends/mapi/mime/testdata/messages", name+".sent.eml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// attached is a file in TNEF.
func attached(name, data string) *mapi.Attachment {
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(data))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(name))
	return a
}

// inTNEF is an object with a body and files.
func inTNEF(t testing.TB, set map[mapi.Tag]mapi.Value, files ...*mapi.Attachment) string {
	t.Helper()
	m := &mapi.Message{Attachments: files}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	for tag, value := range set {
		m.Set(tag, value)
	}
	var stream bytes.Buffer
	if err := tnef.Encode(&stream, m, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	return stream.String()
}

const winmailFields = "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"

// asPart is TNEF as a part, with its fields.
func asPart(stream string) string {
	lines := slices.Collect(slices.Values(slices.Collect(slices.Chunk([]byte(base64.StdEncoding.EncodeToString([]byte(stream))), 76))))
	return winmailFields + string(bytes.Join(lines, []byte("\r\n")))
}

// mixed is a message of parts.
func mixed(parts ...string) string {
	return "From: a@far.example\r\nSubject: A bill\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n" +
		strings.Join(parts, "\r\n--outer\r\n") + "\r\n--outer--\r\n"
}

const plainText = "Content-Type: text/plain\r\n\r\nThe bill is attached.\r\n"

// open opens a message; it is as it was if nothing comes of that.
func open(t *testing.T, message string) (string, content.Opened) {
	t.Helper()
	w := content.NewWinmail(buffer.Options{}, 1)
	opened, err := w.Open(t.Context(), strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	if opened.Message == nil {
		return message, opened
	}
	octets, err := io.ReadAll(opened.Message.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return string(octets), opened
}

// shape is the structure of a message: types, names, and texts.
func shape(t *testing.T, message string) string {
	t.Helper()
	return shapeOf(t, read(t, message))
}

func read(t *testing.T, message string) *entity.Entity {
	t.Helper()
	root, err := entity.Read(strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func shapeOf(t *testing.T, e *entity.Entity) string {
	t.Helper()
	_, kind, _ := strings.Cut(e.Type.Value, "/")
	if e.Message != nil {
		return kind + "(" + shapeOf(t, e.Message) + ")"
	}
	var parts []string
	for _, p := range e.Parts {
		parts = append(parts, shapeOf(t, p))
	}
	if len(parts) > 0 {
		return kind + "(" + strings.Join(parts, " ") + ")"
	}
	if name := e.Filename(); name != "" {
		return kind + ":" + name
	}
	text, err := io.ReadAll(e.Decoded())
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\r\n")
	return kind + ":" + first
}

func TestWinmail(t *testing.T) {
	t.Parallel()
	bill := attached("bill.pdf", "%PDF")
	html := map[mapi.Tag]mapi.Value{mapi.PidTagHtml: mapi.Binary("<p>The bill</p>")}
	alike := map[mapi.Tag]mapi.Value{mapi.PidTagHtml: mapi.Binary("<p>The bill</p>"), mapi.PidTagBody: mapi.String("The bill is\r\nattached. ")}
	inner := &mapi.Message{}
	inner.Set(mapi.PidTagSubject, mapi.String("inner"))
	inner.Set(mapi.PidTagBody, mapi.String("hello"))
	embedded := &mapi.Attachment{Embedded: inner}
	embedded.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	winmail := asPart(inTNEF(t, html, bill, attached("list.csv", "a;b")))
	for _, c := range []struct{ name, message, want string }{
		{"beside a text", mixed(plainText, winmail), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf csv:list.csv)"},
		{"beside the same text", mixed(plainText, asPart(inTNEF(t, alike, bill))), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf)"},
		{"beside a text and a file", mixed(plainText, "Content-Type: a/b; name=c\r\n\r\nd", winmail), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) b:c pdf:bill.pdf csv:list.csv)"},
		{"with files alone", mixed(plainText, asPart(inTNEF(t, nil, bill))), "mixed(plain:The bill is attached. pdf:bill.pdf)"},
		{"with a text alone that is there", mixed(plainText, asPart(inTNEF(t, map[mapi.Tag]mapi.Value{mapi.PidTagBody: alike[mapi.PidTagBody]}))), "mixed(plain:The bill is attached.)"},
		{"twice", mixed(plainText, winmail, asPart(inTNEF(t, html))), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf csv:list.csv html:<p>The bill</p>)"},
		{"first", mixed(winmail, plainText), "mixed(mixed(html:<p>The bill</p> pdf:bill.pdf csv:list.csv) plain:The bill is attached.)"},
		{"in an alternative", strings.Replace(mixed(plainText, winmail), "mixed", "alternative", 1), "alternative(plain:The bill is attached. mixed(html:<p>The bill</p> pdf:bill.pdf csv:list.csv))"},
		{"alone", "From: a@far.example\r\n" + winmail, "mixed(html:<p>The bill</p> pdf:bill.pdf csv:list.csv)"},
		{"by its name", mixed(plainText, strings.Replace(winmail, "ms-tnef; name=winmail", "octet-stream; name=WinMail", 1)), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf csv:list.csv)"},
		{"with a message in it", mixed(plainText, asPart(inTNEF(t, nil, embedded))), "mixed(plain:The bill is attached. rfc822(plain:hello))"},
		{
			"in a message in it", mixed(plainText, "Content-Type: message/rfc822\r\n\r\n"+strings.ReplaceAll(mixed(plainText, winmail), "outer", "inner")),
			"mixed(plain:The bill is attached. rfc822(mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf csv:list.csv)))",
		},
		{"with line ends of Unix", strings.ReplaceAll(mixed(plainText, winmail), "\r\n", "\n"), "mixed(alternative(plain:The bill is attached. html:<p>The bill</p>) pdf:bill.pdf csv:list.csv)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, opened := open(t, c.message)
			if shape(t, got) != c.want || opened.Parts == 0 || opened.Kept != nil {
				t.Errorf("%s (%d parts, %v)\nwant %s\n%s", shape(t, got), opened.Parts, opened.Kept, c.want, got)
			}
			if again, _ := open(t, c.message); again != got {
				t.Error("it has other octets the second time")
			}
			if once, second := open(t, got); once != got || second.Message != nil {
				t.Error("what was opened is opened again")
			}
		})
	}
}

// TestWinmailStays: what cannot be opened, or must not be, passes as it came.
func TestWinmailStays(t *testing.T) {
	t.Parallel()
	contact := inTNEF(t, map[mapi.Tag]mapi.Value{mapi.PidTagMessageClass: mapi.String("IPM.Contact")})
	inContact := &mapi.Attachment{Embedded: &mapi.Message{}}
	inContact.Embedded.Set(mapi.PidTagMessageClass, mapi.String("IPM.Task"))
	inContact.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	good := inTNEF(t, nil, attached("bill.pdf", "%PDF"))
	signed := func(kind string) string {
		return strings.Replace(mixed(asPart(good), "Content-Type: application/pkcs7-signature\r\n\r\nx"), "mixed", kind, 1)
	}
	clash := inTNEF(t, map[mapi.Tag]mapi.Value{mapi.PidTagHtml: mapi.Binary("a\r\n--outer--\r\nb")})
	for _, c := range []struct{ name, message, why string }{
		{"no TNEF", mixed(plainText), ""},
		{"no MIME", "From: a@far.example\r\n\r\nhello\r\n", ""},
		{"nothing", "", ""},
		{"a lie", mixed(plainText, asPart("no TNEF at all")), "no TNEF stream"},
		{"damaged", mixed(plainText, asPart(good[:len(good)-20])), "octets are missing"},
		{"signed", signed("signed"), ""},
		{"encrypted", signed("encrypted"), ""},
		{"a contact", mixed(plainText, asPart(contact)), "class"},
		{"a task in it", mixed(plainText, asPart(inTNEF(t, nil, inContact))), "class"},
		{"nothing in it, alone", winmailFields + base64.StdEncoding.EncodeToString([]byte(inTNEF(t, nil))), "nothing in it"},
		{"a delimiter in it", mixed(plainText, asPart(clash)), "end the part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, opened := open(t, c.message)
			if got != c.message || opened.Message != nil || opened.Parts != 0 {
				t.Errorf("it was opened:\n%s", got)
			}
			if (opened.Kept == nil) != (c.why == "") || opened.Kept != nil && !strings.Contains(opened.Kept.Error(), c.why) {
				t.Errorf("it stays because of %v, want %q", opened.Kept, c.why)
			}
		})
	}
	// One that is damaged does not keep another one closed.
	got, opened := open(t, mixed(plainText, asPart("a lie"), asPart(good)))
	if want := "mixed(plain:The bill is attached. ms-tnef:winmail.dat pdf:bill.pdf)"; shape(t, got) != want || opened.Kept == nil || opened.Parts != 1 {
		t.Errorf("%s, %+v", shape(t, got), opened)
	}
}

// TestWinmailEightBit: what has come in 7 bits leaves in 7 bits, as nobody has declared anything else (RFC 6152 §3).
func TestWinmailEightBit(t *testing.T) {
	t.Parallel()
	signed := "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--s\r\n\r\nx\r\n--s--\r\n"
	inside := asPart(inTNEF(t, map[mapi.Tag]mapi.Value{mapi.PidTagMessageClass: mapi.String("IPM.Note.SMIME.MultipartSigned")}, attached("SMIME.p7m", signed)))
	for name, text := range map[string]string{"7 bits": plainText, "8 bits that are said and not there": "Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nhello\r\n"} {
		if got, opened := open(t, mixed(text, inside)); opened.Kept == nil || opened.Parts > 0 || got != mixed(text, inside) {
			t.Errorf("%s: %+v\n%s", name, opened, got)
		}
	}
	if got, opened := open(t, mixed("Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n", inside)); opened.Parts != 1 || !strings.Contains(got, signed) {
		t.Errorf("a message of 8 bits: %+v\n%s", opened, got)
	}
}

// TestWinmailRecorded: the recorded messages give these octets for ever, or [content.WinmailRecipe] is another one.
func TestWinmailRecorded(t *testing.T) {
	t.Parallel()
	const (
		recipe    = 4
		generated = `html:<html><head><meta name="Generator" content="gromox-texttohtml">`
		longName  = "a-rather-long-file-name-which-a-mail-program-had-to-split-into-several-continuations-as-described-in-RFC-2231-section-3-because-it-would-not-fit-a-line.csv"
	)
	for name, want := range map[string]struct{ shape, sum string }{
		"24-winmail-dat": {"mixed(alternative(plain:The plain text beside the TNEF part. plain:See the two files. " + generated + ") pdf:Übersicht – Schiffe.pdf csv:" + longName + ")", "accf6c6b2cc52ca5"},
		"32-winmail-nested": {"mixed(alternative(plain:The plain text beside the TNEF part. plain:Forwarded as an attachment. " + generated +
			") rfc822(mixed(alternative(plain:Inner body – mit Umlaut ä. " + generated + ") octet-stream:inner.bin rfc822(alternative(plain:Deepest body. " + generated + ")))))", "d39d41a50f009437"},
		"33-winmail-meeting": {"mixed(alternative(plain:The plain text beside the TNEF part. plain:Please come to the harbour council. " + generated + " calendar:BEGIN:VCALENDAR))", "19be1c255350e8bb"},
	} {
		got, opened := open(t, recorded(t, name))
		sum := sha256.Sum256([]byte(got))
		if shape(t, got) != want.shape || opened.Parts != 1 {
			t.Errorf("%s: %s, %+v", name, shape(t, got), opened)
		}
		if hex.EncodeToString(sum[:8]) != want.sum || content.WinmailRecipe != recipe {
			t.Errorf("%s: the octets are others, %x: count WinmailRecipe up", name, sum[:8])
		}
	}
}

// failing is a storage that fails.
type failing struct{}

func (failing) Create() (buffer.File, error) { return nil, errors.New("no space") }

// TestWinmailFails: a failure of a disk, of the reader or of the client's patience is no reason to pass a message as it
// came: another time it would have another size.
func TestWinmailFails(t *testing.T) {
	t.Parallel()
	message := mixed(plainText, asPart(inTNEF(t, nil, attached("bill.pdf", strings.Repeat("%PDF", 1<<16)))))
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx     context.Context
		buffers buffer.Options
		r       io.ReaderAt
		is      func(error) bool
	}{
		"disk":    {t.Context(), buffer.Options{Storage: failing{}}, strings.NewReader(message), func(err error) bool { return errors.As(err, new(*buffer.StorageError)) }},
		"context": {ended, buffer.Options{}, strings.NewReader(message), func(err error) bool { return errors.Is(err, context.Canceled) }},
		"reader":  {t.Context(), buffer.Options{}, half{strings.NewReader(message)}, func(err error) bool { return errors.Is(err, iotest.ErrTimeout) }},
	} {
		w := content.NewWinmail(c.buffers, 1)
		if opened, err := w.Open(c.ctx, c.r, int64(len(message))); opened.Message != nil || opened.Kept != nil || !c.is(err) {
			t.Errorf("%s: %+v, %v", name, opened, err)
		}
		got, err := io.ReadAll(w.Reader(c.ctx, io.NopCloser(io.NewSectionReader(c.r, 0, int64(len(message)))), nil))
		if err == nil || len(got) > 0 {
			t.Errorf("%s: %d octets were given, %v", name, len(got), err)
		}
	}
}

// half is a file of which the second half cannot be read.
type half struct{ *strings.Reader }

func (h half) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > h.Size()/2 {
		return 0, iotest.ErrTimeout
	}
	return h.Reader.ReadAt(p, offset)
}

// counting counts how much was read of a message, and whether it was closed.
type counting struct {
	io.Reader
	octets int
	closed bool
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.octets += n
	return n, err
}

func (c *counting) Close() error {
	c.closed = true
	return nil
}

// TestWinmailReader: only what may have TNEF is read ahead of its first octet.
func TestWinmailReader(t *testing.T) {
	t.Parallel()
	tail := strings.Repeat("0123456789\r\n", 20_000)
	for name, c := range map[string]struct {
		message string
		ahead   bool
		told    int
	}{
		"plain":       {"Subject: x\r\n\r\n" + tail, false, 0},
		"html":        {"Content-Type: text/html\r\n\r\n" + tail, false, 0},
		"multipart":   {mixed(plainText, "\r\n"+tail), true, 0},
		"TNEF":        {mixed(plainText, "\r\n"+tail, asPart(inTNEF(t, nil, attached("a", "b")))), true, 1},
		"broken":      {mixed(plainText, "\r\n"+tail, asPart("a lie")), true, 1},
		"odd header":  {"a line that is none\r\nContent-Type: text/plain\r\n\r\n" + tail, true, 0},
		"long header": {"X: " + strings.Repeat("y", 40<<10) + "\r\n\r\n" + tail, true, 0},
		"empty":       {"", false, 0},
	} {
		want, _ := open(t, c.message)
		source, told := &counting{Reader: strings.NewReader(c.message)}, 0
		r := content.NewWinmail(buffer.Options{}, 1).Reader(t.Context(), source, func(content.Opened) { told++ })
		var first [10]byte
		n, _ := io.ReadFull(r, first[:])
		if ahead := source.octets == len(c.message) && len(c.message) > 0; ahead != c.ahead {
			t.Errorf("%s: %d of %d octets were read before the first one was given", name, source.octets, len(c.message))
		}
		rest, err := io.ReadAll(r)
		if got := string(first[:n]) + string(rest); err != nil || got != want || told != c.told {
			t.Errorf("%s: %d octets of %d, %v, told %d times", name, len(got), len(want), err, told)
		}
		if err := r.Close(); err != nil || !source.closed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless is a message that a store never ends.
type endless struct{ counting }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	e.octets += len(p)
	return len(p), nil
}

// TestWinmailLarge: a message that is too large to be kept passes as it came, and one without an end fills no disk.
func TestWinmailLarge(t *testing.T) {
	t.Parallel()
	message := mixed(plainText, asPart(inTNEF(t, nil, attached("a", "b"))))
	for _, over := range []int64{0, 1} {
		w := content.NewWinmail(buffer.Options{}, 1)
		w.Most = int64(len(message)) - over
		source := &counting{Reader: strings.NewReader(message)}
		r := w.Reader(t.Context(), source, nil)
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || (string(got) == message) != (over > 0) || !source.closed {
			t.Errorf("%d octets too many: %q, %v", over, got, err)
		}
	}
	w := content.NewWinmail(buffer.Options{}, 1)
	w.Most = 1 << 20
	source := &endless{}
	r := w.Reader(t.Context(), &joined{io.MultiReader(strings.NewReader(message), source), source}, nil)
	if _, err := io.ReadFull(r, make([]byte, 3<<20)); err != nil || source.octets > 4<<20 {
		t.Errorf("%d octets were read, %v", source.octets, err)
	}
	if err := r.Close(); err != nil || !source.closed {
		t.Errorf("it is closed: %t, %v", source.closed, err)
	}
}

type joined struct {
	io.Reader
	io.Closer
}

// FuzzWinmail: what is opened is a message still: what was outside of the TNEF is there, and it is the same each time.
func FuzzWinmail(f *testing.F) {
	for _, name := range []string{"24-winmail-dat", "32-winmail-nested", "33-winmail-meeting"} {
		octets, err := os.ReadFile(filepath.Join("../../backends/mapi/mime/testdata/messages", name+".sent.eml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets)
	}
	bill := asPart(inTNEF(f, map[mapi.Tag]mapi.Value{mapi.PidTagHtml: mapi.Binary("<p>The bill</p>")}, attached("bill.pdf", "%PDF")))
	for _, message := range []string{mixed(plainText, bill), mixed(bill), bill, mixed(plainText, bill, strings.ReplaceAll(mixed(bill), "outer", "inner"))} {
		f.Add([]byte(message))
	}
	w := content.NewWinmail(buffer.Options{}, 8)
	opens := func(t *testing.T, message []byte) []byte {
		opened, err := w.Open(t.Context(), bytes.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		if opened.Message == nil {
			return message
		}
		octets, err := io.ReadAll(opened.Message.Reader())
		if err != nil {
			t.Fatal(err)
		}
		return octets
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got := opens(t, message)
		if !bytes.Equal(got, opens(t, message)) {
			t.Error("it has other octets the second time")
		}
		before, err := entity.Read(bytes.NewReader(message), int64(len(message)))
		if err != nil {
			return
		}
		after, err := entity.Read(bytes.NewReader(got), int64(len(got)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, message) && len(before.Parts) > 0 && !bytes.Equal(headerOf(t, before), headerOf(t, after)) {
			t.Error("the header is another one")
		}
		var left []string
		for e := range after.Leaves() {
			left = append(left, whole(t, e))
		}
		for e := range before.Leaves() {
			if e.Is("application/ms-tnef") || e.Is("application/vnd.ms-tnef") || strings.EqualFold(e.Filename(), "winmail.dat") {
				continue
			}
			at := slices.Index(left, whole(t, e))
			if at < 0 {
				t.Fatalf("a part is gone:\n%q\nof\n%q\nin\n%q", whole(t, e), message, got)
			}
			left = left[at+1:]
		}
	})
}

func whole(t *testing.T, e *entity.Entity) string {
	t.Helper()
	octets, err := io.ReadAll(e.Whole())
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func headerOf(t *testing.T, e *entity.Entity) []byte {
	t.Helper()
	octets, err := io.ReadAll(e.Header.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// panicking is a message whose conversion has a fault.
type panicking struct{}

func (panicking) ReadAt([]byte, int64) (int, error) { panic("a fault") }

// TestWinmailPanics: a fault in the conversion of one message ends nothing else, and the message passes as it came (I8).
func TestWinmailPanics(t *testing.T) {
	t.Parallel()
	w := content.NewWinmail(buffer.Options{}, 1)
	for range 2 {
		if opened, err := w.Open(t.Context(), panicking{}, 100); err != nil || opened.Message != nil || opened.Kept == nil || !strings.Contains(opened.Kept.Error(), "panicking.ReadAt") {
			t.Errorf("%+v, %v", opened, err)
		}
	}
}
