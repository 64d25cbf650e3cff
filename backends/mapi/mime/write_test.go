package mime

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/test/corpus"
)

// twice writes a message twice, and sees to it that the octets are the same.
func twice(t testing.TB, w Writer, m *mapi.Message) []byte {
	t.Helper()
	var first, second bytes.Buffer
	if err := errors.Join(w.Write(&first, m), w.Write(&second, m)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the same message was written in two ways")
	}
	return first.Bytes()
}

// write writes a message, and sees to it that it is fit for mail.
func write(t testing.TB, w Writer, m *mapi.Message) []byte {
	t.Helper()
	written := twice(t, w, m)
	for line := range bytes.SplitSeq(bytes.TrimSuffix(written, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > lineMost && !strings.Contains(m.Text(mapi.PidTagMessageClass), "SMIME") {
			t.Errorf("a line of %d octets", len(line))
		}
		if bytes.ContainsAny(line, "\r\n") {
			t.Errorf("a bare line end in %q", line)
		}
	}
	return written
}

func parse(t testing.TB, message []byte) *entity.Entity {
	t.Helper()
	e, err := entity.Read(bytes.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// outline is the structure of a message with the octets in it, a line for each entity. A text counts without blanks at
// its end: the recorded writer adds and removes line ends.
func outline(t testing.TB, e *entity.Entity, depth int) (lines []string) {
	t.Helper()
	indent := strings.Repeat("  ", depth)
	lines = append(lines, indent+e.Type.Value)
	switch {
	case e.Message != nil:
		lines = append(lines, fieldLines(e.Message, indent)...)
		return append(lines, outline(t, e.Message, depth+1)...)
	case len(e.Parts) > 0:
		for _, part := range e.Parts {
			lines = append(lines, outline(t, part, depth+1)...)
		}
		return lines
	}
	octets, err := io.ReadAll(e.Decoded())
	if err != nil {
		t.Fatal(err)
	}
	if e.Is("text/plain") || e.Is("text/html") {
		text := entity.DecodeCharset(octets, e.Type.Get("charset"))
		octets = []byte(strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n "))
	}
	return append(lines, fmt.Sprintf("%s%q %q %q", indent, e.Filename(), octets, trimID(e.Field("Content-ID"))))
}

// compared are the fields that both writers make.
var compared = []string{
	"From", "Sender", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Thread-Topic", "Thread-Index",
	"Importance", "Sensitivity", "Keywords", "Disposition-Notification-To", "List-Help", "List-Unsubscribe",
}

// fieldLines are what the fields of a message say.
func fieldLines(e *entity.Entity, indent string) (lines []string) {
	for _, name := range compared {
		raw := e.Field(name)
		said := strings.ToLower(strings.Join(strings.Fields(fieldText(raw)), " "))
		switch name {
		case "From", "Sender", "To", "Cc", "Reply-To", "Disposition-Notification-To":
			said = fmt.Sprint(parseAddresses(raw))
			said = strings.ReplaceAll(said, `"`, "") // the recorded writer loses some
		case "Date":
			if at, ok := entity.ParseDate(raw); ok {
				said = at.UTC().Format(time.RFC3339)
			}
		case "Thread-Index":
			said = raw
		}
		if said != "" && said != "[]" && said != "normal" {
			lines = append(lines, indent+name+": "+said)
		}
	}
	return lines
}

// otherwiseWritten are recorded renderings that we do not want to equal, and why.
var otherwiseWritten = map[string]string{
	"10-calendar-request": "TestMeetingsWritten compares it", "33-winmail-meeting": "TestMeetingsWritten compares it",
	"11-dsn-report":             "the status is that of the report, not one made of PidTagNonDeliveryReportDiagCode (README of the recordings: 5.1.1 became 5.1.4)",
	"16-attachment-1mb":         "the attachment was recorded by its digest",
	"29-rfc822-attachment-only": "there is no empty text beside a message alone",
	"31-mdn-report":             "the recorded writer lets the mode of the disposition fall",
	"26-raw-8bit-headers":       "the recorded properties lack the letters",
}

// TestWritten: what we write of the recorded properties is what was recorded, in structure, fields, texts and octets.
func TestWritten(t *testing.T) {
	for _, name := range recordings(t) {
		if otherwiseWritten[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			theirs, err := os.ReadFile("testdata/messages/" + name + ".ews.eml")
			if err != nil {
				t.Fatal(err)
			}
			ours := write(t, Writer{}, recorded(t, name))
			got, want := parse(t, ours), parse(t, theirs)
			gotLines, wantLines := append(fieldLines(got, ""), outline(t, got, 0)...), append(fieldLines(want, ""), outline(t, want, 0)...)
			if !slices.Equal(gotLines, wantLines) {
				t.Errorf("got\n%s\nwant\n%s\n%s", strings.Join(gotLines, "\n"), strings.Join(wantLines, "\n"), ours)
			}
		})
	}
}

// said is all that must survive the way from MIME and back: a line for each thing.
func said(t testing.TB, m *mapi.Message) (lines []string) {
	t.Helper()
	for _, tag := range []mapi.Tag{
		mapi.PidTagMessageClass, mapi.PidTagSubject, mapi.PidTagClientSubmitTime, mapi.PidTagInternetMessageId, mapi.PidTagInReplyToId, mapi.PidTagInternetReferences,
		mapi.PidTagImportance, mapi.PidTagSensitivity, mapi.PidTagReplyRecipientNames, mapi.PidTagConversationTopic, mapi.PidTagReadReceiptEmailAddress,
	} {
		lines = append(lines, fmt.Sprintf("%s %v", tag, m.Get(tag)))
	}
	for _, tags := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress} {
		a, _ := m.Address(tags)
		lines = append(lines, fmt.Sprintf("%+v", a))
	}
	for _, r := range m.Recipients {
		if isOrganizer(r) {
			continue // who is the author, if a calendar does not say it
		}
		a, _ := r.Address(mapi.RecipientAddress)
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		lines = append(lines, fmt.Sprintf("%d %+v", kind, a))
	}
	lines = append(lines, "text "+body(t, &m.Properties, mapi.PidTagBody), "html "+body(t, &m.Properties, mapi.PidTagHtml))
	for _, a := range m.Attachments {
		lines = append(lines, fmt.Sprintf("attachment %q %q", a.Text(mapi.PidTagAttachLongFilename), a.Text(mapi.PidTagAttachContentId)))
		if a.Embedded != nil {
			lines = append(lines, said(t, a.Embedded)...)
			continue
		}
		octets := octetsOf(t, a.Data)
		lines = append(lines, fmt.Sprintf("%.1000q, %x", octets, sha256.Sum256(octets)))
	}
	return lines
}

// body is the text of a property, with uniform line ends and none at its end.
func body(t testing.TB, p *mapi.Properties, tag mapi.Tag) string {
	t.Helper()
	if !p.Has(tag) {
		return "none"
	}
	open := p.OpenBytes
	if p.Get(tag).Type().IsText() {
		open = p.OpenText
	}
	r, err := open(tag)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	octets, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(octets))
	text = strings.TrimSuffix(text, "\n")
	if len(text) > 200_000 {
		return fmt.Sprintf("%d octets, %x", len(text), sha256.Sum256([]byte(text)))
	}
	return fmt.Sprintf("%q", text)
}

// TestRoundTrip: what came by MIME and goes out as MIME says the same.
func TestRoundTrip(t *testing.T) {
	messages := map[string][]byte{}
	for m := range corpus.Small(roundTripMost) {
		messages[m.Name] = m.Canonical()
	}
	for _, name := range recordings(t) {
		messages[name] = sent(t, name)
	}
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			before := convert(t, Reader{}, message)
			written := write(t, Writer{Bcc: true}, before)
			got, want := said(t, convert(t, Reader{}, written)), said(t, before)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("line %d: %.300s\nwant %.300s\n%.2000s", i, strings.Join(got[min(i, len(got)):], "\n"), strings.Join(want[min(i, len(want)):], "\n"), written)
				}
			}
		})
	}
}

// writes counts the calls of its Write.
type writes int

func (w *writes) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

// TestFewWrites: what is written goes on in large pieces, and not line by line.
func TestFewWrites(t *testing.T) {
	m := &mapi.Message{Attachments: []*mapi.Attachment{{Data: mapi.ContentOf(make([]byte, 64<<10))}}}
	var n writes
	if err := (Writer{}).Write(&n, m); err != nil || n > 64 {
		t.Errorf("%d writes of 64 KiB, %v", n, err)
	}
}
