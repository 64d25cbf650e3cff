package mime

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/test/corpus"
)

// fuzzMost is how large an input is that a fuzz target looks at: larger ones are slower, and say nothing else.
const fuzzMost = 64 << 10

func addMessages(f *testing.F) {
	for m := range corpus.Small(1_500) {
		f.Add(m.Content())
	}
	for _, name := range recordings(f) {
		if octets := sent(f, name); len(octets) < 2_000 {
			f.Add(octets)
		}
	}
	var winmail bytes.Buffer
	inside := &mapi.Message{Attachments: []*mapi.Attachment{{Data: mapi.ContentOf([]byte("file"))}}}
	inside.Set(mapi.PidTagHtml, mapi.Binary("<p>inside"))
	if err := tnef.Encode(&winmail, inside, tnef.Options{}); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte("Content-Type: application/ms-tnef\r\n\r\n"), winmail.Bytes()...))
}

// FuzzRead: any octets become an object, whose contents can be read, or are refused as too much.
func FuzzRead(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > fuzzMost {
			return
		}
		m, err := Reader{TNEF: OpenTNEF(inMemorySpool)}.Read(bytes.NewReader(message), int64(len(message)))
		if err == nil {
			readAll(t, m)
		}
	})
}

// readAll reads what is in the attachments of a message.
func readAll(t *testing.T, m *mapi.Message) {
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			readAll(t, a.Embedded)
		}
		if a.Data.IsZero() {
			continue
		}
		r, err := a.Data.Open()
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != a.Data.Size {
			t.Errorf("%d of %d octets: %v", n, a.Data.Size, err)
		}
	}
}

// FuzzReadAndWrite: what is made of any octets is written, twice alike, and read again.
func FuzzReadAndWrite(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > fuzzMost {
			return
		}
		m, err := Reader{TNEF: OpenTNEF(inMemorySpool)}.Read(bytes.NewReader(message), int64(len(message)))
		if err != nil {
			return
		}
		written := twice(t, Writer{Domain: "sakes.example", Bcc: true}, m)
		again := convert(t, Reader{}, written)
		if len(again.Attachments) < min(1, len(m.Attachments)) {
			t.Errorf("%d attachments became %d", len(m.Attachments), len(again.Attachments))
		}
	})
}

// FuzzWrite: an object with any texts is written as mail that has one header of one structure.
func FuzzWrite(f *testing.F) {
	f.Add("IPM.Note", "Re: a bill", "Erika", "erika@a.example", "text\r\n", []byte("<p>text"), "a.txt", []byte("x"))
	f.Add("IPM.Contact", "a\r\nb;c", "Erika", "erika@a.example", "text", []byte(nil), "", []byte(nil))
	f.Add("REPORT.IPM.Note.NDR", "=?utf-8?Q?x?=", "a\r\nBcc: b", "b>\r\nX: y", "a\rb\nc", []byte("<img src=cid:x>\xff"), "../a;b", []byte("--=_"))
	f.Add("IPM.Note.SMIME.MultipartSigned", "", "", "", "", []byte(nil), "", []byte("Content-Type: multipart/signed; boundary=b\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, class, subject, name, address, text string, html []byte, file string, data []byte) {
		m := &mapi.Message{}
		m.Set(mapi.PidTagMessageClass, mapi.String(class))
		m.Set(mapi.PidTagSubject, mapi.String(subject))
		m.Set(mapi.PidTagInternetMessageId, mapi.String(address))
		m.SetAddress(mapi.SenderAddress, mapi.Address{Name: name, Type: mapi.AddressSMTP, Address: address, SMTP: address})
		m.Set(mapi.Named{Set: mapi.PSInternetHeaders, Name: file}, mapi.String(text))
		m.Set(mapi.PidTagBody, mapi.String(text))
		m.Set(mapi.PidTagHtml, mapi.Binary(html))
		a := &mapi.Attachment{Data: mapi.ContentOf(data)}
		a.Set(mapi.PidTagAttachLongFilename, mapi.String(file))
		a.Set(mapi.PidTagAttachMimeTag, mapi.String(name))
		a.Set(mapi.PidTagAttachContentId, mapi.String(subject))
		a.Set(mapi.PidTagAttachFlags, mapi.Integer32(attachRenderedInBody))
		m.Attachments = []*mapi.Attachment{a}
		var written bytes.Buffer
		if err := (Writer{Domain: "sakes.example"}).Write(&written, m); err != nil {
			t.Fatal(err)
		}
		e, err := entity.Read(bytes.NewReader(written.Bytes()), int64(written.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"Bcc", "X"} {
			if e.Field(field) != "" && !strings.EqualFold(field, file) {
				t.Errorf("a field %s has come from a value: %q", field, written.Bytes())
			}
		}
		for leaf := range e.Leaves() {
			if _, err := io.Copy(io.Discard, leaf.Decoded()); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzSkeleton: whatever a skeleton is, a message is written, and what has a skeleton of its own is written as it came.
func FuzzSkeleton(f *testing.F) {
	f.Add([]byte(boned), []byte(boned))
	f.Add([]byte(boned), convert(f, Reader{Skeleton: true}, []byte(boned)).Bytes(mapi.PidTagMimeSkeleton))
	f.Fuzz(func(t *testing.T, message, skeleton []byte) {
		if len(message) > fuzzMost {
			return
		}
		m, err := Reader{Skeleton: true}.Read(bytes.NewReader(message), int64(len(message)))
		if err != nil {
			return
		}
		if got := twice(t, asItCame, m); m.Has(mapi.PidTagMimeSkeleton) && !bytes.Equal(got, message) && !bytes.Contains(bytes.ToLower(message), []byte("x-ms-exchange-")) {
			t.Errorf("%q has become %q", message, got)
		}
		m.Set(mapi.PidTagMimeSkeleton, mapi.Binary(skeleton))
		convert(t, Reader{}, twice(t, asItCame, m))
	})
}

// FuzzForm: in whatever form a message is written, it is one that can be read, and in UUENCODE it is stable.
func FuzzForm(f *testing.F) {
	f.Add([]byte(boned), uint8(0), "iso-8859-1", uint8(10))
	f.Add([]byte("Subject: x\r\n\r\nbegin 644 a\r\n#86)C\r\n`\r\nend\r\n"), uint8(9), "", uint8(72))
	f.Fuzz(func(t *testing.T, message []byte, bits uint8, charset string, wrap uint8) {
		if len(message) > fuzzMost {
			return
		}
		m, err := Reader{UUEncode: true}.Read(bytes.NewReader(message), int64(len(message)))
		if err != nil {
			return
		}
		form := Form{Body: Body(bits % 5), Calendar: Calendar(bits >> 5 % 3), UUEncode: bits&8 != 0, RichText: bits&16 != 0, Charset: charset, Wrap: int(wrap)}
		convert(t, Reader{UUEncode: true}, twice(t, Writer{Form: form}, m))
	})
}

// FuzzDecapsulate: what an address encapsulates is within the domains, has no controls, and comes back when it is encapsulated again.
func FuzzDecapsulate(f *testing.F) {
	domains := []string{"sakes.example"}
	for _, seed := range []string{"IMCEAEX-_O=A+20B_CN=G@sakes.example", "imceasmtp-ada+40sakes+2Eexample@Sakes.Example", "IMCEAX400-c+3Dgr+3B@sakes.example", "IMCEAEX-+@far.example", "ada@sakes.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		kind, original, ok := Decapsulate(address, domains)
		if !ok {
			return
		}
		if !strings.HasSuffix(strings.ToLower(address), "@sakes.example") || original == "" || strings.ContainsAny(original, "\x00\r\n") {
			t.Errorf("%q is %q", address, original)
		}
		if kind == mapi.AddressSMTP && !strings.HasSuffix(strings.ToLower(original), "sakes.example") {
			t.Errorf("%q leads to %q", address, original)
		}
		if again, same, ok := Decapsulate(Encapsulate(kind, original, domains[0]), domains); again != kind || same != original || !ok {
			t.Errorf("%s %q came back as %s %q", kind, original, again, same)
		}
	})
}
