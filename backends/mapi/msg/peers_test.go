//go:build linux

package msg

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/test/nodejs"
)

// TestMsgconvertReads: Debian's msgconvert, which is from others, has the same of what the tests write and Read reads.
func TestMsgconvertReads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "letter.msg")
	octets := compound(encode(t, letter()), 9)
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("msgconvert", "--outfile", "-", file).Output()
	if err != nil {
		t.Fatalf("msgconvert: %v (./test/run install)", err)
	}
	theirs, err := mail.ReadMessage(strings.NewReader(string(out)))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ours := readWhole(t, octets).Message
	for field, want := range map[string]string{
		"Subject": ours.Text(mapi.PidTagSubject),
		"From":    `"` + ours.Text(mapi.PidTagSenderName) + `" <` + ours.Text(mapi.PidTagSenderEmailAddress) + ">",
		"To":      ours.Recipients[0].Text(mapi.PidTagDisplayName) + " <" + ours.Recipients[0].Text(mapi.PidTagEmailAddress) + ">",
	} {
		got, err := (&mime.WordDecoder{}).DecodeHeader(theirs.Header.Get(field))
		if err != nil || strings.ReplaceAll(got, `"`, "") != strings.ReplaceAll(want, `"`, "") {
			t.Errorf("%s: msgconvert has %q, and here it is %q (%v)", field, got, want, err)
		}
	}
	attached := whole(t, ours.Attachments[0].Data)
	parts := leaves(t, theirs.Header.Get("Content-Type"), theirs.Header.Get("Content-Transfer-Encoding"), theirs.Body)
	for _, want := range []string{ours.Text(mapi.PidTagBody), string(ours.Bytes(mapi.PidTagHtml)), string(attached), "I am attached."} {
		found := false
		for _, part := range parts {
			found = found || strings.Contains(strings.ReplaceAll(part, "\r\n", "\n"), strings.TrimSpace(strings.ReplaceAll(want, "\r\n", "\n")))
		}
		if !found {
			t.Errorf("msgconvert lacks %.60q of its %d parts\n%.3000s", want, len(parts), out)
		}
	}
}

// leaves returns the decoded contents of all parts that have none themselves.
func leaves(t *testing.T, contentType, encoding string, body io.Reader) []string {
	t.Helper()
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if kind == "message/rfc822" {
		inner, err := mail.ReadMessage(body)
		if err != nil {
			t.Fatal(err)
		}
		return leaves(t, inner.Header.Get("Content-Type"), inner.Header.Get("Content-Transfer-Encoding"), inner.Body)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		return []string{decoded(t, encoding, body)}
	}
	var all []string
	for parts := multipart.NewReader(body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, leaves(t, part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part)...)
	}
}

// decoded returns a body without its transfer encoding.
func decoded(t *testing.T, encoding string, body io.Reader) string {
	t.Helper()
	switch strings.ToLower(encoding) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	octets, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

// TestMsgreaderReads: @kenjiuno/msgreader, a package of Node's, has the same of what the tests write and Read reads.
func TestMsgreaderReads(t *testing.T) {
	octets := compound(encode(t, letter()), 9)
	file := filepath.Join(t.TempDir(), "letter.msg")
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	out := nodejs.Run(t, `
const fs = require("fs"), {default: MsgReader} = require("@kenjiuno/msgreader");
const file = new MsgReader(fs.readFileSync(process.argv[2])), found = file.getFileData();
const octets = (data) => Buffer.from(data).toString("base64");
console.log(JSON.stringify({
  ...found, html: octets(found.html),
  attachments: found.attachments.map((a) => ({name: a.fileName, inside: a.innerMsgContentFields, data: octets(file.getAttachment(a).content)})),
}));
`, file)
	type message struct{ Subject, Body string }
	var theirs struct {
		message
		SenderName, SenderEmail string
		HTML                    []byte
		Recipients              []struct{ Name, Email string }
		Attachments             []struct {
			Name   string
			Data   []byte
			Inside *message
		}
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ours := readWhole(t, octets).Message
	if len(theirs.Recipients) != 1 || len(theirs.Attachments) != 2 || theirs.Attachments[1].Inside == nil {
		t.Fatalf("%s", out)
	}
	attached := whole(t, ours.Attachments[0].Data)
	inside := ours.Attachments[1].Embedded
	for got, want := range map[string]string{
		theirs.Subject: ours.Text(mapi.PidTagSubject), theirs.Body: ours.Text(mapi.PidTagBody), string(theirs.HTML): string(ours.Bytes(mapi.PidTagHtml)),
		theirs.SenderName: ours.Text(mapi.PidTagSenderName), theirs.SenderEmail: ours.Text(mapi.PidTagSenderEmailAddress),
		theirs.Recipients[0].Name: ours.Recipients[0].Text(mapi.PidTagDisplayName), theirs.Recipients[0].Email: ours.Recipients[0].Text(mapi.PidTagEmailAddress),
		theirs.Attachments[0].Name: ours.Attachments[0].Text(mapi.PidTagAttachLongFilename), string(theirs.Attachments[0].Data): string(attached),
		theirs.Attachments[1].Inside.Subject: inside.Text(mapi.PidTagSubject), theirs.Attachments[1].Inside.Body: inside.Text(mapi.PidTagBody),
	} {
		if got != want {
			t.Errorf("msgreader has %.60q, and here it is %.60q", got, want)
		}
	}
}

// TestMsgreaderWrites: of the compound file that msgreader writes of a message in a message, Read has that message.
func TestMsgreaderWrites(t *testing.T) {
	outer := &mapi.Message{Attachments: []*mapi.Attachment{{Embedded: letter()}}}
	outer.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	outer.Attachments[0].Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
	octets := compound(encode(t, outer), 12)
	file := filepath.Join(t.TempDir(), "letter.msg")
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	written := nodejs.Run(t, `
const fs = require("fs"), {default: MsgReader} = require("@kenjiuno/msgreader");
const file = new MsgReader(fs.readFileSync(process.argv[2]));
process.stdout.write(Buffer.from(file.getAttachment(file.getFileData().attachments[0]).content));
`, file)
	inside := readWhole(t, octets).Message.Attachments[0].Embedded
	if diff := cmp.Diff(dump(t, inside), dump(t, readWhole(t, written).Message)); diff != "" {
		t.Error(diff)
	}
}
