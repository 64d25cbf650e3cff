//go:build linux

package e2e

import (
	"maps"
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
		if _, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), wrong, "wrong"); err == nil || !strings.Contains(err.Error(), "(session ") {
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
	one("login", map[string]string{"outcome": "insecure", "mechanism": "USER"})
	one("login", map[string]string{"outcome": "refused", "cause": "bad credentials: a wrong password"})
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
