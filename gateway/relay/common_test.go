//go:build linux

package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// newCommonWorld is a relay with so many mailboxes that send through one store, each with one message.
func newCommonWorld(t *testing.T, s *transport, mailboxes int) (w *world, names []string) {
	t.Helper()
	w = newTransportWorld(t, s)
	w.relay.Connections = 8 // two of them for what is named
	table := routes{}
	for i := range mailboxes {
		name := fmt.Sprintf("route:m365:u%d@office.example", i)
		table[name] = relay.Route{Kind: relay.Transport, Store: "office", As: fmt.Sprintf("u%d@office.example", i), Common: "transport:office"}
		names = append(names, name)
	}
	w.relay.Routes = table
	for i, name := range names {
		w.add(to(name, letter(fmt.Sprint("k", i), "a@far.example")), text)
	}
	return w, names
}

// failing is a transport that fails so, as long as it is set.
type failing struct {
	transport
	why   atomic.Pointer[backends.Failure]
	tries atomic.Int32
}

func newFailing(f *backends.Failure) *failing {
	s := &failing{}
	s.why.Store(f)
	s.send = func(backends.Delivery) ([]backends.Verdict, error) {
		s.tries.Add(1)
		if f := s.why.Load(); f != nil {
			return nil, f
		}
		return nil, nil
	}
	return s
}

// TestCommonDown: where a store's transport fails for all, as its secret has expired or it refuses everybody, 100 mailboxes
// cost some attempts and not 200; after a while one message tries; and once it works all leave, each once. Mail by other ways
// leaves meanwhile.
func TestCommonDown(t *testing.T) {
	const mailboxes = 100
	for name, c := range map[string]struct {
		failure *backends.Failure
		first   int32 // attempts at the most: some are under way before the first one has failed
	}{
		"no token":             {backends.Fail(backends.Temporary, "secret expired").OfStore(), 6},
		"nobody is let in":     {backends.Fail(backends.BadCredentials, "no"), 6},
		"throttled, everybody": {backends.Fail(backends.Throttled, "slowly"), 6},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFailing(c.failure)
			w, _ := newCommonWorld(t, &s.transport, mailboxes)
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
			w.add(letter("other", "a@far.example"), text)
			w.run(t)
			told := func() int { return strings.Count(w.logged(), "as a whole takes no mail now") }
			harness.Eventually(t, await, "all wait", func() bool { return told() == 1 })
			w.rest(t)
			w.is(t, "other", "a@far.example delivered 2.0.0")
			if n := s.tries.Load(); n < 1 || n > c.first {
				t.Fatalf("%d attempts", n)
			}
			for i, wait := range []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute} {
				before := s.tries.Load()
				w.advance(wait - time.Second)
				w.rest(t)
				if n := s.tries.Load(); n != before {
					t.Fatalf("%d attempts before %s were over", n-before, wait)
				}
				w.advance(time.Second)
				harness.Eventually(t, await, "the probe has failed", func() bool { return told() == i+2 })
				w.rest(t)
				if n := s.tries.Load() - before; n != 1 {
					t.Fatalf("%d probes", n)
				}
			}
			s.why.Store(nil)
			w.advance(15 * time.Minute)
			harness.Eventually(t, await, "it works again", func() bool { return strings.Contains(w.logged(), "works again") })
			w.rest(t)
			w.advance(15 * time.Minute) // those that were tried have times of their own
			w.finish(t)
			sent := make(map[string]int)
			for _, d := range s.sent {
				sent[d.Key]++
			}
			if len(sent) != mailboxes || len(s.sent)-int(s.tries.Load()) > 0 {
				t.Errorf("%d messages of %d", len(sent), mailboxes)
			}
			if n := told(); n != 4 {
				t.Errorf("it is told %d times", n)
			}
			if len(w.reports) != 0 {
				t.Errorf("%d senders are told of it", len(w.reports))
			}
		})
	}
}

// TestCommonWorks: a mailbox that fails by itself is no matter of the others', also where it is the one that tries whether what
// they have in common works again: then another one tries.
func TestCommonWorks(t *testing.T) {
	var down atomic.Bool
	s := &transport{}
	s.bySender = func(as string) error {
		switch {
		case as == "impersonation of u0@office.example":
			return backends.Fail(backends.BadCredentials, "no such mailbox")
		case down.Load():
			return backends.Fail(backends.Temporary, "the issuer is away").OfStore()
		}
		return nil
	}
	w, names := newCommonWorld(t, s, 10)
	w.run(t)
	w.rest(t)
	for i := range names {
		want := "a@far.example delivered 2.0.0"
		if i == 0 {
			want = "a@far.example waiting 4.7.8"
		}
		w.is(t, fmt.Sprint("k", i), want)
	}
	if strings.Contains(w.logged(), "as a whole") {
		t.Error("all wait")
	}
	// All are down; when they are tried again, u0 is the only one with mail for a while.
	down.Store(true)
	w.add(to(names[1], letter("down", "a@far.example")), text)
	harness.Eventually(t, await, "all wait", func() bool { return strings.Contains(w.logged(), "as a whole") })
	w.rest(t)
	down.Store(false)
	w.advance(20 * time.Minute)
	w.add(to(names[2], letter("after", "a@far.example")), text)
	harness.Eventually(t, await, "it works again", func() bool {
		w.advance(5 * time.Second)
		return strings.Contains(w.logged(), "works again")
	})
	w.rest(t)
	w.advance(30 * time.Second)
	w.rest(t)
	w.is(t, "down", "a@far.example delivered 2.0.0")
	w.is(t, "after", "a@far.example delivered 2.0.0")
}

// TestCommonDownForTooLong: what waits for a store's transport that never works again is given up when its time is over, and its
// senders are told.
func TestCommonDownForTooLong(t *testing.T) {
	s := newFailing(backends.Fail(backends.Temporary, "secret expired").OfStore())
	w, _ := newCommonWorld(t, &s.transport, 5)
	w.run(t)
	w.rest(t)
	for range 6 * 24 {
		w.advance(time.Hour)
		w.rest(t)
	}
	for i := range 5 {
		w.is(t, fmt.Sprint("k", i), "a@far.example failed 4.4.7")
	}
	if n := s.tries.Load(); n > 6*24+10 {
		t.Errorf("%d attempts in six days", n)
	}
}

// TestCommonOfServer: mailboxes that log in at one server wait together where that is away, and where no token comes.
func TestCommonOfServer(t *testing.T) {
	var wrong atomic.Pointer[oauth.Error]
	tokens := smtpclient.Tokens{Token: func(context.Context) (string, error) {
		if e := wrong.Load(); e != nil {
			return "", e
		}
		return "token", nil
	}}
	w := newWorld(t, "")
	table := routes{}
	for i := range 20 {
		table[fmt.Sprintf("route:m365:u%d@office.example", i)] = relay.Route{
			Kind: relay.SmartHost, Servers: [][]string{{"smtp.office.example:587"}}, Auth: smtpclient.Token("u", tokens), Common: "route:m365",
			TLS: &smtpclient.TLS{Policy: smtpclient.Clear},
		}
	}
	w.relay.Routes, w.relay.Connections = table, 8
	wrong.Store(&oauth.Error{Kind: oauth.SecretExpired})
	server := w.at(t, "smtp.office.example:587", &fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}})
	for name := range table {
		w.add(to(name, letter(name, "a@far.example")), text)
	}
	down := func(n int) {
		t.Helper()
		harness.Eventually(t, await, "all wait", func() bool { return strings.Count(w.logged(), "as a whole") == n })
		w.rest(t)
	}
	w.run(t)
	down(1)
	if n := server.Connections(); n > 6 {
		t.Errorf("%d connections, and no token", n)
	}
	wrong.Store(nil)
	w.lead("smtp.office.example:587", "")
	w.advance(30 * time.Second)
	down(2)
	w.lead("smtp.office.example:587", server.Address)
	w.advance(time.Minute)
	harness.Eventually(t, await, "it works again", func() bool { return strings.Contains(w.logged(), "works again") })
	w.rest(t)
	w.advance(time.Hour)
	w.finish(t)
	if n := len(server.Received()); n != len(table) {
		t.Errorf("%d messages", n)
	}
}

// TestCommonOfSome: three mailboxes that are refused by themselves, with nothing delivered between, have all wait, and so does one for
// which the server seems to be away; but not for longer than somebody whom the server lets in needs to show that it works.
func TestCommonOfSome(t *testing.T) {
	for name, test := range map[string]struct {
		bad  int // mailboxes
		with error
	}{
		"blocked": {3, backends.Fail(backends.BadCredentials, "this mailbox is blocked")},
		"cut off": {1, backends.Fail(backends.Temporary, "the server has ended the connection").OfStore()},
	} {
		t.Run(name, func(t *testing.T) {
			s := &transport{}
			good := fmt.Sprintf("impersonation of u%d@office.example", test.bad)
			s.bySender = func(as string) error {
				if as == good {
					return nil
				}
				return test.with
			}
			w, names := newCommonWorld(t, s, test.bad+1)
			w.run(t)
			harness.Eventually(t, await, "all wait", func() bool {
				w.advance(30 * time.Second)
				w.rest(t)
				return strings.Contains(w.logged(), "as a whole")
			})
			for round := range 5 {
				key := fmt.Sprint("good", round)
				w.add(to(names[test.bad], letter(key, "a@far.example")), text)
				w.rest(t)
				for range 2 {
					w.advance(15 * time.Minute) // the longest back-off
					w.rest(t)
				}
				w.is(t, key, "a@far.example delivered 2.0.0")
			}
		})
	}
}

// TestCommonUntried: a message that never gets to the server, as it wants TLS that is not there, says nothing of what all wait for.
func TestCommonUntried(t *testing.T) {
	s := newFailing(backends.Fail(backends.Temporary, "secret expired").OfStore())
	w, names := newCommonWorld(t, &s.transport, 1)
	w.run(t)
	harness.Eventually(t, await, "all wait", func() bool { return strings.Contains(w.logged(), "as a whole") })
	w.rest(t)
	m := to(names[0], letter("secret", "a@far.example"))
	m.Envelope.RequireTLS = true
	w.add(m, text)
	w.rest(t)
	w.advance(30 * time.Second)
	w.rest(t)
	if strings.Contains(w.logged(), "works again") {
		t.Error("it is said to work again, and nothing was tried")
	}
}
