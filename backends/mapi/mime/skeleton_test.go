package mime

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/test/corpus"
)

// asItCame writes Internet mail back.
var asItCame = Writer{Kept: true, Bcc: true}

// withoutSkeleton are messages that get none: a field in front of theirs would be part of them.
var withoutSkeleton = []string{"header/folded-first"}

// TestSkeletons: with its skeleton a message goes out as it came, octet by octet.
func TestSkeletons(t *testing.T) {
	messages := map[string][]byte{}
	for m := range corpus.Small(20_000) {
		messages[m.Name] = m.Content()
	}
	for _, name := range recordings(t) {
		if octets := sent(t, name); len(octets) < 100_000 {
			messages[name] = octets
		}
	}
	for name, message := range messages {
		m := convert(t, Reader{Skeleton: true}, message)
		if m.Has(mapi.PidTagMimeSkeleton) == slices.Contains(withoutSkeleton, name) {
			t.Errorf("%s has a skeleton or has none: %t", name, m.Has(mapi.PidTagMimeSkeleton))
		}
		if got := twice(t, asItCame, m); m.Has(mapi.PidTagMimeSkeleton) && !bytes.Equal(got, message) {
			t.Errorf("%s has become %.1000q", name, got)
		}
	}
}

// boned is a message of which each part is another one in the object.
const boned = "Received: from a by b; Thu, 12 Nov 2026 10:06:07 +0100\r\nFrom:  Erika <a@b.example>\r\nto: c@d.example\r\nBcc: e@f.example\r\n" +
	"Subject: one\r\nMIME-version: 1.0\r\ncontent-type: multipart/mixed;\r\n boundary=\"o\"\r\n\r\npreamble\r\n" +
	"--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n" +
	"--i\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=\r\n=BC=C3=9Fe\r\n--i--\r\n" +
	"--o\r\nContent-Type: application/x-one; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJDREVG\r\nR0hJ\r\n\r\n" +
	"--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Transfer-Encoding: 8bit\r\n\r\nin\xe4\r\n--o--\r\nepilogue"

// TestSkeletonContents: contents are left out that come out as they came in, and the others stay.
func TestSkeletonContents(t *testing.T) {
	m := convert(t, Reader{Skeleton: true}, []byte(boned))
	got := string(m.Bytes(mapi.PidTagMimeSkeleton))
	for content, want := range map[string]bool{"Gr\xfc": false, "=BC=C3": true, "QUJD": false, "inner": false, "epilogue": true, "Received:": true} {
		if strings.Contains(got, content) != want {
			t.Errorf("%q in it: %t\n%q", content, !want, got)
		}
	}
	if inner := m.Attachments[1].Embedded; !inner.Has(mapi.PidTagMimeSkeleton) {
		t.Error("the message in it has none")
	}
	if written := string(twice(t, Writer{Kept: true}, m)); strings.Contains(written, "Bcc") || strings.Contains(written, "keleton") {
		t.Errorf("%q", written)
	}
}

// TestSkeletonChanged: what was changed since is in the message, and the rest is as it came as far as it can.
func TestSkeletonChanged(t *testing.T) {
	set := func(k mapi.Key, v mapi.Value) func(*mapi.Message) { return func(m *mapi.Message) { m.Set(k, v) } }
	for name, c := range map[string]struct {
		change func(*mapi.Message)
		want   []string
		not    []string
	}{
		"nothing":              {func(*mapi.Message) {}, []string{"preamble", "to: c@d", "charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n"}, nil},
		"what a store knows":   {set(mapi.PidTagConversationIndex, mapi.Binary("x")), []string{"preamble", "to: c@d"}, nil},
		"a text that fits":     {set(mapi.PidTagBody, mapi.String("M\u00e4rz")), []string{"preamble", "charset=iso-8859-1\r\n\r\nM\xe4rz\r\n--i"}, nil},
		"a text that does not": {set(mapi.PidTagBody, mapi.String("\u6e2f")), []string{"charset=utf-8", "a.bin", "Subject: inner"}, []string{"preamble"}},
		"a text with a line":   {set(mapi.PidTagBody, mapi.String("x\r\n--o--\r\ny")), []string{"a.bin", "Subject: inner"}, []string{"preamble"}},
		"HTML":                 {set(mapi.PidTagHtml, mapi.Binary("<b>")), []string{"<b>", "a.bin"}, []string{"preamble", "<p>"}},
		"the subject":          {set(mapi.PidTagSubject, mapi.String("two")), []string{"Subject: two", "preamble"}, []string{"Received:", "Subject: one"}},
		"one attachment more": {func(m *mapi.Message) {
			m.Attachments = append(m.Attachments, &mapi.Attachment{Data: mapi.ContentOf([]byte("DDD"))})
		}, []string{"RERE", "a.bin"}, []string{"preamble"}},
		"one attachment less":  {func(m *mapi.Message) { m.Attachments = m.Attachments[1:] }, []string{"Subject: inner"}, []string{"preamble", "a.bin"}},
		"an attachment's name": {func(m *mapi.Message) { m.Attachments[0].Set(mapi.PidTagAttachLongFilename, mapi.String("b.bin")) }, []string{"name=b.bin"}, []string{"preamble", "name=a.bin"}},
		"attached octets":      {func(m *mapi.Message) { m.Attachments[0].Data = mapi.ContentOf([]byte("ABCDEFABCDEF")) }, []string{"preamble", "QUJDREVG\r\nQUJDREVG\r\n\r\n"}, nil},
		"inside":               {func(m *mapi.Message) { m.Attachments[1].Embedded.Set(mapi.PidTagBody, mapi.String("out")) }, []string{"preamble", "\r\n\r\nout\r\n--o--"}, nil},
		"inside, with a line":  {func(m *mapi.Message) { m.Attachments[1].Embedded.Set(mapi.PidTagBody, mapi.String("--o")) }, []string{"a.bin"}, []string{"preamble"}},
		"the mail's bodies":    {func(m *mapi.Message) { m.Delete(mapi.PidTagBody, mapi.PidTagHtml) }, []string{"a.bin"}, []string{"preamble"}},
	} {
		m := convert(t, Reader{Skeleton: true}, []byte(boned))
		c.change(m)
		written := string(twice(t, asItCame, m))
		for _, want := range c.want {
			if !strings.Contains(written, want) {
				t.Errorf("%s: %q is missing in %q", name, want, written)
			}
		}
		for _, not := range c.not {
			if strings.Contains(written, not) {
				t.Errorf("%s: %q is in %q", name, not, written)
			}
		}
	}
}

// TestSkeletonBody: a text that comes to a message without one is in it, and so is HTML that was written in the place of text.
func TestSkeletonBody(t *testing.T) {
	m := convert(t, Reader{Skeleton: true}, []byte("Content-Type: a/b\r\n\r\nx"))
	m.Set(mapi.PidTagBody, mapi.String("a text"))
	if written := string(twice(t, asItCame, m)); !strings.Contains(written, "a text") {
		t.Errorf("%q", written)
	}
	m = convert(t, Reader{Skeleton: true}, []byte("Subject: x\r\n\r\na text"))
	m.Set(mapi.PidTagHtml, mapi.Binary("<b>a text"))
	if written := string(twice(t, asItCame, m)); strings.Contains(written, "<b>") {
		t.Errorf("HTML that a store has made of text: %q", written)
	}
	m.Set(mapi.PidTagNativeBody, mapi.Integer32(3))
	if written := string(twice(t, asItCame, m)); !strings.Contains(written, "<b>") {
		t.Errorf("%q", written)
	}
}

// TestSkeletonOfOthers: one as MS-OXCMAIL §2.4.3.1 describes it, with the contents of the object of a store.
func TestSkeletonOfOthers(t *testing.T) {
	skeleton := "From: Erika <a@b.example>\r\nImportance: high\r\nKeywords: gone\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n" +
		"--o\r\nX-Exchange-Mime-Skeleton-Content-Id: <b@s>\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\r\n" +
		"--o\r\nContent-ID: <p@s>\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n" +
		"--o\r\nX-Exchange-MIME-Skeleton-Content-Id: <e@s>\r\nContent-Type: message/rfc822\r\n\r\n\r\n" +
		"--o\r\nContent-Type: text/vcard\r\n\r\nBEGIN:VCARD\r\n--o--\r\n"
	object := func() *mapi.Message {
		m := &mapi.Message{}
		m.Set(mapi.PidTagMimeSkeleton, mapi.Binary(skeleton))
		m.Set(mapi.PidTagBody, mapi.String("Gr\u00fc\u00dfe"))
		m.Set(mapi.PidTagImportance, mapi.Integer32(0))
		inner := &mapi.Message{}
		inner.Set(mapi.PidTagSubject, mapi.String("inner"))
		m.Attachments = []*mapi.Attachment{{Embedded: inner}, {Data: mapi.ContentOf([]byte("ABC"))}}
		m.Attachments[0].Set(mapi.PidTagAttachContentId, mapi.String("e@s"))
		m.Attachments[1].Set(mapi.PidTagAttachContentId, mapi.String("p@s"))
		return m
	}
	want := "Importance: low\r\nFrom: Erika <a@b.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n" +
		"--o\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n" +
		"--o\r\nContent-ID: <p@s>\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n" +
		"--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\r\n" +
		"--o\r\nContent-Type: text/vcard\r\n\r\nBEGIN:VCARD\r\n--o--\r\n"
	if got := string(twice(t, asItCame, object())); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	m := object()
	m.Attachments[1].Delete(mapi.PidTagAttachContentId)
	if got := string(twice(t, asItCame, m)); !strings.Contains(got, "QUJD") || strings.Contains(got, "boundary=o") {
		t.Errorf("an attachment of which the skeleton does not know: %q", got)
	}
	signed := convert(t, Reader{}, sent(t, "09-multipart-signed"))
	signed.Set(mapi.PidTagMimeSkeleton, mapi.Binary("X-One: 1\r\nSubject: x\r\nContent-Type: multipart/signed\r\n\r\n"))
	if got := string(twice(t, asItCame, signed)); !strings.HasPrefix(got, "X-One: 1\r\nSubject: x\r\nContent-Type: multipart/signed") || strings.Count(got, "multipart/signed") != 1 {
		t.Errorf("%.300q", got)
	}
}

// TestSkeletonHostile: whatever a skeleton says, the object is written, all of it and nothing else, with bounded work.
func TestSkeletonHostile(t *testing.T) {
	own := string(convert(t, Reader{Skeleton: true}, []byte(boned)).Bytes(mapi.PidTagMimeSkeleton))
	head := "Content-Type: multipart/mixed; boundary=o\r\n\r\n"
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, "--o\r\nX-Dipylon-Skeleton: attachment; number=%d\r\n\r\n\r\n", i)
	}
	for name, skeleton := range map[string]string{
		"100,000 parts":               head + many.String(),
		"one attachment for all":      head + strings.Repeat("--o\r\nX-Dipylon-Skeleton: attachment; number=0\r\n\r\n\r\n", 1000),
		"too large":                   "X-Dipylon-Skeleton: plain; envelope=x\r\n\r\n" + strings.Repeat("x", skeletonMost),
		"nothing":                     "",
		"a number that is none":       strings.Replace(own, "number=0", "number=99999999999999999999", 1),
		"a number of none":            strings.Replace(own, "number=1", "number=7", 1),
		"lines of no width":           strings.Replace(own, "width=8", "width=1", 1),
		"cut":                         own[:len(own)/2],
		"a text of its own":           strings.Replace(own, "<p>Gr", "<p>Pay", 1),
		"a part more":                 strings.Replace(own, "preamble\r\n", "preamble\r\n--o\r\n\r\nPay\r\n", 1),
		"a calendar of no object":     "X-Dipylon-Skeleton: calendar; envelope=x; says=y\r\n\r\nPay",
		"deeper than it may be":       strings.Repeat("Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n", 1000),
		"a message without an object": strings.Replace(own, "attachment; number=0", "message; number=0", 1),
	} {
		m := convert(t, Reader{}, []byte(boned))
		m.Set(mapi.PidTagMimeSkeleton, mapi.Binary(skeleton))
		again := convert(t, Reader{}, twice(t, asItCame, m))
		if got, want := said(t, again), said(t, convert(t, Reader{}, []byte(boned))); !slices.Equal(got, want) {
			t.Errorf("%s: %q\nwant %q", name, got, want)
		}
	}
}

// TestSkeletonFromElsewhere: nobody gives a message a skeleton by mail.
func TestSkeletonFromElsewhere(t *testing.T) {
	for _, field := range []string{"X-Dipylon-Skeleton: plain", "x-exchange-mime-skeleton-content-id: <a@b>"} {
		m := convert(t, Reader{Skeleton: true}, []byte(field+"\r\nSubject: x\r\n\r\ntext"))
		if m.Has(mapi.PidTagMimeSkeleton) {
			t.Errorf("%s: a skeleton", field)
		}
	}
	inner := &mapi.Message{}
	inner.Set(mapi.PidTagMimeSkeleton, mapi.Binary("Subject: y\r\n\r\n"))
	m := &mapi.Message{}
	merge(m, &mapi.Message{Properties: inner.Properties, Attachments: []*mapi.Attachment{{Embedded: inner}}})
	if m.Has(mapi.PidTagMimeSkeleton) || inner.Has(mapi.PidTagMimeSkeleton) {
		t.Error("TNEF has brought a skeleton")
	}
	opened := convert(t, Reader{Skeleton: true, TNEF: OpenTNEF(inMemorySpool)}, sent(t, "24-winmail-dat"))
	if opened.Has(mapi.PidTagMimeSkeleton) {
		t.Error("a message whose TNEF was opened has a skeleton")
	}
}

// TestSkeletonInItself: objects that lie in one another without end are told as such.
func TestSkeletonInItself(t *testing.T) {
	m := convert(t, Reader{Skeleton: true}, []byte(boned))
	m.Attachments[1].Embedded = m
	if err := asItCame.Write(io.Discard, m); err == nil {
		t.Error("a message in itself was written")
	}
}

// TestSkeletonCutOff: the skeleton of a signed message is its header, and its last line may have no end.
func TestSkeletonCutOff(t *testing.T) {
	const signed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nx\r\n--s--\r\n"
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(signed))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	m := &mapi.Message{Attachments: []*mapi.Attachment{a}}
	m.Set(mapi.PidTagMessageClass, mapi.String(classSigned))
	for _, end := range []string{"", "\r\n", "\n", "\r\n\r\n"} {
		m.Set(mapi.PidTagMimeSkeleton, mapi.Binary("From: a@far.example\r\nSubject: x"+end))
		if got := string(write(t, asItCame, m)); got != "From: a@far.example\r\nSubject: x\r\n"+signed {
			t.Errorf("with %q at its end: %q", end, got)
		}
	}
}
