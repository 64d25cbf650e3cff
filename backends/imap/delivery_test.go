package imap_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestDeliveryBySMTP: the host that the settings name answers for each recipient, and for the
// content.
func TestDeliveryBySMTP(t *testing.T) {
	upstream := (&fakesmtp.Server{
		Rcpt: func(_ fakesmtp.Transaction, path string) string {
			switch {
			case strings.HasPrefix(path, "nobody@"):
				return "550 5.1.1 no such user"
			case strings.HasPrefix(path, "full@"):
				return "452 4.2.2 full"
			}
			return ""
		},
		End: func(_ fakesmtp.Transaction, path string) string {
			if strings.HasPrefix(path, "spam@") {
				return "554 5.7.1 refused"
			}
			return ""
		},
	}).Start(t)
	s := storeOf(t, fakeimap.Start(t, &fakeimap.Server{}), map[string]any{"delivery": map[string]any{"smtp": upstream.Address}})
	to := []string{"ada@peer.example", "nobody@peer.example", "full@peer.example"}
	const want = "ada@peer.example taken, nobody@peer.example not found 5.1.1, full@peer.example over quota 4.2.2"
	verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Envelope: backends.Envelope{From: "x@far.example"}, Recipients: backends.To(to...)})
	if got := outcomes(verdicts); err != nil || got != want {
		t.Errorf("RCPT: %s, %v", got, err)
	}
	verdicts, err = s.Deliver(t.Context(), backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "x@far.example"}, Recipients: backends.To(to...)}, strings.NewReader(letter))
	if got := outcomes(verdicts); err != nil || got != want {
		t.Errorf("the content: %s, %v", got, err)
	}
	verdicts, err = s.Deliver(t.Context(), backends.Delivery{Key: "l", Recipients: backends.To("spam@peer.example")}, strings.NewReader(letter))
	if got := outcomes(verdicts); err != nil || got != "spam@peer.example permanent 5.7.1" {
		t.Errorf("the end of the content: %s, %v", got, err)
	}
	if copies := upstream.Copies(letter); copies["ada@peer.example"] != 1 || len(copies) != 1 {
		t.Errorf("the server has %v", copies)
	}
	if all := strings.Join(upstream.Commands(), "\n"); !strings.Contains(all, "EHLO gate.example") || strings.Contains(all, "LHLO") {
		t.Errorf("the server was told %q", all)
	}
	d, err := s.Describe(t.Context())
	if err != nil || !d.Capabilities.Receiver {
		t.Error("it takes no mail in", err)
	}
}

func outcomes(verdicts []backends.Verdict) string {
	var all []string
	for _, v := range verdicts {
		outcome := "taken"
		if v.Failure != nil {
			outcome = v.Failure.Kind.String() + " " + v.Failure.Reply().Code
		}
		all = append(all, v.Recipient+" "+outcome)
	}
	return strings.Join(all, ", ")
}

// TestDeliveryThatComesBack: a host that is this gateway would send the message round in circles.
func TestDeliveryThatComesBack(t *testing.T) {
	upstream := (&fakesmtp.Server{Name: "gate.example"}).Start(t)
	s := storeOf(t, fakeimap.Start(t, &fakeimap.Server{}), map[string]any{"delivery": map[string]any{"smtp": upstream.Address}})
	for name, ask := range map[string]func() error{
		"RCPT": func() error {
			_, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("ada@peer.example")})
			return err
		},
		"DATA": func() error {
			_, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To("ada@peer.example")}, strings.NewReader(letter))
			return err
		},
	} {
		if f := backends.AsFailure(ask()); f == nil || f.Temporary() || f.Reply().Code != "5.4.6" {
			t.Errorf("%s: %v", name, f)
		}
	}
	if len(upstream.Received()) > 0 {
		t.Error("delivered")
	}
}

// TestDeliverySettings: one way in, and none that nobody can go.
func TestDeliverySettings(t *testing.T) {
	for raw, problem := range map[string]string{
		`"delivery": {"smtp": "mx.example"}`:                                    "",
		`"delivery": {"smtp": "mx.example", "tls": "starttls"}`:                 "",
		`"delivery": {"smtp": "mx.example", "tls": "implicit"}`:                 "",
		`"delivery": {"smtp": "mx.example"}, "recipients": ["@peer.example"]`:   "",
		`"delivery": {"smtp": "mx.example", "lmtp": "lmtp.example"}`:            "delivery: lmtp and smtp are both set",
		`"delivery": {"smtp": "mx.example", "append": true}`:                    "delivery: append and a server are both set",
		`"delivery": {"smtp": "/run/smtp"}`:                                     "delivery.smtp: expected host",
		`"delivery": {"smtp": "mx.example", "tls": "sometimes"}`:                "delivery.tls: expected one of",
		`"recipients": ["@peer.example"]`:                                       "recipients: says who gets mail, and nothing says how",
		`"recipients": []`:                                                      "recipients: says who gets mail, and nothing says how",
		`"recipients": ["ada@peer.example"], "delivery": {"folder": "Other"}`:   "recipients: says who gets mail, and nothing says how",
		`"recipients": ["@peer.example"], "delivery": {"lmtp": "l.example:24"}`: "",
	} {
		t.Run(raw, func(t *testing.T) {
			err := imap.New().Configure(t.Context(), backends.Settings{Raw: []byte(`{"address": "x", ` + raw + `}`), Check: true})
			if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
				t.Errorf("got %v, want %q", err, problem)
			}
		})
	}
}

// TestResolveTellsTheAccount: a mailbox of the list is an account's own, with a detail, too, by the id
// that its login has; a domain of the list, or a server that is asked, does not tell.
func TestResolveTellsTheAccount(t *testing.T) {
	upstream := (&fakesmtp.Server{}).Start(t)
	server := fakeimap.Start(t, &fakeimap.Server{})
	for _, c := range []struct {
		list any
		want string
	}{
		{[]string{"ada@peer.example"}, "ada@peer.example"},
		{[]string{"@peer.example"}, ""},
		{nil, ""},
	} {
		settings := map[string]any{"delivery": map[string]any{"smtp": upstream.Address}}
		if c.list != nil {
			settings["recipients"] = c.list
		}
		s := storeOf(t, server, settings)
		verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("Ada+scan@peer.example"), Accounts: true})
		if err != nil || verdicts[0].Failure != nil || verdicts[0].Account != c.want {
			t.Errorf("%v: %+v, %v", c.list, verdicts, err)
		}
	}
}
