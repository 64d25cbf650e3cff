package tnef

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

func keep(part io.Reader) (io.ReaderAt, int64, error) {
	octets, err := io.ReadAll(part)
	return bytes.NewReader(octets), int64(len(octets)), err
}

func readMail(t *testing.T, octets []byte) *mapi.Message {
	t.Helper()
	m, err := mime.Reader{TNEF: Opener{keep}.Open}.Read(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMailWithTNEF: a message with a winmail.dat is the message that is in there, from whom its own header says.
func TestMailWithTNEF(t *testing.T) {
	for name, export := range map[string]string{
		"24-winmail-dat": "07-mixed-two-attachments", "32-winmail-nested": "08-nested-rfc822", "33-winmail-meeting": "10-calendar-request",
	} {
		t.Run(name, func(t *testing.T) {
			octets, err := os.ReadFile("testdata/" + name + ".sent.eml")
			if err != nil {
				t.Fatal(err)
			}
			got, want := readMail(t, octets), decodeFile(t, export)
			for p := range want.All() {
				if v := got.Get(p.Key()); !cmp.Equal(v, p.Value) && (!ofTransport[p.Tag.ID()] || v == nil) && !summarised(p.Tag) {
					t.Errorf("%s is %v, want %v", p, v, p.Value)
				}
			}
			if diff := cmp.Diff(dump(t, &mapi.Message{Attachments: want.Attachments}), dump(t, &mapi.Message{Attachments: got.Attachments})); diff != "" {
				t.Error(diff)
			}
			if a, _ := got.Address(mapi.SenderAddress); a.SMTP != "chris@sakes.example" || len(got.Recipients) != 1 {
				t.Errorf("from %v, to %d", a, len(got.Recipients))
			}
		})
	}
}

// summarised says whether a property is made of the finished message.
func summarised(tag mapi.Tag) bool {
	switch tag.ID() {
	case mapi.PidTagMessageFlags.ID(), mapi.PidTagHasAttachments.ID(), mapi.PidTagDisplayTo.ID(), mapi.PidTagDisplayCc.ID(), mapi.PidTagDisplayBcc.ID():
		return true
	}
	return false
}

// TestForgedSender: nobody writes in somebody else's name by a winmail.dat.
func TestForgedSender(t *testing.T) {
	inner := &mapi.Message{}
	inner.SetAddress(mapi.SenderAddress, mapi.Address{Name: "Boss", Type: "SMTP", Address: "boss@sakes.example"})
	inner.SetAddress(mapi.SentRepresentingAddress, mapi.Address{Name: "Boss", Type: "SMTP", Address: "boss@sakes.example"})
	inner.Set(mapi.PidTagTransportMessageHeaders, mapi.String("From: boss@sakes.example\r\n"))
	inner.Set(mapi.PidTagHtml, mapi.Binary("<p>pay</p>"))
	m := readMail(t, letterWith(encode(t, inner, Options{})))
	for _, tags := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress} {
		if a, _ := m.Address(tags); a.SMTP != "stranger@elsewhere.example" {
			t.Errorf("%+v", a)
		}
	}
	if string(m.Bytes(mapi.PidTagHtml)) != "<p>pay</p>" || m.Text(mapi.PidTagTransportMessageHeaders) == "From: boss@sakes.example\r\n" {
		t.Error(dump(t, m))
	}
}

// letterWith is mail with a stream attached.
func letterWith(stream []byte) []byte {
	return []byte("From: stranger@elsewhere.example\r\nTo: chris@sakes.example\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(stream) + "\r\n")
}

// TestLostTNEF: what cannot be had whole stays the attachment that it came as.
func TestLostTNEF(t *testing.T) {
	whole := newRaw().attribute(1, attMessageClass, []byte("IPM.Appointment\x00")).file("mail.txt", "hello, world")
	for name, stream := range map[string][]byte{"cut off": whole[:len(whole)-6], "no TNEF": []byte("hello")} {
		t.Run(name, func(t *testing.T) {
			m := readMail(t, letterWith(stream))
			if len(m.Attachments) != 1 || m.Attachments[0].Text(mapi.PidTagAttachLongFilename) != "winmail.dat" || m.Text(mapi.PidTagMessageClass) != "IPM.Note" {
				t.Fatal(dump(t, m))
			}
			if got := readAll(t, m.Attachments[0].Data); !bytes.Equal(got, stream) {
				t.Errorf("%x, want %x", got, stream)
			}
		})
	}
	broken := errors.New("broken")
	o := Opener{func(io.Reader) (io.ReaderAt, int64, error) { return nil, 0, broken }}
	if err := o.Open(&mapi.Message{}, mapi.ContentOf(whole)); !errors.Is(err, broken) {
		t.Error(err)
	}
}
