//go:build linux

package e2e

import (
	"crypto/tls"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// schema reads the table of events: which fields each may have.
func schema(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../gateway/events/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z_]+)`")
	events := make(map[string][]string)
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		var fields []string
		for _, n := range names.FindAllStringSubmatch(cells[4], -1) {
			fields = append(fields, n[1])
		}
		events[names.FindStringSubmatch(cells[1])[1]] = fields
	}
	return events
}

// once fails where an object of the log has a field twice.
func once(t *testing.T, e harness.Entry) {
	t.Helper()
	if names := regexp.MustCompile(`[{,]"([a-z_]+)":`).FindAllString(e.Text, -1); len(names) != len(e.Fields) {
		t.Errorf("a field stands twice, in %s", e.Text)
	}
}

// TestEventsOfSubmission: of a message from an account to another, delivery tells the sender's account and
// the recipient's store.
func TestEventsOfSubmission(t *testing.T) {
	t.Parallel()
	known := schema(t)
	g := harness.Start(t, harness.Options{})
	anna, bert := g.AddUser(t, "anna"), g.AddUser(t, "bert")
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(anna.Address, anna.Password); err != nil {
		t.Fatal(err)
	}
	g.Log.Wait(t, 0, `"event":"login"`, `"protocol":"submissions"`, `"outcome":"accepted"`)
	content := "From: " + anna.Address + "\r\nSubject: x\r\n\r\nx\r\n"
	if _, err := s.Send(harness.Envelope{From: anna.Address, To: []string{bert.Address}}, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	e := g.Log.Wait(t, 0, `"event":"delivery"`)
	once(t, e)
	if e.Field("account") != anna.Address || e.Field("recipient") != bert.Address || e.Field("store") == "" {
		t.Errorf("the delivery is told of as %s", e.Text)
	}
	for field := range e.Fields {
		if !slices.Contains(known["delivery"], field) && !slices.Contains([]string{"event", "level", "time", "message"}, field) {
			t.Errorf("the field %s is not in the schema: %s", field, e.Text)
		}
	}
}

// TestEventsOfTheLog has the life of a message in the log, each event once, with the fields that the
// schema's page names and no others.
func TestEventsOfTheLog(t *testing.T) {
	t.Parallel()
	known := schema(t)
	g := harness.Start(t, harness.Options{More: harness.Mapping{"log": harness.Mapping{"level": "debug"}}})
	erika := g.AddUser(t, "erika")

	c := harness.Dial(t, g.Address("pop3"), nil)
	c.Expect("+OK")
	c.Ask("USER "+erika.Address, "-ERR")
	c.Close()
	harness.Dial(t, g.Address("pop3"), nil).Close() // a health check
	for _, wrong := range []string{erika.Address, "nobody@" + harness.Domain} {
		if _, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), wrong, "bidFq-guess"); err == nil || !strings.Contains(err.Error(), "(session ") {
			t.Errorf("a wrong login: %v", err)
		}
	}
	deliver(t, g, erika, []byte("Message-ID: <one@events.example>\r\nSubject: one\r\n\r\nHello.\r\n"))
	p := login(t, g, erika)
	if _, err := p.Retr(1); err != nil {
		t.Fatal(err)
	}
	if err := p.Dele(1); err != nil {
		t.Fatal(err)
	}
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	g.Log.Wait(t, 0, `"event":"session_end"`, `"deleted":1`)

	seen := make(map[string][]harness.Entry)
	for _, e := range g.Log.Since(0) {
		event := e.Field("event")
		if event == "" {
			continue
		}
		seen[event] = append(seen[event], e)
		once(t, e)
		for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
			if !slices.Contains(known[event], field) && !slices.Contains([]string{"event", "level", "time", "message"}, field) {
				t.Errorf("%s has the field %s, which is not in the schema: %s", event, field, e.Text)
			}
		}
	}
	one := func(event string, wanted map[string]string) harness.Entry {
		t.Helper()
		var found []harness.Entry
		for _, e := range seen[event] {
			fits := true
			for name, value := range wanted {
				fits = fits && e.Field(name) == value
			}
			if fits {
				found = append(found, e)
			}
		}
		if len(found) != 1 {
			t.Fatalf("%d lines of %s with %v, out of %v", len(found), event, wanted, seen[event])
		}
		return found[0]
	}
	one("login", map[string]string{"outcome": "insecure", "mechanism": "USER", "protocol": "pop3"})
	one("login", map[string]string{"outcome": "refused", "cause": "bad credentials: a wrong password", "protocol": "pop3s"})
	one("login", map[string]string{"outcome": "refused", "cause": "bad credentials: no such user"})
	one("login", map[string]string{"outcome": "accepted", "user": erika.Address})
	in := one("message_in", nil)
	delivery := one("delivery", map[string]string{"outcome": "delivered", "recipient": erika.Address, "message_id": "<one@events.example>"})
	if in.Field("transaction") == "" || in.Field("transaction") != delivery.Field("transaction") {
		t.Errorf("the message came in under %q and was delivered under %q", in.Field("transaction"), delivery.Field("transaction"))
	}
	out := one("message_out", map[string]string{"message_id": "<one@events.example>"})
	one("deletion", map[string]string{
		"message_id": "<one@events.example>", "uidl": out.Field("uidl"), "id": out.Field("id"),
		"outcome": "removed", "session": out.Field("session"), "account": erika.Address,
	})
	end := one("session_end", map[string]string{"user": erika.Address, "session": out.Field("session")})
	if end.Field("tls_version") != "TLS 1.3" || end.Field("tls_cipher") == "" {
		t.Errorf("the session's end does not tell its TLS: %s", end.Text)
	}
	one("plugin", map[string]string{"outcome": "ready"})
	quiet := 0
	for _, e := range seen["session_end"] {
		if n, _ := e.Fields["octets_in"].(float64); n == 0 {
			quiet++
			if e.Field("level") != "debug" {
				t.Errorf("a connection without an octet is at level %s", e.Field("level"))
			}
		}
	}
	if quiet != 1 {
		t.Errorf("%d connections without an octet are told of, want 1", quiet)
	}
	for event := range seen {
		if known[event] == nil {
			t.Errorf("the schema has no event %s", event)
		}
	}
}

// TestEventsOfThoseWhoDoNotGetIn: what a person sees who cannot log in, for TLS or for the want of it, is
// in the log once; and who asks what there is has not been refused.
func TestEventsOfThoseWhoDoNotGetIn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	for name, test := range map[string]struct {
		listener string
		lines    string
		reply    string
		wanted   []string // in the one line of the log that has the event; none: there is no such line
		event    string
	}{
		"capabilities, then off": {"pop3", "CAPA\r\n", "STLS", nil, "login"},
		"USER and PASS": {
			"pop3", "USER ada@example.org\r\nPASS x\r\n", "-ERR TLS is needed",
			[]string{`"outcome":"insecure"`, `"mechanism":"USER"`, `"user":"ada@example.org"`},
			"login",
		},
		"PASS alone":   {"pop3", "PASS x\r\n", "-ERR TLS is needed", []string{`"outcome":"insecure"`, `"mechanism":"PASS"`}, "login"},
		"AUTH of POP3": {"pop3", "AUTH PLAIN AGEAYg==\r\n", "-ERR TLS is needed", []string{`"outcome":"insecure"`, `"mechanism":"PLAIN"`}, "login"},
		"AUTH of submission": {
			"submission", "EHLO [192.0.2.1]\r\nAUTH PLAIN AGEAYg==\r\n", "538 5.7.11",
			[]string{`"outcome":"insecure"`, `"mechanism":"PLAIN"`},
			"login",
		},
		"QUIT of SMTP": {"smtp", "", "221 2.0.0", []string{`"reason":"quit"`}, "session_end"},
	} {
		t.Run(name, func(t *testing.T) {
			place := g.Log.Len()
			c := harness.Dial(t, g.Address(test.listener), nil)
			c.Expect("")
			c.Send("%sQUIT", test.lines)
			if said := c.ExpectClosed(); !strings.Contains(string(said), test.reply) {
				t.Errorf("%q", said)
			}
			end := g.Log.Wait(t, place, `"event":"session_end"`)
			var found []harness.Entry
			for _, e := range g.Log.Since(place) {
				if e.Field("event") == test.event && e.Field("session") == end.Field("session") {
					found = append(found, e)
				}
			}
			if len(found) != min(1, len(test.wanted)) {
				t.Fatalf("%d lines: %v", len(found), found)
			}
			for _, text := range test.wanted {
				if !strings.Contains(found[0].Text, text) {
					t.Errorf("no %s in %s", text, found[0].Text)
				}
			}
		})
	}
	for listener, command := range map[string]string{"pop3": "STLS", "smtp": "STARTTLS", "submission": "STARTTLS"} {
		for name, spoil := range map[string]func(conn net.Conn){
			"the certificate is refused": func(conn net.Conn) {
				_ = tls.Client(conn, &tls.Config{ServerName: "somebody.example"}).Handshake()
			},
			"no handshake":       func(conn net.Conn) { _, _ = conn.Write([]byte("NOOP\r\n")) },
			"the client is gone": func(net.Conn) {},
		} {
			t.Run(name+", "+command+" of "+listener, func(t *testing.T) {
				place := g.Log.Len()
				conn, err := net.Dial("tcp", g.Address(listener))
				if err != nil {
					t.Fatal(err)
				}
				c := harness.Over(t, conn)
				c.Expect("")
				c.Send("%s", command)
				c.Expect("")
				spoil(conn)
				c.Close()
				if e := g.Log.Wait(t, place, `"event":"session_end"`); e.Field("reason") != "tls" || e.Field("level") != "info" || e.Field("error") == "" {
					t.Errorf("told as %s", e.Text)
				}
			})
		}
	}
	for _, listener := range []string{"pop3s", "submissions"} {
		t.Run("the certificate is refused, "+listener, func(t *testing.T) {
			place := g.Log.Len()
			if c, err := tls.Dial("tcp", g.Address(listener), &tls.Config{ServerName: "somebody.example"}); err == nil {
				_ = c.Close()
				t.Fatal("the certificate was taken")
			}
			g.Log.Wait(t, place, `"level":"info"`, `"event":"session_end"`, `"protocol":"`+listener+`"`, `"reason":"tls"`, `"error":"remote error: tls: `)
		})
	}
}
