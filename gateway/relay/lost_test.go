//go:build linux

package relay_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestHowMailWasLost: what Exchange's Internet Mail Service is known to have lost on its way out, by the numbers of
// Microsoft's articles.
func TestHowMailWasLost(t *testing.T) {
	// Several MX records, of which one host is down for a time: mail was dropped, or returned at once.
	t.Run("Q267245", func(t *testing.T) {
		w := newWorld(t, two)
		server := w.at(t, "192.0.2.2:25", &fakesmtp.Server{Greet: func(session int) string {
			if session == 1 {
				return "421 4.3.2 down for a moment"
			}
			return ""
		}})
		w.add(letter("k1", "a@far.example"), text)
		w.run(t)
		w.rest(t)
		w.is(t, "k1", "a@far.example waiting 4.3.2")
		w.advance(after)
		w.finish(t)
		if server.Copies(text)["a@far.example"] != 1 || len(w.reports) > 0 {
			t.Errorf("the server has %v, and the sender is told %v", server.Received(), w.reports)
		}
	})
	// 552 for one recipient was taken for an answer to all of them, and nobody got the message.
	t.Run("Q260741", func(t *testing.T) {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if path == "full@far.example" {
				return "552 5.2.2 mailbox full"
			}
			return ""
		}})
		w.add(letter("k1", "full@far.example", "a@far.example", "b@far.example"), text)
		w.run(t)
		w.finish(t)
		w.is(t, "k1", "full@far.example failed 5.2.2", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0")
		if copies := server.Copies(text); len(copies) != 2 || count(w, "Action: failed") != 1 {
			t.Errorf("the server has %v", copies)
		}
	})
	// A report with the message inside was larger than what may be sent, so that nobody was told.
	t.Run("Q246051", func(t *testing.T) {
		w := newWorld(t, far)
		w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"SIZE 1000000"}})
		m := letter("k1", "a@far.example")
		m.Envelope.Return = backends.ReturnFull
		w.add(m, text+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 200_000))
		w.run(t)
		w.finish(t)
		if len(w.reports) != 1 || len(w.reports[0].content) > 10_000 {
			t.Errorf("%d reports", len(w.reports))
		}
	})
	// The null reverse-path was written as <Unknown>, and reports about reports went round.
	t.Run("Q258999", func(t *testing.T) {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		m := letter("k1", "a@far.example")
		m.Envelope.From = ""
		w.add(m, text)
		w.run(t)
		w.finish(t)
		if all := strings.Join(server.Commands(), "\n"); !strings.Contains(all, "MAIL FROM:<>\n") {
			t.Errorf("the server was told\n%s", all)
		}
	})
}

const after = 15 * 60 * 1e9 // the first wait
