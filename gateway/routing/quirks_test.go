package routing_test

import (
	"errors"
	netsmtp "net/smtp"
	"net/textproto"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
)

const allQuirks = routing.QuirkEmptyFields | routing.QuirkNoFrom | routing.QuirkNoHeader

// logIn is alice's connection to a submission server, on a real socket.
func logIn(t *testing.T, g *gateway) *netsmtp.Client {
	t.Helper()
	c, err := netsmtp.Dial(serve(t, smtp.Submission, routing.NewSubmission(g.options)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Auth(netsmtp.PlainAuth("", "alice@sakes.example", "sesame", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	return c
}

// transmit sends a message as it is, and gives the reply that is not good.
func transmit(t *testing.T, c *netsmtp.Client, from, to, message string) string {
	t.Helper()
	err := errors.Join(c.Mail(from), c.Rcpt(to))
	if err == nil {
		w, e := c.Data()
		if e != nil {
			t.Fatal(e)
		}
		if _, e = w.Write([]byte(message)); e != nil {
			t.Fatal(e)
		}
		err = w.Close()
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		if e := c.Reset(); e != nil {
			t.Fatal(e)
		}
		return reply.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

// TestDevices: mail of devices and scripts arrives with what a message has to have, and their own
// text is not touched; without the quirk it is refused, and never taken half.
func TestDevices(t *testing.T) {
	const to = "bob@sakes.example"
	only := []string{"alice@sakes.example"}
	several := []string{"alice@sakes.example", "alias@sakes.example"}
	for _, c := range []struct {
		name      string
		addresses []string
		from      string
		message   string
		added     string // what of the message is added or kept, before Date and Message-ID
		body      string
		refused   string // without quirks
	}{
		{"empty Sender", only, "alice@sakes.example", "From: alice@sakes.example\r\nSender:\r\n\r\nB\r\n", "From: alice@sakes.example\r\n", "B\r\n", "550"},
		{"empty Date", only, "alice@sakes.example", "Date: \r\nFrom: alice@sakes.example\r\n\r\nB\r\n", "From: alice@sakes.example\r\n", "B\r\n", ""},
		{"no From", only, "alice@sakes.example", "Subject: x\r\n\r\nB\r\n", "Subject: x\r\nFrom: alice@sakes.example\r\n", "B\r\n", "550"},
		{"no From, and the path is another of the account's", several, "alias@sakes.example", "Subject: x\r\n\r\nB\r\n", "Subject: x\r\nFrom: alias@sakes.example\r\n", "B\r\n", "550"},
		{"no From, no path, one address", only, "", "Subject: x\r\n\r\nB\r\n", "Subject: x\r\nFrom: alice@sakes.example\r\n", "B\r\n", "550"},
		{"a blank first line", only, "alice@sakes.example", "\r\nFrom: bob@far.example\r\nB\r\n", "From: alice@sakes.example\r\n", "From: bob@far.example\r\nB\r\n", "550"},
		{"text behind a blank", only, "alice@sakes.example", " On battery\r\nsince: 5\r\n", "From: alice@sakes.example\r\n", " On battery\r\nsince: 5\r\n", "550"},
		{"From is a name", only, "alice@sakes.example", "From: Scanner\r\nSubject: x\r\n\r\nB\r\n", "From: Scanner <alice@sakes.example>\r\nSubject: x\r\n", "B\r\n", "550"},
		{"From is a name and empty brackets", only, "", "from: =?utf-8?q?B=C3=BCro?= <>\r\n\r\nB\r\n", "from: =?utf-8?q?B=C3=BCro?= <alice@sakes.example>\r\n", "B\r\n", "550"},
		{"From is a name with a comma", only, "alice@sakes.example", "From: Scanner, 2nd\r\n \"floor\"\r\n\r\nB\r\n", `From: "Scanner, 2nd \"floor\"" <alice@sakes.example>` + "\r\n", "B\r\n", "550"},
		{"text alone", only, "alice@sakes.example", "On battery\r\n", "From: alice@sakes.example\r\n", "On battery\r\n", "550"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, quirks := range []routing.Quirks{allQuirks, 0} {
				g := newGateway(t)
				g.options.Quirks = quirks
				g.sakes.account = backends.Account{ID: "alice-id", Address: c.addresses[0], Addresses: c.addresses}
				got := transmit(t, logIn(t, g), c.from, to, c.message)
				if quirks == 0 {
					if !strings.HasPrefix(got, c.refused) || (g.sakes.has(to) == 0) != (c.refused != "") {
						t.Errorf("without the quirk: %q, %d copies", got, g.sakes.has(to))
					}
					continue
				}
				if got != "" || g.sakes.has(to) != 1 {
					t.Fatalf("%q, %d copies", got, g.sakes.has(to))
				}
				header, body, _ := strings.Cut(g.sakes.copies[to][0], "\r\n\r\n")
				_, dated, found := strings.Cut(header+"\r\n", c.added+"Date: ")
				if !found || body != c.body || strings.Count(dated, "\r\n") != 2 || !strings.Contains(dated, "\r\nMessage-ID: <") || strings.Contains(header, "Sender") {
					t.Errorf("got %q and %q", header, body)
				}
			}
		})
	}
}

// TestFromThatIsNoName: what may be meant as an address is not made a name, and the refusal tells what
// belongs there.
func TestFromThatIsNoName(t *testing.T) {
	for _, from := range []string{"root@", "<scanner>", "Scanner <scanner>", "bob at far", "@far.example", "Scanner @ far.example", "Bob: ;"} {
		g := newGateway(t)
		g.options.Quirks = allQuirks
		g.sakes.account = backends.Account{ID: "alice-id", Addresses: []string{"alice@sakes.example"}}
		got, text := sendText(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example"}, "From: "+from+"\r\n\r\nB\r\n")
		if from == "bob at far" { // words
			if got != "250" || !strings.Contains(g.sakes.copies["bob@sakes.example"][0], "From: bob at far <alice@sakes.example>\r\n") {
				t.Errorf("%q: %s %s", from, got, text)
			}
			continue
		}
		if got != "550 5.6.0" || !strings.Contains(text, "alice@sakes.example") {
			t.Errorf("%q: %s %s", from, got, text)
		}
	}
}

// TestRefusalsNameTheSender: who sets a device up reads which sender was refused, and which would do.
func TestRefusalsNameTheSender(t *testing.T) {
	many := []string{"alice@sakes.example", "a1@sakes.example", "a2@sakes.example", "a3@sakes.example", "a4@sakes.example"}
	for _, c := range []struct {
		name      string
		addresses []string
		path      string
		message   string
		want      []string
	}{
		{"MAIL", []string{"alice@sakes.example"}, "scanner@sakes.example", letter, []string{"550 5.7.1", "scanner@sakes.example", "to alice@sakes.example"}},
		{"From", []string{"alice@sakes.example"}, "alice@sakes.example", "From: scanner@sakes.example\r\n\r\n", []string{"550 5.7.1", "scanner@sakes.example in the From field", "to alice@sakes.example"}},
		{"no From", []string{"alice@sakes.example"}, "alice@sakes.example", "Subject: x\r\n\r\n", []string{"550 5.6.0", "no From field", "to alice@sakes.example"}},
		{"many", many, "x@sakes.example", letter, []string{"a2@sakes.example", "2 more"}},
		{"a domain", []string{"@shared.example", "alice@far.example"}, "x@sakes.example", letter, []string{"to any address @shared.example"}},
		{"twice", []string{"alice@sakes.example", "ALICE@sakes.example"}, "x@sakes.example", letter, []string{"to alice@sakes.example"}},
		{"none", nil, "x@sakes.example", letter, []string{"ask the administrator"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.account = backends.Account{ID: "alice-id", Addresses: c.addresses}
			got, text := sendText(t, g.submission(), c.path, []string{"bob@sakes.example"}, c.message)
			for _, want := range c.want {
				if !strings.Contains(got+" "+text, want) {
					t.Errorf("%q is not in %s %s", want, got, text)
				}
			}
			if len(text) > 512-100 || strings.Contains(text, "far.example") || strings.Contains(text, "ALICE") || strings.Contains(text, "a3@") {
				t.Errorf("it says %s", text)
			}
		})
	}
	g := newGateway(t)
	if got, text := sendText(t, g.mx(), "x@far.example", []string{"y@far.example"}, letter); got != "550 5.7.1" || !strings.Contains(text, "submission port") {
		t.Errorf("relaying: %s %s", got, text)
	}
}

// TestAuthorUnknown: where nobody says who wrote a message, it is not guessed.
func TestAuthorUnknown(t *testing.T) {
	for name, addresses := range map[string][]string{
		"several addresses": {"alice@sakes.example", "alias@sakes.example"},
		"a domain":          {"alice@sakes.example", "@shared.example"},
		"none":              {},
		"beyond ASCII":      {"älice@sakes.example"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.options.Quirks = allQuirks
			g.sakes.account = backends.Account{ID: "alice-id", Addresses: addresses}
			// A transaction without SMTPUTF8.
			if got := send(t, g.submission(), "", []string{"bob@sakes.example"}, "Subject: x\r\n\r\n"); got != "550 5.6.0" {
				t.Errorf("got %q", got)
			}
		})
	}
}
