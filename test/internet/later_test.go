//go:build linux

package internet

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// play starts a server of a test's at an address of Chris's host.
func (w *world) play(t *testing.T, address, name string, s *fakesmtp.Server) *fakesmtp.Server {
	t.Helper()
	s.Listen, s.Name, s.Offers = address+":25", name, []string{"PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES"}
	w.chris.do(t, func() { s.Start(t) })
	return s
}

// awaitAt waits for the only message at a server.
func awaitAt(t *testing.T, s *fakesmtp.Server, to, sent string) {
	t.Helper()
	harness.Eventually(t, patience, "the message for "+to, func() bool { return len(s.Received()) > 0 })
	for _, m := range s.Received() {
		if len(m.Paths) != 1 || m.Paths[0] != to {
			t.Errorf("the recipients are %q, want %s", m.Paths, to)
		}
		arrivedWhole(t, to, []byte(m.Content), sent)
	}
	if n := len(s.Received()); n != 1 {
		t.Errorf("%s has %d copies", to, n)
	}
}

// attempts waits for so many attempts to deliver to somebody that were put off, from a place in the log on.
func (w *world) attempts(t *testing.T, place, n int, to string) {
	t.Helper()
	harness.Eventually(t, patience, "the attempts", func() bool {
		seen := 0
		for _, e := range w.gateway.Log.Since(place) {
			if e.Field("event") == "relay" && e.Field("recipient") == to && e.Field("outcome") == "deferred" {
				seen++
			}
		}
		return seen >= n
	})
}

// hostThatIsDown: nothing answers for more than three quarters of an hour of the relay's usual schedule. George is told
// of the delay, and the message arrives with the next attempt.
func (w *world) hostThatIsDown(t *testing.T) {
	george, zoe := "george@sakes.example", "zoe@down.example"
	place := w.gateway.Log.Len()
	sent := letter(george, "<"+zoe+">", "to a host that is down", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{zoe}, EightBit: true}, strings.NewReader(sent))
	report := string(w.at(george).await(t, zoe, "Action: delayed"))
	for _, want := range []string{"Return-Path: <>", "Reporting-MTA: dns; kifissia.sakes.example", "Status: 4.4.1", "Will-Retry-Until: "} {
		if !strings.Contains(report, want) {
			t.Errorf("the notice lacks %q:\n%s", want, report)
		}
	}
	w.attempts(t, place, 3, zoe)
	awaitAt(t, w.play(t, down, "mx.down.example", &fakesmtp.Server{}), zoe, sent)
	if n := w.at(george).count(t, zoe, "Action: "); n != 1 {
		t.Errorf("George has %d reports", n)
	}
}

// secondHost: the host of the best preference does not answer, so the next one gets the mail at once.
func (w *world) secondHost(t *testing.T) {
	george, zoe := "george@sakes.example", "zoe@two.example"
	place := w.gateway.Log.Len()
	second := w.play(t, second, "second.two.example", &fakesmtp.Server{})
	sent := letter(george, "<"+zoe+">", "to two hosts", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{zoe}, EightBit: true}, strings.NewReader(sent))
	awaitAt(t, second, zoe, sent)
	for _, e := range w.gateway.Log.Since(place) {
		if e.Field("event") == "relay" && e.Field("recipient") == zoe && e.Field("outcome") != "relayed" {
			t.Errorf("it was no single attempt: %s", e.Text)
		}
	}
}

// greylisting: a server puts off whom it does not know, and takes the message when it comes again.
func (w *world) greylisting(t *testing.T) {
	george, zoe := "george@sakes.example", "zoe@grey.example"
	place := w.gateway.Log.Len()
	var known atomic.Bool
	server := w.play(t, grey, "mx.grey.example", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string {
		if known.Swap(true) {
			return ""
		}
		return "450 4.2.0 greylisted, try again later"
	}})
	sent := letter(george, "<"+zoe+">", "to a greylist", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{zoe}, EightBit: true}, strings.NewReader(sent))
	w.attempts(t, place, 1, zoe)
	awaitAt(t, server, zoe, sent)
	if n := w.at(george).count(t, zoe, "Action: failed"); n != 0 {
		t.Errorf("George has %d reports", n)
	}
}
