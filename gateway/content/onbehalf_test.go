package content_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

// TestOnBehalf: an author for whom the account may write is not shown without the account beside it
// (RFC 5322 §3.6.2), and is nothing but an author.
func TestOnBehalf(t *testing.T) {
	const own = "alice@sakes.example"
	for _, test := range []struct{ name, sender, in, want string }{
		{"Sender is added", own, "From: boss@sakes.example\r\n", "From: boss@sakes.example\r\nSender: " + own + "\r\n"},
		{"beside the account itself", own, "From: alice@sakes.example, boss@sakes.example\r\n", "From: alice@sakes.example, boss@sakes.example\r\nSender: " + own + "\r\n"},
		{"Sender is there", own, "Sender: x@shared.example\r\nFrom: boss@sakes.example\r\n", "Sender: x@shared.example\r\nFrom: boss@sakes.example\r\n"},
		{"the account's own needs none", own, "From: alice@sakes.example\r\n", "From: alice@sakes.example\r\n"},
		{"not as Sender", own, "Sender: boss@sakes.example\r\nFrom: alice@sakes.example\r\n", ""},
		{"not as both", own, "Sender: boss@sakes.example\r\nFrom: boss@sakes.example\r\n", ""},
		{"of nobody else", own, "From: bob@sakes.example\r\n", ""},
		{"beside somebody else", own, "From: boss@sakes.example, bob@sakes.example\r\n", ""},
		{"without an address of its own", "", "From: boss@sakes.example\r\n", ""},
		{"without an address of its own, whatever Sender says", "", "Sender: x@shared.example\r\nFrom: boss@sakes.example\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _, err := header.Read(strings.NewReader(test.in+date+id+"\r\n"), header.Most)
			if err != nil {
				t.Fatal(err)
			}
			s := submission()
			s.Sender, s.OnBehalf = test.sender, func(box address.Mailbox) bool { return box.String() == "boss@sakes.example" }
			err = s.Apply(h)
			if refused := errors.As(err, new(*content.NotOwnedError)); refused != (test.want == "") {
				t.Fatalf("got %v", err)
			}
			if test.want == "" {
				return
			}
			out, err := io.ReadAll(h.Reader())
			want := test.want + date + id + "\r\n"
			if i := strings.Index(test.want, "Sender: "+own); i >= 0 { // what is added stands at the end
				want = test.want[:i] + date + id + test.want[i:] + "\r\n"
			}
			if err != nil || string(out) != want {
				t.Errorf("got  %q\nwant %q", out, want)
			}
		})
	}
}
