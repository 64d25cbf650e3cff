package content_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/gateway/content"
)

// reformed gives a message a form, and sees to it that it is the same each time.
func reformed(t *testing.T, form content.Form, message string) (string, content.Opened) {
	t.Helper()
	w := content.NewWinmail(buffer.Options{}, 1)
	var texts [2]string
	var last content.Opened
	for i := range texts {
		o, err := w.ReformFrom(form)(t.Context(), strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		if texts[i], last = message, o; o.Message == nil {
			continue
		}
		octets, err := io.ReadAll(o.Message.Reader())
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(octets)
		if err := o.Message.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0] != texts[1] {
		t.Error("it has other octets the second time")
	}
	return texts[0], last
}

const (
	addressed = "Received: from a\r\nFrom: a@a.example\r\nX-Odd:  kept \r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
	german    = addressed + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"PHA+R3LDvMOfZSDigJx4PGI+eTwvYj7igJ0=\r\n--b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nabc\r\n--b--\r\n"
)

func TestReform(t *testing.T) {
	const uuencoded = "Content-Type: text/plain\r\n\r\ntext\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"
	for name, c := range map[string]struct {
		form    content.Form
		message string
		want    []string // pieces of it
	}{
		"UUENCODE": {content.Form{Encoding: "uuencode", Charset: "iso-8859-1"}, german, []string{
			addressed + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe \"xy\"\r\n\r\nbegin 644 a.png\r\n#86)C\r\n`\r\nend\r\n",
		}},
		"text":     {content.Form{Body: "text", Charset: "us-ascii"}, german, []string{"multipart/mixed", "Content-Type: text/plain; charset=us-ascii\r\n\r\nGrusse \"xy\"\r\n", "filename=a.png"}},
		"enriched": {content.Form{Body: "enriched"}, german, []string{"Content-Type: text/enriched; charset=utf-8", "PGJvbGQ+eTwvYm9sZD7"}},
		"both":     {content.Form{Body: "both"}, german, []string{"multipart/alternative", "text/plain", "text/html"}},
		"MIME":     {content.Form{Encoding: "mime"}, addressed + uuencoded, []string{"multipart/mixed", "Content-Type: text/plain;\r\n\tname=a.txt", "YWJj"}},
		"wrap":     {content.Form{Wrap: 10}, addressed + "\r\none two three four\r\n", []string{"\r\n\r\none two\r\nthree four\r\n"}},
	} {
		got, o := reformed(t, c.form, c.message)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got)
			}
		}
		if o.EightBit != (name == "UUENCODE") || o.Kept != nil || !strings.HasPrefix(got, addressed) {
			t.Errorf("%s: %+v\n%s", name, o, got)
		}
	}
}

// TestReformNot: what has no other form passes as it came.
func TestReformNot(t *testing.T) {
	for _, name := range []string{"09-multipart-signed", "11-dsn-report", "31-mdn-report"} {
		octets, err := os.ReadFile(filepath.Join("../../backends/mapi/mime/testdata/messages", name+".sent.eml"))
		if err != nil {
			t.Fatal(err)
		}
		if got, o := reformed(t, content.Form{Encoding: "uuencode", Body: "text"}, string(octets)); got != string(octets) || o.Message != nil {
			t.Errorf("%s has become\n%s", name, got)
		}
	}
	const inside = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\ntext\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n" +
		"--b\r\n\r\na list's footer\r\n--b--\r\n"
	if got, o := reformed(t, content.Form{Encoding: "uuencode"}, inside); got != inside || o.Message != nil {
		t.Errorf("what is signed inside has become\n%s", got)
	}
}

// TestReformInner: a message in the message, as somebody has forwarded it, stays as it came, with all of its header.
func TestReformInner(t *testing.T) {
	const (
		inner = "Received: from far\r\nDKIM-Signature: v=1;\r\n b=x\r\nFrom: a@b.example\r\nX-Odd:  y\r\nContent-Type: text/html\r\n\r\n<p> inner   text\r\n"
		outer = addressed + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee <this>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--b--\r\n"
	)
	for _, form := range []content.Form{{Wrap: 70}, {Body: "text"}, {Body: "html"}} {
		if got, o := reformed(t, form, outer); !strings.Contains(got, "\r\n\r\n"+inner) || o.Message == nil {
			t.Errorf("%+v: %v\n%s", form, o.Kept, got)
		}
	}
	got, _ := reformed(t, content.Form{Encoding: "uuencode"}, outer)
	m, err := mime.Reader{UUEncode: true}.Read(strings.NewReader(got), int64(len(got)))
	if err != nil || len(m.Attachments) != 1 {
		t.Fatalf("%v in\n%s", err, got)
	}
	r, err := m.Attachments[0].Data.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if file, err := io.ReadAll(r); string(file) != inner {
		t.Errorf("the file is %q, %v", file, err)
	}
}

// TestReformOpened: TNEF is opened before, and what is in it has the form, too.
func TestReformOpened(t *testing.T) {
	message := mixed(plainText, asPart(inTNEF(t, nil, attached("bill.pdf", "%PDF"))))
	o, err := content.NewWinmail(buffer.Options{}, 1).OpenAndReformFrom(content.Form{Encoding: "uuencode"})(t.Context(), strings.NewReader(message))
	if err != nil || o.Message == nil {
		t.Fatalf("%+v, %v", o, err)
	}
	octets, err := io.ReadAll(o.Message.Reader())
	if err != nil || !bytes.Contains(octets, []byte("begin 644 bill.pdf")) {
		t.Errorf("%q, %v", octets, err)
	}
	if err := o.Message.Discard(); err != nil {
		t.Error(err)
	}
}

// FuzzReform: whatever is converted has the header that it had, and is a message.
func FuzzReform(f *testing.F) {
	f.Add([]byte(german), uint8(0))
	f.Add([]byte(addressed+"\r\ntext\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"), uint8(7))
	w := content.NewWinmail(buffer.Options{}, 1)
	f.Fuzz(func(t *testing.T, message []byte, bits uint8) {
		if len(message) > 64<<10 { // larger ones are slower, and say nothing else
			return
		}
		form := content.Form{Encoding: []string{"", "mime", "uuencode"}[bits%3], Body: []string{"", "text", "html", "both", "enriched"}[bits/3%5], Wrap: int(bits / 15)}
		o, err := w.ReformFrom(form)(t.Context(), bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		if o.Message == nil {
			return
		}
		defer o.Message.Discard() //nolint:errcheck // of a test
		before, err := entity.Read(bytes.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		after, err := entity.Read(o.Message, o.Message.Size())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"From", "Subject", "X-Odd"} {
			if before.Field(name) != after.Field(name) {
				t.Errorf("%s is %q, and was %q", name, after.Field(name), before.Field(name))
			}
		}
	})
}
