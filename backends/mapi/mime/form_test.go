package mime

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// textsOf are the texts of a message, each behind its media type, charset and octets as they came.
func textsOf(t *testing.T, message []byte) (list []string) {
	t.Helper()
	for leaf := range parse(t, message).Leaves() {
		if !leaf.Is("text/plain") && !leaf.Is("text/html") && !leaf.Is("text/enriched") {
			continue
		}
		octets, err := io.ReadAll(leaf.Decoded())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, leaf.Type.Value+" "+leaf.Type.Get("charset")+" "+strings.TrimRight(string(octets), "\r\n"))
	}
	return list
}

// TestFormBodies: who wants one body gets that one, made of the other if there is no other way.
func TestFormBodies(t *testing.T) {
	object := func(plain, html string) *mapi.Message {
		m := &mapi.Message{}
		if plain != "" {
			m.Set(mapi.PidTagBody, mapi.String(plain))
		}
		if html != "" {
			m.Set(mapi.PidTagHtml, mapi.Binary(html))
		}
		return m
	}
	const html = "<p>one <a href='http://a.example/'>two</a></p>"
	for _, c := range []struct {
		form        Form
		plain, html string
		want        []string
	}{
		{Form{Body: BodyAsItIs}, "x", "<p>y", []string{"text/plain us-ascii x", "text/html us-ascii <p>y"}},
		{Form{Body: BodyText}, "x", "<p>y", []string{"text/plain us-ascii x"}},
		{Form{Body: BodyHTML}, "x", "<p>y", []string{"text/html us-ascii <p>y"}},
		{Form{Body: BodyText}, "", html, []string{"text/plain us-ascii one two <http://a.example/>"}},
		{Form{Body: BodyBoth}, "", html, []string{"text/plain us-ascii one two <http://a.example/>", "text/html us-ascii " + html}},
		{Form{Body: BodyBoth}, "a < b", "", []string{"text/plain us-ascii a < b", "text/html us-ascii <html><body>\r\na &lt; b\r\n</body></html>"}},
		{Form{Body: BodyHTML}, "a", "", []string{"text/html us-ascii <html><body>\r\na\r\n</body></html>"}},
		{Form{Body: BodyEnriched}, "x", "<p>a <b>\u00e4</b>", []string{"text/enriched utf-8 a <bold>\u00e4</bold>"}},
		{Form{Body: BodyEnriched, Charset: "us-ascii"}, "", "<p>a < <i>\u00e4</i>", []string{"text/enriched us-ascii a << <italic>a</italic>"}},
		{Form{Body: BodyEnriched}, "x", "", []string{"text/plain us-ascii x"}},
		{Form{Body: BodyHTML}, "", "", []string{"text/plain us-ascii "}},
		{Form{Body: BodyText, Wrap: 10}, "one two three four", "", []string{"text/plain us-ascii one two\r\nthree four"}},
		{Form{Charset: "iso-8859-1"}, "\u00e4 \u201cx\u201d \u6e2f", "<p>\u00e4 \u6e2f", []string{"text/plain iso-8859-1 \xe4 \"x\" ?", "text/html iso-8859-1 <p>\xe4 &#28207;"}},
		{Form{Charset: "us-ascii"}, "\u00e4\u00df \u2026", "", []string{"text/plain us-ascii ass ..."}},
		{Form{Charset: "none such"}, "\u00e4", "", []string{"text/plain utf-8 \u00e4"}},
		{Form{Charset: "iso-2022-jp"}, "\u6e2f\u00e4", "", []string{"text/plain iso-2022-jp \x1b$B9A\x1b(Ba"}},
	} {
		if got := textsOf(t, write(t, Writer{Form: c.form}, object(c.plain, c.html))); !slices.Equal(got, c.want) {
			t.Errorf("%+v of %q and %q: %q, want %q", c.form, c.plain, c.html, got, c.want)
		}
	}
}

// TestFormPicture: a picture that no text shows is an attachment.
func TestFormPicture(t *testing.T) {
	m := convert(t, Reader{}, sent(t, "06-related-inline-image"))
	written := write(t, Writer{Form: Form{Body: BodyText}}, m)
	if e := parse(t, written); !e.Is("multipart/mixed") || len(e.Parts) != 2 || e.Parts[1].Disposition.Value != "attachment" {
		t.Errorf("%s", written)
	}
}

// TestUUEncode: text with files in it, and each is the one that it was.
func TestUUEncode(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String("files"))
	m.Set(mapi.PidTagBody, mapi.String("Gr\u00fc\u00dfe \u6e2f\nmore"))
	inner := &mapi.Message{}
	inner.Set(mapi.PidTagSubject, mapi.String("inner/one"))
	inner.Set(mapi.PidTagBody, mapi.String("text"))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	m.Attachments = []*mapi.Attachment{{Data: mapi.ContentOf(all)}, {Embedded: inner}, {Data: mapi.ContentOf(nil)}}
	m.Attachments[0].Set(mapi.PidTagAttachLongFilename, mapi.String("all of them.bin"))
	written := write(t, Writer{Form: Form{UUEncode: true, Charset: "iso-8859-1"}}, m)
	e := parse(t, written)
	text, err := io.ReadAll(e.Raw())
	if err != nil || !e.Is("text/plain") || !bytes.HasPrefix(text, []byte("Gr\xfc\xdfe ?\r\nmore\r\n\r\nbegin 644 all of them.bin\r\nM``$\"")) {
		t.Fatalf("%q, %v", written, err)
	}
	_, rest, _ := strings.Cut(string(text), "begin 644 all of them.bin")
	first, rest, _ := strings.Cut(rest, "\r\nend\r\n")
	file := parse(t, []byte("Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 all of them.bin"+first+"\r\nend\r\n"))
	if got, err := io.ReadAll(file.Decoded()); err != nil || !bytes.Equal(got, all) {
		t.Errorf("%q, %v", got, err)
	}
	if !strings.Contains(rest, "\r\nbegin 644 inner_one.eml\r\n") || !strings.HasSuffix(rest, "\r\nbegin 644 unnamed\r\n`\r\nend\r\n") {
		t.Errorf("%q", rest)
	}
}

// TestUUEncodeDamaged: RTF that cannot be read whole is one of the files.
func TestUUEncodeDamaged(t *testing.T) {
	m := &mapi.Message{}
	whole := packed(t, rtf.EncapsulateHTML, "<html><body><p>"+strings.Repeat("one two ", 100)+"</p></body></html>")
	m.Set(mapi.PidTagRtfCompressed, whole[:len(whole)-20])
	written := string(write(t, Writer{Form: Form{UUEncode: true}}, m))
	if !strings.Contains(written, "one two one two") || !strings.Contains(written, "begin 644 PidTagRtfCompressed.bin\r\n") {
		t.Errorf("%s", written)
	}
}

// TestRichText: what goes beside the text says all that the object says.
func TestRichText(t *testing.T) {
	m := convert(t, Reader{}, sent(t, "06-related-inline-image"))
	e := parse(t, write(t, Writer{Form: Form{RichText: true}}, m))
	if !e.Is("multipart/mixed") || len(e.Parts) != 2 || !e.Parts[0].Is("text/plain") {
		t.Fatalf("%v", outline(t, e, 0))
	}
	octets, err := io.ReadAll(e.Parts[1].Decoded())
	if err != nil {
		t.Fatal(err)
	}
	s, err := tnef.Decode(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	if body(t, &s.Message.Properties, mapi.PidTagHtml) != body(t, &m.Properties, mapi.PidTagHtml) || len(s.Message.Attachments) != len(m.Attachments) {
		t.Error("it has another text, or other attachments")
	}
}

// TestRichTextHidden: who gets a message in secret is not in the TNEF that the others get.
func TestRichTextHidden(t *testing.T) {
	const header = "From: a@far.example\r\nTo: b@far.example\r\nBcc: Hidden <hidden@far.example>\r\nSubject: x\r\n"
	raw := header + "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\ntext\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n" + header + "\r\ninner\r\n--o--\r\n"
	m := convert(t, Reader{}, []byte(raw))
	for _, bcc := range []bool{false, true} {
		message := write(t, Writer{Bcc: bcc, Form: Form{RichText: true}}, m)
		octets, err := io.ReadAll(parse(t, message).Parts[1].Decoded())
		if err != nil {
			t.Fatal(err)
		}
		octets = bytes.ReplaceAll(octets, []byte{0}, nil) // UTF-16
		for _, octets := range [][]byte{octets, message} {
			if bytes.Contains(bytes.ToLower(octets), []byte("hidden")) != bcc {
				t.Errorf("Bcc is %t, and is in it:\n%q", bcc, octets)
			}
		}
		if !bytes.Contains(octets, []byte("inner")) || !bytes.Contains(octets, []byte("b@far.example")) || len(m.Recipients) != 2 {
			t.Errorf("there is less in it:\n%q", octets)
		}
	}
}

// TestFormKept: Internet mail that is kept comes back as it came, whatever form there is for what is not.
func TestFormKept(t *testing.T) {
	const came = "Content-Type: text/html\r\n\r\n<p>x"
	m := convert(t, Reader{Skeleton: true}, []byte(came))
	w := Writer{Kept: true, Form: Form{Body: BodyText}}
	if got := string(twice(t, w, m)); got != came {
		t.Errorf("%q", got)
	}
	for _, not := range []func(){func() { m.Delete(mapi.PidTagMimeSkeleton) }, func() { w.Kept = false }} {
		if not(); !slices.Equal(textsOf(t, write(t, w, m)), []string{"text/plain us-ascii x"}) {
			t.Errorf("%q", write(t, w, m))
		}
	}
	signed := sent(t, "09-multipart-signed")
	_, content, _ := strings.Cut(string(signed), "Content-Type: multipart/signed")
	if got := string(write(t, Writer{Form: Form{UUEncode: true}}, convert(t, Reader{}, signed))); !strings.HasSuffix(got, content) {
		t.Errorf("%s", got)
	}
}

// faulty is a content whose reading has a fault.
type faulty struct{}

func (faulty) Read([]byte) (int, error) { panic("a fault") }
func (faulty) Close() error             { return nil }

// TestFormPanics: a fault in reading a body is the caller's to recover from, and not the process's end.
func TestFormPanics(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagHtml, mapi.Streamed{Of: mapi.PtypBinary, Content: mapi.Content{Size: 10, Open: func() (io.ReadCloser, error) { return faulty{}, nil }}})
	defer func() {
		if cause := recover(); cause != "a fault" {
			t.Errorf("it has recovered from %v", cause)
		}
	}()
	t.Error(Writer{Form: Form{Body: BodyText}}.Write(io.Discard, m))
}
