package receivers_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/stores"
)

// mailboxes is a store that keeps what it gets, by its recipients.
type mailboxes struct {
	backends.Receiver
	got map[string]string
}

func (m *mailboxes) Deliver(_ context.Context, d backends.Delivery, message io.Reader) (verdicts []backends.Verdict, err error) {
	octets, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	if int64(len(octets)) != d.Size {
		return nil, errors.New("the size is another one")
	}
	for _, r := range d.Recipients {
		m.got[r.Address] = string(octets)
		verdicts = append(verdicts, backends.Verdict{Recipient: r.Address})
	}
	return verdicts, nil
}

// billed is a message with a file in TNEF.
func billed(t *testing.T) string {
	t.Helper()
	a := &mapi.Attachment{Data: mapi.ContentOf([]byte(strings.Repeat("%PDF", 2000)))}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("bill.pdf"))
	var stream bytes.Buffer
	if err := tnef.Encode(&stream, &mapi.Message{Attachments: []*mapi.Attachment{a}}, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	return "Subject: x\r\nContent-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(stream.Bytes()) + "\r\n"
}

// fullDisk is where no file can be made.
type fullDisk struct{}

func (fullDisk) Create() (buffer.File, error) { return nil, errors.New("no space") }

// TestWinmail: each recipient gets the message in the form of its policy, and outcomes are in the order of the
// recipients.
func TestWinmail(t *testing.T) {
	t.Parallel()
	message, damaged := billed(t), strings.Replace(billed(t), "\r\n\r\neJ", "\r\n\r\nfJ", 1)
	for _, c := range []struct {
		name, message, opened string // who gets it opened
		limit                 int64
	}{
		{"some", message, "ann cid", 0},
		{"nobody", message, "", 0},
		{"all", message, "ann bob cid", 0},
		{"damaged", damaged, "", 0},
		{"none", "Subject: x\r\n\r\nhello\r\n", "", 0},
		{"too large when it is opened", message, "", int64(len(message)) - receivers.TraceMost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			box := &mailboxes{got: map[string]string{}}
			store := &stores.Store{Config: stores.Config{Name: "sakes"}, Receiver: box}
			store.Description.Limits.MessageSize = c.limit
			wants := c.opened
			if wants == "" && c.name != "nobody" {
				wants = "ann cid"
			}
			m := receivers.Message{
				Log: zerolog.Nop(), Content: func() io.Reader { return strings.NewReader(c.message) }, Delivery: backends.Delivery{Size: int64(len(c.message))},
				Opening: &receivers.Opening{
					Winmail: content.NewWinmail(buffer.Options{}, 1), For: func(store, address string) bool { return store == "sakes" && strings.Contains(wants, address) },
				},
			}
			outcomes := m.DeliverTo(t.Context(), store, []backends.Recipient{{Address: "ann"}, {Address: "bob"}, {Address: "cid"}})
			for i, name := range []string{"ann", "bob", "cid"} {
				if o := outcomes[i]; o.Recipient.Address != name || o.Err != nil || o.Verdict.Recipient != name {
					t.Errorf("the outcome of %s is %+v", name, o)
				}
				if got, opened := box.got[name], strings.Contains(c.opened, name); (got == c.message) == opened || strings.Contains(got, "bill.pdf") != opened {
					t.Errorf("%s got\n%.500s", name, got)
				}
			}
		})
	}
}

// TestWinmailOnAFullDisk: nobody gets the message in a form that it does not have the next time.
func TestWinmailOnAFullDisk(t *testing.T) {
	t.Parallel()
	message := billed(t)
	box := &mailboxes{got: map[string]string{}}
	m := receivers.Message{
		Log: zerolog.Nop(), Content: func() io.Reader { return strings.NewReader(message) }, Delivery: backends.Delivery{Size: int64(len(message))},
		Opening: &receivers.Opening{Winmail: content.NewWinmail(buffer.Options{Storage: fullDisk{}, MemoryMost: 1000}, 1), For: func(string, string) bool { return true }},
	}
	outcomes := m.DeliverTo(t.Context(), &stores.Store{Config: stores.Config{Name: "sakes"}, Receiver: box}, []backends.Recipient{{Address: "ann"}})
	if len(outcomes) != 1 || !outcomes[0].Temporary() || outcomes[0].Unknown || len(box.got) > 0 {
		t.Errorf("%+v, %v", outcomes, box.got)
	}
}
