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
