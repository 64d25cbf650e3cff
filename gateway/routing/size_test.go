package routing_test

import (
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// told says a line and returns the whole reply.
func told(t *testing.T, c *textproto.Conn, format string, args ...any) string {
	t.Helper()
	if format != "" {
		if err := c.PrintfLine(format, args...); err != nil {
			t.Fatal(err)
		}
	}
	code, text, err := c.ReadResponse(0)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", code, text)
}

func dial(t *testing.T, address string) *textproto.Conn {
	t.Helper()
	c, err := textproto.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	told(t, c, "")
	return c
}

// TestStoreMessageSize: what a store says of the largest message that it takes is told with SIZE
// and holds at MAIL, at RCPT and at the end of the message (RFC 1870 §6.1).
func TestStoreMessageSize(t *testing.T) {
	letterOf := func(octets int) string {
		head := "Subject: x\r\n\r\n"
		line := strings.Repeat("x", 70) + "\r\n"
		body := strings.Repeat(line, (octets-len(head))/len(line)+1)[:octets-len(head)-2] + "\r\n"
		return head + strings.ReplaceAll(body, "\rx", "xx")
	}
	for _, test := range []struct {
		name       string
		sakes, tea int64 // of the stores; 0: none of their own
		size       string
		mail       int
		mailReply  string
		rcpt       string // of bob@sakes.example
		octets     int    // of the message that is sent where RCPT was good
		data       string
	}{
		{"no limits", 0, 0, "SIZE 52428800", 60_000, "250", "250", 60_000, "250"},
		{"one store has none", 1000, 0, "SIZE 52428800", 900, "250", "250", 900, "250"},
		{"declared, more than the recipient's store takes", 1000, 0, "SIZE 52428800", 1001, "250", "552 5.3.4", 0, ""},
		{"not declared, more than the recipient's store takes", 1000, 0, "SIZE 52428800", 0, "250", "250", 60_000, "552 5.3.4"},
		{"the larger is told", 20_000, 10_000, "SIZE 20000", 20_000, "250", "250", 20_000, "250"},
		{"declared, more than any takes", 20_000, 10_000, "SIZE 20000", 20_001, "552 5.3.4", "", 0, ""},
		{"not declared, more than any takes", 20_000, 10_000, "SIZE 20000", 0, "250", "250", 20_001, "552 5.3.4"},
		{"as much as a number can say", 1<<63 - 1, 0, "SIZE 52428800", 60_000, "250", "250", 60_000, "250"},
		{"more than the gateway takes", 1 << 40, 1 << 40, "SIZE 52428800", 52428801, "552 5.3.4", "", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.sakes.limits.MessageSize, g.tea.limits.MessageSize = test.sakes, test.tea
			c := dial(t, serve(t, smtp.MX, routing.NewMX(g.options)))
			if got := told(t, c, "EHLO far.example"); !strings.Contains(got+"\n", "\n"+test.size+"\n") {
				t.Errorf("EHLO: %q, want %s", got, test.size)
			}
			mail := "MAIL FROM:<carol@far.example>"
			if test.mail > 0 {
				mail += fmt.Sprintf(" SIZE=%d", test.mail)
			}
			if got := told(t, c, "%s", mail); !strings.HasPrefix(got, test.mailReply) {
				t.Errorf("MAIL: %q, want %s", got, test.mailReply)
			}
			if test.rcpt == "" {
				return
			}
			if got := told(t, c, "RCPT TO:<bob@sakes.example>"); !strings.HasPrefix(got, test.rcpt) {
				t.Errorf("RCPT: %q, want %s", got, test.rcpt)
			}
			if test.data == "" {
				return
			}
			told(t, c, "DATA")
			if got := told(t, c, "%s", letterOf(test.octets)+"."); !strings.HasPrefix(got, test.data) {
				t.Errorf("the end of the message: %q, want %s", got, test.data)
			}
			want := 0
			if test.data == "250" {
				want = 1
			}
			if n := g.sakes.has("bob@sakes.example"); n != want {
				t.Errorf("bob has %d copies", n)
			}
		})
	}
}

// TestStoreMessageSizeOfTheSender: an account whose store sends for it is told that store's limit.
func TestStoreMessageSizeOfTheSender(t *testing.T) {
	g := newGateway(t)
	g.options.Router.Swap(g.table(
		stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Default: true, Sends: true}.In(storestest.In(sender{receiver{g.sakes}})),
		stores.Config{Name: "tea", Domains: []string{"tea.example"}}.In(storestest.In(receiver{g.tea})),
	))
	g.sakes.limits, g.tea.limits = backends.Limits{MessageSize: 5000}, backends.Limits{MessageSize: 9000}
	c := dial(t, serve(t, smtp.Submission, routing.NewSubmission(g.options)))
	if got := told(t, c, "EHLO client.example"); !strings.Contains(got, "SIZE 9000") {
		t.Errorf("before the login: %q", got)
	}
	if got := told(t, c, "AUTH PLAIN AGFsaWNlQHNha2VzLmV4YW1wbGUAc2VzYW1l"); !strings.HasPrefix(got, "235") {
		t.Fatal(got)
	}
	if got := told(t, c, "EHLO client.example"); !strings.Contains(got, "SIZE 5000") {
		t.Errorf("after the login: %q", got)
	}
	if got := told(t, c, "MAIL FROM:<alice@sakes.example> SIZE=5001"); !strings.HasPrefix(got, "552 5.3.4") {
		t.Errorf("MAIL: %q", got)
	}
}
