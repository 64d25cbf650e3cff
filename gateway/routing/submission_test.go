package routing_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

func TestLogin(t *testing.T) {
	for _, test := range []struct {
		name, mechanism string
		responses       []string
		onLogin         func(context.Context) error
		want            string
	}{
		{"PLAIN", "PLAIN", []string{"\x00alice@sakes.example\x00sesame"}, nil, ""},
		{"LOGIN", "LOGIN", []string{"alice@sakes.example", "sesame"}, nil, ""},
		{"bare name goes to the default store", "PLAIN", []string{"\x00alice\x00sesame"}, nil, ""},
		{"wrong password", "PLAIN", []string{"\x00alice\x00simsim"}, nil, "535 5.7.8"},
		{"unknown user", "PLAIN", []string{"\x00bob@sakes.example\x00sesame"}, nil, "535 5.7.8"},
		{"unknown domain", "PLAIN", []string{"\x00alice@far.example\x00sesame"}, nil, "535 5.7.8"},
		{"name that is none", "PLAIN", []string{"\x00@\x00sesame"}, nil, "535 5.7.8"},
		{"malformed", "PLAIN", []string{"alice"}, nil, "501 5.5.2"},
		{"no such mechanism", "NTLM", nil, nil, "504 5.5.4"},
		{"outage", "PLAIN", []string{"\x00alice\x00sesame"}, func(context.Context) error { return backends.Fail(backends.Temporary, "down") }, "454 4.7.0"},
		{"unknown error", "PLAIN", []string{"\x00alice\x00sesame"}, func(context.Context) error { return errors.New("boom") }, "454 4.7.0"},
		{"disabled", "PLAIN", []string{"\x00alice\x00sesame"}, func(context.Context) error { return backends.Fail(backends.Permanent, "off") }, "535 5.7.8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.onLogin = test.onLogin
			session, err := routing.NewSubmission(g.options).NewSession(t.Context(), conn())
			if err != nil {
				t.Fatal(err)
			}
			err = authenticate(t, session, test.mechanism, test.responses...)
			if got := ""; (err == nil) != (test.want == "") || err != nil && code(err) != test.want {
				t.Errorf("got %s %v, want %s", got, err, test.want)
			}
			mail := session.Mail(t.Context(), path(t, "alice@sakes.example"), mailOptions())
			if (mail == nil) != (test.want == "") || mail != nil && code(mail) != "530 5.7.0" {
				t.Errorf("MAIL: %v", mail)
			}
		})
	}
}

func TestSubmissionPasswordsNeedTLS(t *testing.T) {
	g := newGateway(t)
	g.options.PlaintextLogin = false
	var state *tls.ConnectionState
	session, err := routing.NewSubmission(g.options).NewSession(t.Context(), smtp.Conn{TLS: func() *tls.ConnectionState { return state }})
	if err != nil {
		t.Fatal(err)
	}
	if len(session.Mechanisms()) != 0 {
		t.Error("logins are offered without TLS")
	}
	if err := authenticate(t, session, "PLAIN", "\x00alice\x00sesame"); code(err) != "538 5.7.11" {
		t.Errorf("got %v", err)
	}
	state = &tls.ConnectionState{}
	if fmt.Sprint(session.Mechanisms()) != "[PLAIN LOGIN]" {
		t.Errorf("mechanisms: %v", session.Mechanisms())
	}
	if err := authenticate(t, session, "PLAIN", "\x00alice\x00sesame"); err != nil {
		t.Error(err)
	}
}

func TestReversePath(t *testing.T) {
	for from, want := range map[string]string{
		"alice@sakes.example":     "250",
		"ALICE@Sakes.Example":     "250",
		"alias@sakes.example":     "250",
		"whoever@shared.example":  "250",
		"":                        "250",
		"bob@sakes.example":       "550 5.7.1",
		"alice@far.example":       "550 5.7.1",
		"alice@x.shared.example":  "550 5.7.1",
		"alice+tag@sakes.example": "550 5.7.1",
	} {
		g := newGateway(t)
		if got := send(t, g.submission(), from, []string{"bob@sakes.example"}, letter); got != want {
			t.Errorf("<%s>: got %s, want %s", from, got, want)
		}
	}
}

func TestAccountWithoutAddressesSendsNothing(t *testing.T) {
	g := newGateway(t)
	g.sakes.account = backends.Account{ID: "alice-id", Addresses: []string{"", "@", "not an address"}}
	if got := send(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example"}, letter); got != "550 5.7.1" {
		t.Errorf("got %s", got)
	}
	if got := send(t, g.submission(), "", []string{"bob@sakes.example"}, letter); got != "550 5.7.1" {
		t.Errorf("null reverse-path: got %s", got)
	}
}

func TestSubmissionRcpt(t *testing.T) {
	for to, want := range map[string]string{
		"bob@sakes.example":              "250",
		"bob@tea.example":                "250",
		"postmaster":                     "250",
		"nobody@sakes.example":           "550 5.1.1",
		"bob@far.example":                "550 5.7.1",
		"bob%far.example@far.example":    "550 5.7.1",
		"@sakes.example:bob@far.example": "550 5.7.1",
	} {
		g := newGateway(t)
		if got := send(t, g.submission(), "alice@sakes.example", []string{to}, letter); got != want {
			t.Errorf("<%s>: got %s, want %s", to, got, want)
		}
	}
}

func TestSubmittedContent(t *testing.T) {
	const good = "From: alice@sakes.example\r\n"
	for _, test := range []struct{ name, message, want string }{
		{"good", good + "\r\nBody\r\n", "250"},
		{"foreign From", "From: bob@far.example\r\n\r\nBody\r\n", "550 5.7.1"},
		{"foreign Sender", good + "Sender: bob@far.example\r\n\r\nBody\r\n", "550 5.7.1"},
		{"no From", "Subject: x\r\n\r\nBody\r\n", "550 5.6.0"},
		{"two Froms", good + good + "\r\nBody\r\n", "550 5.6.0"},
		{"From that is none", "From: Alice\r\n\r\nBody\r\n", "550 5.6.0"},
		{"no header", "Hello\r\n", "550 5.6.0"},
		{"broken header", good + "Hello\r\nBcc: bob@far.example\r\n\r\nBody\r\n", "550 5.6.0"},
		{"header too large", good + strings.Repeat("X: "+strings.Repeat("x", 900)+"\r\n", 600) + "\r\nBody\r\n", "552 5.3.4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			if got := send(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example"}, test.message); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if n := len(g.sakes.delivered); (n == 1) != (test.want == "250") {
				t.Errorf("%d deliveries", n)
			}
		})
	}
}

// TestSubmitterThatIsNotBelieved: a store whose lists are closed to unauthenticated senders is not told that the
// submitter is one of its own people, because another store says so.
func TestSubmitterThatIsNotBelieved(t *testing.T) {
	g := newGateway(t)
	g.sakes.account = backends.Account{ID: "alice-id", Address: "eve@tea.example", Addresses: []string{"alice@sakes.example"}}
	if got := send(t, g.submission(), "alice@sakes.example", []string{"eve@tea.example"}, letter); got != "250" {
		t.Fatal(got)
	}
	want := backends.Submitter{Store: "sakes", Account: "alice-id"}
	if asked, told := g.tea.resolved[0].Submitter, g.tea.delivered[0].Submitter; asked != want || told != want {
		t.Errorf("RCPT is asked about for %+v, and the message is from %+v", asked, told)
	}
}

func TestSubmissionDelivery(t *testing.T) {
	g := newGateway(t)
	g.options.Buffers.MemoryMost = 100 // the header's end lies in the file
	body := strings.Repeat("Body\r\n", 1000) + "Bcc: not.a.header@far.example\r\n"
	message := "Bcc: eve@tea.example\r\nFrom: Alice <alice@sakes.example>\r\nSubject:  x\r\n\ty\r\n\r\n" + body
	if got := send(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example", "eve@tea.example"}, message); got != "250" {
		t.Fatal(got)
	}
	alice := backends.Submitter{Store: "sakes", Account: "alice-id", Address: "alice@sakes.example"}
	for _, store := range []*fakeStore{g.sakes, g.tea} {
		if asked, told := store.resolved[0].Submitter, store.delivered[0].Submitter; asked != alice || told != alice {
			t.Errorf("RCPT is asked about for %+v, and the message is from %+v; want %+v", asked, told, alice)
		}
	}
	got := g.sakes.copies["bob@sakes.example"][0]
	if got != g.tea.copies["eve@tea.example"][0] {
		t.Error("the copies differ")
	}
	parsed, err := mail.ReadMessage(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if date, err := parsed.Header.Date(); err != nil || time.Since(date) > time.Minute || time.Since(date) < -time.Minute {
		t.Errorf("date %v, %v", date, err)
	}
	if id := parsed.Header.Get("Message-Id"); id != "<"+g.sakes.delivered[0].Key+"@mail.sakes.example>" {
		t.Errorf("message id %q", id)
	}
	if rest, err := io.ReadAll(parsed.Body); err != nil || string(rest) != body {
		t.Error("the body was touched")
	}
	if !strings.HasPrefix(got, "Received: from client") || !strings.Contains(got, "\r\nFrom: Alice <alice@sakes.example>\r\nSubject:  x\r\n\ty\r\nDate: ") {
		t.Errorf("got %q", got[:400])
	}
}

func TestRetryAddsTheSameFields(t *testing.T) {
	g := newGateway(t)
	g.sakes.onResolve = nil
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.submission(), "alice@sakes.example", to, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	g.tea.before = nil
	if got := send(t, g.submission(), "alice@sakes.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	bob, eve := g.sakes.copies[to[0]], g.tea.copies[to[1]]
	if len(bob) != 1 || len(eve) != 1 {
		t.Fatalf("%d and %d copies", len(bob), len(eve))
	}
	_, a, _ := strings.Cut(bob[0], "From: ") // what stands before is this hop's trace
	_, b, _ := strings.Cut(eve[0], "From: ")
	if a != b {
		t.Errorf("%q and %q", a, b)
	}
}

// TestTwoAccountsWithTheSameMessage: one's unfinished attempt is none of the other's business.
func TestTwoAccountsWithTheSameMessage(t *testing.T) {
	g := newGateway(t)
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.submission(), "alias@sakes.example", to, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	g.tea.before = nil
	g.sakes.account.ID = "somebody-else"
	if got := send(t, g.submission(), "alias@sakes.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	if g.sakes.has(to[0]) != 2 {
		t.Errorf("bob has %d copies", g.sakes.has(to[0]))
	}
}

func TestStoreThatSends(t *testing.T) {
	g := newGateway(t)
	g.options.Router.Swap(g.table(
		stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Sends: true, Default: true}.In(storestest.In(sender{receiver{g.sakes}})),
		stores.Config{Name: "tea", Domains: []string{"tea.example"}}.In(storestest.In(receiver{g.tea})),
	))
	to := []string{"bob@sakes.example", "eve@tea.example", "zoe@far.example"}
	session := g.submission()
	if got := send(t, session, "alice@sakes.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	if len(g.sakes.sent) != 1 || len(g.sakes.delivered)+len(g.tea.delivered) != 0 || fmt.Sprint(backends.Addresses(g.sakes.sent[0].Recipients)) != fmt.Sprint(to) {
		t.Errorf("sent %+v", g.sakes.sent)
	}
	t.Run("uncertain is asked for, not sent blindly", func(t *testing.T) {
		g.sakes.after = func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
			return nil, backends.Fail(backends.Uncertain, "the connection broke after the final dot")
		}
		if got := send(t, session, "alice@sakes.example", to, letter+"2\r\n"); got != "451 4.4.2" {
			t.Fatal(got)
		}
		g.sakes.after = nil
		if got := send(t, session, "alice@sakes.example", to, letter+"2\r\n"); got != "250" {
			t.Fatal(got)
		}
		if first, second := g.sakes.sent[1], g.sakes.sent[2]; first.Retry || !second.Retry || first.Key != second.Key {
			t.Errorf("%+v, then %+v", first, second)
		}
		if n := g.sakes.has("zoe@far.example"); n != 2 {
			t.Errorf("zoe has %d copies of two messages", n)
		}
	})
	t.Run("From is checked all the same", func(t *testing.T) {
		if got := send(t, session, "alice@sakes.example", to, "From: bob@far.example\r\n\r\n"); got != "550 5.7.1" {
			t.Error(got)
		}
	})
	t.Run("unauthenticated clients do not get it", func(t *testing.T) {
		if got := send(t, g.mx(), "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "550 5.7.1" {
			t.Error(got)
		}
	})
	t.Run("what may not go out waits for nothing here", func(t *testing.T) {
		passes := false
		g.options.PassesOut = func() bool { return passes }
		session, sent := g.submission(), len(g.sakes.sent)
		if got := send(t, session, "alice@sakes.example", to, letter+"3\r\n"); got != "451 4.3.2" || len(g.sakes.sent) != sent {
			t.Errorf("for others: %s, %d were sent", got, len(g.sakes.sent)-sent)
		}
		if got := send(t, session, "alice@sakes.example", to[:2], letter+"4\r\n"); got != "250" {
			t.Errorf("for the stores: %s", got)
		}
		passes = true
		if got := send(t, session, "alice@sakes.example", to, letter+"3\r\n"); got != "250" {
			t.Errorf("in the same session, when it may: %s", got)
		}
	})
	t.Run("a store that says so and cannot", func(t *testing.T) {
		g.options.Router.Swap(g.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Sends: true}.In(storestest.In(receiver{g.sakes}))))
		if got := send(t, g.submission(), "alice@sakes.example", to, letter); got != "554 5.3.3" {
			t.Error(got)
		}
	})
}

func TestCloseForgetsWhoItWas(t *testing.T) {
	g := newGateway(t)
	g.options.Router.Swap(g.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Sends: true}.In(storestest.In(sender{receiver{g.sakes}}))))
	session := g.submission()
	if shown := g.sakes.seen.Secret; strings.Trim(string(shown), "\x00") != "" {
		t.Error("the password that the client sent stays in memory")
	}
	if got := send(t, session, "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "250" {
		t.Fatal(got)
	}
	password := g.sakes.seen.Secret // of the credential that was kept to send with
	if string(password) != "sesame" {
		t.Fatalf("the store was shown %q", password)
	}
	session.Close()
	if strings.Trim(string(password), "\x00") != "" {
		t.Error("the password stays in memory")
	}
	if err := session.Mail(t.Context(), path(t, "alice@sakes.example"), mailOptions()); code(err) != "530 5.7.0" {
		t.Errorf("got %v", err)
	}
}
