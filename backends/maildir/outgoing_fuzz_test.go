package maildir

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	mail "github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/pickup"
)

// FuzzOutgoing: whatever lies in an outbox has an envelope that the gateway takes, and ends where its message begins.
func FuzzOutgoing(f *testing.F) {
	for _, message := range []string{
		"", "x", "To: a@b.example, c\nBcc: <d@e.example>\n\nx", "X-Sender: <> RET=FULL ENVID=a+20b\nX-Receiver: <a@b.example> NOTIFY=NEVER ORCPT=rfc822;a\nSubject: x\n\n",
		"To: x: \"a\\\"b\"@c.example, (d (e)) f@[IPv6:::1];\n\n", "Resent-To: a@b.example\nTo: c@d.example\n\n", "X-Receiver: \xff\nTo: \xff@\n\n",
	} {
		f.Add([]byte(message))
	}
	d, err := parseAccounts([]byte(accountsText()))
	if err != nil {
		f.Fatal(err)
	}
	use := &inUse{}
	use.DetailSeparator = defaultSeparator
	f.Fuzz(func(t *testing.T, message []byte) {
		a := d.accounts[0]
		out, begins, err := use.outgoingOf(d, a, bytes.NewReader(message))
		if err != nil || begins < 0 || begins > int64(len(message)) {
			t.Fatalf("%d, %v", begins, err)
		}
		if box, err := mail.Parse(out.From); out.From != "" && (err != nil || !use.maySend(d, a, box)) {
			t.Fatalf("it is sent as %q", out.From)
		}
		if len(out.Recipients) == 0 || len(out.Recipients) > recipientsMost {
			t.Fatalf("%d recipients", len(out.Recipients))
		}
		for _, r := range out.Recipients {
			if _, err := mail.Parse(r.Address); err != nil || strings.ContainsFunc(r.Address, unicode.IsControl) {
				t.Fatalf("%q: %v", r.Address, err)
			}
		}
		if e, begins, err := pickup.Read(bytes.NewReader(message)); err == nil && begins > 0 && len(e.Recipients) > 0 {
			again, _, err := pickup.Read(strings.NewReader(pickup.Envelope{Recipients: e.Recipients}.String()))
			if err != nil || len(again.Recipients) != len(e.Recipients) {
				t.Fatalf("%+v, then %+v", e, again)
			}
		}
	})
}
