package mime

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

func inMemorySpool(r io.Reader) (io.ReaderAt, int64, error) {
	octets, err := io.ReadAll(r)
	return bytes.NewReader(octets), int64(len(octets)), err
}

// TestOpenTNEF: the properties and attachments in winmail.dat are those that were recorded; who wrote to whom is the mail's.
func TestOpenTNEF(t *testing.T) {
	for _, name := range []string{"24-winmail-dat", "32-winmail-nested", "33-winmail-meeting"} {
		ours, theirs := convert(t, Reader{TNEF: OpenTNEF(inMemorySpool)}, sent(t, name)), recorded(t, name)
		for p := range theirs.All() {
			if p.Named.IsZero() && !bodiesAndClass[p.Tag] {
				continue
			}
			if v := ours.Get(p.Key()); !equal(v, p.Value) {
				t.Errorf("%s: %s is %v, and was recorded as %v", name, p, show(v), show(p.Value))
			}
		}
		if from, _ := ours.Address(mapi.SentRepresentingAddress); from.SMTP != "chris@sakes.example" || !strings.Contains(ours.Text(mapi.PidTagInternetMessageId), name[:2]) {
			t.Errorf("%s is from %+v with the id %s", name, from, ours.Text(mapi.PidTagInternetMessageId))
		}
		sameAttachments(t, name, ours, theirs)
		if again := convert(t, Reader{}, write(t, Writer{}, ours)); len(again.Attachments) != len(ours.Attachments) {
			t.Errorf("%s has %d attachments as MIME", name, len(again.Attachments))
		}
	}
}

var bodiesAndClass = map[mapi.Tag]bool{mapi.PidTagMessageClass: true, mapi.PidTagBody: true, mapi.PidTagHtml: true, mapi.PidTagSubject: true, mapi.PidTagImportance: true}

func sameAttachments(t *testing.T, name string, ours, theirs *mapi.Message) {
	t.Helper()
	if len(ours.Attachments) != len(theirs.Attachments) {
		t.Fatalf("%s: %d attachments of %d", name, len(ours.Attachments), len(theirs.Attachments))
	}
	for i, a := range theirs.Attachments {
		mine := ours.Attachments[i]
		if mine.Text(mapi.PidTagAttachLongFilename) != a.Text(mapi.PidTagAttachLongFilename) || (a.Embedded == nil) != (mine.Embedded == nil) {
			t.Errorf("%s: attachment %d is %q", name, i, mine.Text(mapi.PidTagAttachLongFilename))
			continue
		}
		if a.Embedded != nil {
			sameAttachments(t, name, mine.Embedded, a.Embedded)
		} else if !bytes.Equal(octetsOf(t, mine.Data), octetsOf(t, a.Data)) {
			t.Errorf("%s: attachment %d has other octets", name, i)
		}
	}
}

// TestBrokenTNEF: of what is broken nothing is taken, and the file stays.
func TestBrokenTNEF(t *testing.T) {
	message := sent(t, "24-winmail-dat")
	for _, c := range []struct {
		spool Spool
		cut   int
	}{
		{inMemorySpool, len(message) / 2},
		{func(io.Reader) (io.ReaderAt, int64, error) { return nil, 0, io.ErrShortWrite }, len(message)},
	} {
		m := convert(t, Reader{TNEF: OpenTNEF(c.spool)}, message[:c.cut])
		if len(m.Attachments) != 1 || m.Attachments[0].Text(mapi.PidTagAttachLongFilename) != "winmail.dat" || m.Text(mapi.PidTagSubject) != "TNEF with two attachments" {
			t.Errorf("%d attachments, %q", len(m.Attachments), m.Text(mapi.PidTagSubject))
		}
	}
}

// TestForgedSender: nobody writes in somebody else's name by a winmail.dat.
func TestForgedSender(t *testing.T) {
	inner := &mapi.Message{}
	for _, tags := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress} {
		inner.SetAddress(tags, mapi.Address{Name: "Boss", Type: "SMTP", Address: "boss@sakes.example"})
	}
	inner.Set(mapi.PidTagTransportMessageHeaders, mapi.String("From: boss@sakes.example\r\n"))
	inner.Set(mapi.PidTagHtml, mapi.Binary("<p>pay</p>"))
	var stream bytes.Buffer
	if err := tnef.Encode(&stream, inner, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	m := convert(t, Reader{TNEF: OpenTNEF(inMemorySpool)}, []byte(
		"From: stranger@elsewhere.example\r\nTo: chris@sakes.example\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n"+
			"Content-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString(stream.Bytes())+"\r\n"))
	for _, tags := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress} {
		if a, _ := m.Address(tags); a.SMTP != "stranger@elsewhere.example" {
			t.Errorf("%+v", a)
		}
	}
	if header := m.Text(mapi.PidTagTransportMessageHeaders); string(m.Bytes(mapi.PidTagHtml)) != "<p>pay</p>" || strings.Contains(header, "boss") {
		t.Errorf("%q, %q", m.Bytes(mapi.PidTagHtml), header)
	}
}

// TestTNEFByName: a winmail.dat is opened also where a server on the way has lost its type.
func TestTNEFByName(t *testing.T) {
	for _, c := range []struct {
		kind   string
		opened bool
	}{{"application/octet-stream; name=WinMail.dat", true}, {"application/octet-stream; name=other.dat", false}, {"image/png; name=winmail.dat", false}} {
		message := bytes.Replace(sent(t, "24-winmail-dat"), []byte("application/ms-tnef"), []byte("X-Type"), 1)
		start := bytes.Index(message, []byte("Content-Type: X-Type"))
		end := start + bytes.Index(message[start:], []byte("\r\n\r\n"))
		changed := string(message[:start]) + "Content-Type: " + c.kind + "\r\nContent-Transfer-Encoding: base64" + string(message[end:])
		m := convert(t, Reader{TNEF: OpenTNEF(inMemorySpool)}, []byte(changed))
		if opened := len(m.Attachments) == 2; opened != c.opened {
			t.Errorf("%s: %d attachments", c.kind, len(m.Attachments))
		}
	}
}
