package mime

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// keptOf writes a message with the subject "the property" by the header that came with it.
func keptOf(t *testing.T, w Writer, raw mapi.Value) string {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String("the property"))
	m.Set(mapi.PidTagTransportMessageHeaders, raw)
	w.Kept = true
	return string(write(t, w, m))
}

// TestKeptHidden: a header that is kept is no way for what is not written otherwise.
func TestKeptHidden(t *testing.T) {
	raw := mapi.String("Subject: kept\r\nBcc: dora@a.example\r\nResent-Bcc: eleni@a.example\r\nX-MS-Exchange-Organization-SCL: -1\r\nX-Long: " + strings.Repeat("x", 2*lineMost) + "\r\n\r\n")
	written := keptOf(t, Writer{}, raw)
	for _, hidden := range []string{"dora", "eleni", "SCL"} {
		if strings.Contains(written, hidden) {
			t.Errorf("%s is in %.300s", hidden, written)
		}
	}
	if written = keptOf(t, Writer{Bcc: true}, raw); !strings.Contains(written, "dora") || !strings.Contains(written, "eleni") {
		t.Errorf("Bcc is lost in %.300s", written)
	}
}

// TestKeptNothing: where the header that came is none, the properties make one.
func TestKeptNothing(t *testing.T) {
	for _, raw := range []string{"nothing of a header\r\n\r\n", "Content-Type: text/plain\r\n\r\n", "\r\n", strings.Repeat("X: x\r\n", 11_000)} {
		if written := keptOf(t, Writer{}, mapi.String(raw)); !strings.Contains(written, "Subject: the property\r\n") {
			t.Errorf("%.30q became %.300s", raw, written)
		}
	}
}

// streamed is a text as one that is larger than is kept in memory.
func streamed(text string) mapi.Value {
	e := mapi.NewEncoder(nil, mapi.Format{})
	e.Unicode(text)
	octets := e.Octets()
	return mapi.Streamed{Of: mapi.PtypString, Content: mapi.ContentOf(octets[:len(octets)-2])}
}

// TestLargeTexts: texts that were too large for memory are written all the same.
func TestLargeTexts(t *testing.T) {
	long := strings.Repeat("word ", 10_000) + "end"
	if written := keptOf(t, Writer{}, streamed("Subject: kept\r\nX-Long: "+long+"\r\n\r\n")); !strings.Contains(written, "Subject: kept") {
		t.Errorf("%.300s", written)
	}
	m := &mapi.Message{}
	x := mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-Long"}
	for _, k := range []mapi.Key{mapi.PidTagSubject, mapi.PidTagInternetReferences, x} {
		m.Set(k, streamed(long))
	}
	again := convert(t, Reader{}, write(t, Writer{}, m))
	for _, k := range []mapi.Key{mapi.PidTagSubject, mapi.PidTagInternetReferences, x} {
		if got := again.Text(k); got != long {
			t.Errorf("%v has %d octets of %d", k, len(got), len(long))
		}
	}
}

// TestSmuggledField: a signed entity whose fields do not end where they are looked at is not written as it is: the next of
// them could be any field of the message.
func TestSmuggledField(t *testing.T) {
	start := "Content-Type: multipart/signed; boundary=b\r\nContent-Long: "
	entity := start + strings.Repeat("x", signedHead-len(start)-2) + "\r\nBcc: dora@a.example\r\nFrom: boss@a.example\r\n\r\n--b--\r\n"
	m := &mapi.Message{Attachments: []*mapi.Attachment{{Data: mapi.ContentOf([]byte(entity))}}}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note.SMIME.MultipartSigned"))
	e := parse(t, write(t, Writer{}, m))
	if e.Field("Bcc") != "" || e.Field("From") != "" {
		t.Errorf("Bcc %q, From %q", e.Field("Bcc"), e.Field("From"))
	}
}

// TestNoDate: times that no mail can be of, and those that say that there is none, are not written.
func TestNoDate(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagClientSubmitTime, mapi.Time(0))
	m.Set(mapi.PidTagMessageDeliveryTime, mapi.Time(134405064000000000))
	m.Set(mapi.PidTagExpiryTime, mapi.Time(1<<64-1))
	m.Set(mapi.PidTagReplyTime, mapi.Time(0x0CB34557A3DD4000))
	e := parse(t, write(t, Writer{}, m))
	if date := e.Field("Date"); date != "Mon, 30 Nov 2026 10:00:00 +0000" {
		t.Errorf("Date: %s", date)
	}
	if e.Field("Expires") != "" || e.Field("Reply-By") != "" {
		t.Errorf("Expires: %s, Reply-By: %s", e.Field("Expires"), e.Field("Reply-By"))
	}
}
