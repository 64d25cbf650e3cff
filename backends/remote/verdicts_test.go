package remote

import (
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// TestVerdictsTellTheServer: who was asked has the server's name and its last reply, in the form of
// RFC 3464 §2.3.5 and §2.3.6, whatever the server has said.
func TestVerdictsTellTheServer(t *testing.T) {
	refused := func(code int, lines ...string) error {
		return &smtpclient.ReplyError{Reply: smtpclient.Reply{Code: code, Lines: lines}, Command: smtpclient.AtRcpt}
	}
	for _, test := range []struct {
		name                    string
		outcome                 smtpclient.Outcome
		destination, diagnostic string
	}{
		{"taken", smtpclient.Outcome{Reply: smtpclient.Reply{Code: 250, Lines: []string{"2.0.0 ok: queued"}}}, "dns; mx.x.example", "smtp; 250 2.0.0 ok: queued"},
		{"refused in two lines", smtpclient.Outcome{Err: refused(550, "5.1.1 no", "5.1.1 such user")}, "dns; mx.x.example", "smtp; 550 5.1.1 no 5.1.1 such user"},
		{"refused without a word", smtpclient.Outcome{Err: refused(450, "")}, "dns; mx.x.example", "smtp; 450"},
		{"refused with control characters", smtpclient.Outcome{Err: refused(550, "a\x00b\tc\x1b[2J\xff")}, "dns; mx.x.example", "smtp; 550 a?b c?[2J?"},
		{"refused at length", smtpclient.Outcome{Err: refused(550, strings.Repeat("ü", 2000))}, "dns; mx.x.example", "smtp; 550 " + strings.Repeat("ü", 251)},
		{"not answered", smtpclient.Outcome{Err: &smtpclient.UncertainError{Err: errors.New("lost")}}, "dns; mx.x.example", ""},
		{"not sent", smtpclient.Outcome{Err: &smtpclient.UnsentError{Err: errors.New("lost")}}, "", ""},
		{"not asked", smtpclient.Outcome{Err: &smtpclient.AddressError{Status: "5.1.3"}}, "", ""},
		{"would be taken", smtpclient.Outcome{}, "", ""},
	} {
		test.outcome.Recipient = "a@x.example"
		v := Verdicts("mx.x.example", []smtpclient.Outcome{test.outcome})[0]
		if v.Destination != test.destination || v.RemoteDiagnostic != test.diagnostic {
			t.Errorf("%s: it went to %q, and came to %q", test.name, v.Destination, v.RemoteDiagnostic)
		}
		if err := v.CheckTrack(); err != nil || v.Recipient != "a@x.example" {
			t.Errorf("%s: %v, %v", test.name, v, err)
		}
	}
}

// TestSentKeepsWhereItWent: what the transport has told of a message is told with its verdicts.
func TestSentKeepsWhereItWent(t *testing.T) {
	var s Sent
	d := backends.Delivery{Key: "k", Recipients: backends.To("a@x.example", "b@x.example")}
	v := s.Note("ada", d, []backends.Verdict{{Recipient: "b@x.example", Destination: "dns; mx.x.example", RemoteDiagnostic: "smtp; 250 ok"}})
	if v[0] != (backends.Verdict{Recipient: "a@x.example"}) || v[1].Destination != "dns; mx.x.example" || v[1].RemoteDiagnostic != "smtp; 250 ok" {
		t.Error(v)
	}
}
