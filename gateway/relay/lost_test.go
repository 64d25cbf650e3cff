//go:build linux

package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// What Exchange's Internet Mail Service is known to have lost on its way out, by the numbers of Microsoft's articles.

const firstWait = 15 * time.Minute

// TestHostThatIsDownForATime: of several hosts one was down for a time, and mail was dropped, or returned at once
// (Q267245).
func TestHostThatIsDownForATime(t *testing.T) {
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
	w.advance(firstWait)
	w.finish(t)
	if server.Copies(text)["a@far.example"] != 1 || len(w.reports) > 0 {
		t.Errorf("the server has %v, and the sender is told %v", server.Received(), w.reports)
	}
}

// TestRefusalOfOneIsNotOfAll: 552 for one recipient was taken for an answer to all of them, and nobody got the message
// (Q260741).
func TestRefusalOfOneIsNotOfAll(t *testing.T) {
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
}

// TestReportOnALargeMessage: a report with the message inside was larger than what may be sent, so that nobody was told
// (Q246051).
func TestReportOnALargeMessage(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"SIZE 1000000"}})
	m := letter("k1", "a@far.example")
	m.Envelope.Return = backends.ReturnFull
	w.add(m, text+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000))
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 || len(w.reports[0].content) > 10_000 {
		t.Errorf("%d reports", len(w.reports))
	}
}

// TestReportOnVeryManyRecipients: nobody was told when there were more recipients than a number of two octets counts
// (Q272672). The reports name all of them, each a part.
func TestReportOnVeryManyRecipients(t *testing.T) {
	const recipients = 2_100
	w := newWorld(t, "")
	var to []string
	for i := range recipients {
		to = append(to, fmt.Sprintf("u%d@nodomain.example", i))
	}
	m := letter("k1", to...)
	m.Envelope.From = "ada@near.example"
	w.add(m, text)
	w.run(t)
	w.finish(t)
	keys := make(map[string]bool)
	for _, r := range w.reports {
		keys[r.Key] = len(r.Key) <= 64
	}
	if n := count(w, "\r\nAction: failed\r\n"); n != recipients || len(keys) != 3 {
		t.Errorf("the sender is told of %d, under %v", n, keys)
	}
}

// TestNullReversePathStays: the null reverse-path was written as <Unknown> (Q258999).
func TestNullReversePathStays(t *testing.T) {
	s := &store{answer: func(d backends.Delivery, _ string, err error) ([]backends.Verdict, error) { return taken(d), err }}
	w := newStoreWorld(t, s)
	w.relay.Routes = routes{
		"store:sakes": {Kind: relay.Store, Store: "sakes"}, "far.example": {Kind: relay.SmartHost, Servers: groups("mx.far.example:25")},
	}
	server := w.at(t, "mx.far.example:25", &fakesmtp.Server{})
	for _, m := range []spool.Message{letter("k1", "a@far.example"), local("k2", "a@sakes.example")} {
		m.Envelope.From = ""
		w.add(m, text)
	}
	w.run(t)
	w.finish(t)
	if all := strings.Join(server.Commands(), "\n"); !strings.Contains(all, "MAIL FROM:<>\n") {
		t.Errorf("the server was told\n%s", all)
	}
	if s.delivered[0].From != "" {
		t.Errorf("the store was told %q", s.delivered[0].From)
	}
}

// TestMessageThatCannotBeOpenedStays: what could not be opened was deleted (Q157684). It waits, is told in the log, and
// holds nobody up.
func TestMessageThatCannotBeOpenedStays(t *testing.T) {
	for name, broken := range map[string]func(c *content){
		"it cannot be opened": func(c *content) { c.fails = errors.New("too many open files") },
		"it cannot be read":   func(c *content) { c.cut = len(text) - 2 },
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{answer: func(d backends.Delivery, _ string, err error) ([]backends.Verdict, error) {
				if err != nil {
					return nil, err
				}
				return taken(d), nil
			}}
			w := newStoreWorld(t, s)
			w.relay.Routes = routes{
				"store:sakes": {Kind: relay.Store, Store: "sakes"}, "far.example": {Kind: relay.SmartHost, Servers: groups("mx.far.example:25")},
			}
			var mended atomic.Bool
			w.breaks = func(c *content) {
				if c.key == "k1" && !mended.Load() {
					broken(c)
				}
			}
			server := w.at(t, "mx.far.example:25", &fakesmtp.Server{})
			both := letter("k1", "a@far.example", "a@sakes.example")
			both.Recipients[1].Destination = "store:sakes"
			w.add(both, text)
			w.add(letter("k2", "b@far.example"), text)
			w.run(t)
			w.rest(t)
			for _, is := range w.states("k1") {
				if !strings.Contains(is, "waiting") && !strings.Contains(is, "uncertain") {
					t.Errorf("%s", is)
				}
			}
			w.is(t, "k2", "b@far.example delivered 2.0.0")
			mended.Store(true)
			w.advance(time.Hour)
			w.finish(t)
			w.is(t, "k1", "a@far.example delivered 2.0.0", "a@sakes.example delivered 2.0.0")
			if n := server.Copies(text)["a@far.example"]; n != 1 || len(w.reports) > 0 || !strings.Contains(w.logged(), `"outcome":"deferred"`) {
				t.Errorf("%d copies, and the sender is told %v", n, w.reports)
			}
		})
	}
}

// TestDamagedRowMakesNoDuplicates: a damaged queue was made anew, and all that was in it was sent again (Q312443). A row
// that cannot be read is held; the others are delivered once, before and after a restart.
func TestDamagedRowMakesNoDuplicates(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		db := databases.Open(t, o)
		folder := t.TempDir()
		const messages = 4
		for run := range 2 {
			s, err := spool.Open(t.Context(), spool.Options{Log: zerolog.New(w), DB: db, Folder: folder, Reserve: 1, Poll: 10 * time.Millisecond, FreshOctets: 1})
			if err != nil {
				t.Fatal(err)
			}
			if run == 0 {
				for i := range messages {
					accept(t, s, letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i)), text)
				}
				err := db.Write(t.Context(), func(tx *state.Tx) error {
					_, err := tx.Exec("UPDATE spool_messages SET envelope = '{' WHERE key = 'k1'")
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			} else {
				accept(t, s, letter("last", "last@far.example"), text)
			}
			again := newWorld(t, far)
			again.hosts = w.hosts
			again.relay.Queue, again.relay.Now = relay.FromSpool(s), time.Now
			again.run(t)
			want := messages - 1 + run
			harness.Eventually(t, time.Minute, "the others are delivered", func() bool { return len(server.Received()) >= want })
			again.end()
			held, err := s.List(t.Context(), spool.Filter{States: []spool.State{spool.Held}}, 0, 10)
			if err != nil || len(held) != 1 || held[0].Odd == "" {
				t.Errorf("held are %+v, %v", held, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		copies := server.Copies(text)
		for _, path := range []string{"u0@far.example", "u2@far.example", "u3@far.example", "last@far.example"} {
			if copies[path] != 1 {
				t.Errorf("%s has %d copies", path, copies[path])
			}
		}
		if len(server.Received()) != messages || !strings.Contains(w.logged(), "is held") {
			t.Errorf("the server has %d messages", len(server.Received()))
		}
	})
}

// TestLoopEndsWithAReport: what would come back to the gateway itself, by DNS, by a greeting, or by what another server
// says of it, is given up, and its sender is told (RFC 5321 §5.1, §6.3).
func TestLoopEndsWithAReport(t *testing.T) {
	w := newWorld(t, two+`
		ours.example.  MX 10 gate.example.
		gate.example.  A 192.0.2.9
		back.example.  MX 10 mx.back.example.
		mx.back.example.  A 192.0.2.3
	`)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Name: "gate.example"})
	w.at(t, "192.0.2.3:25", &fakesmtp.Server{End: func(fakesmtp.Transaction, string) string {
		return "554 5.4.6 this message has come back here too often, it is in a loop"
	}})
	domains := []string{"ours.example", "far.example", "back.example"}
	for _, domain := range domains {
		w.add(letter(domain, "a@"+domain), text)
	}
	w.run(t)
	w.finish(t)
	for _, domain := range domains {
		w.is(t, domain, "a@"+domain+" failed 5.4.6")
	}
	if n := count(w, "\r\nStatus: 5.4.6\r\n"); n != len(domains) || len(w.reports) != n {
		t.Errorf("the sender is told of %d", n)
	}
}
