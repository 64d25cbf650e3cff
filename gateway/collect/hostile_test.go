//go:build linux

package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakepop3"
)

// TestKeeps: a server that confirms that messages are removed, and has them still, does not have them delivered again: neither in the
// sessions of a run nor in later ones.
func TestKeeps(t *testing.T) {
	for name, s := range map[string]*fakepop3.Server{"": {}, "without unique-ids": {NoUIDL: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			s.Keeps = true
			s.Start(t)
			a := account(s.Address)
			many := 5
			if !s.NoUIDL {
				many += sessionMost // more than one session
			}
			for n := range many {
				s.Put(mail(fmt.Sprint("m", n), "Envelope-To: anna@sakes.example"))
			}
			for range 3 {
				if _, err := w.collect(a); err != nil {
					t.Error(err)
				}
				w.clock = w.clock.Add(time.Hour)
			}
			if got := len(w.store.Messages("anna", "")); got != many || len(w.keys) != many { // not every store knows its keys again
				t.Errorf("%d messages were delivered in %d deliveries, not %d", got, len(w.keys), many)
			}
			s.Take(func(string) bool { return true })
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
			known, err := w.c.ledger.entries(t.Context(), a.Name)
			if err != nil {
				t.Error(err)
			}
			for id, e := range known {
				if e.gone.IsZero() {
					t.Errorf("%s is remembered for good: %+v", id, e)
				}
			}
		})
	}
}

// TestHeadersAlike: of two messages whose headers say nothing of which they are, the one that has the other's unique-id now is not removed
// unread.
func TestHeadersAlike(t *testing.T) {
	w := newWorld(t, state.Options{Folder: databases.Folder(t)})
	s := (&fakepop3.Server{Placed: true, After: func(session int, c string) string {
		if session == 1 && c == "QUIT" {
			return fakepop3.Close
		}
		return ""
	}}).Start(t)
	a := account(s.Address)
	alike := func(body string) string { return "To: anna@sakes.example\r\nSubject: scan\r\n\r\n" + body + "\r\n" }
	s.Put(alike("one"))
	a.To, a.Headers = "anna@sakes.example", nil
	_, _ = w.collect(a)
	s.Put(alike("two"))
	for range 2 {
		if _, err := w.collect(a); err != nil {
			t.Error(err)
		}
	}
	w.expect("anna", "scan scan")
	left(t, s, 0)
	if known, err := w.c.ledger.entries(t.Context(), a.Name); err != nil || len(known) > 0 {
		t.Errorf("what is gone is remembered: %v, %v", known, err)
	}
}

// TestOneIsFull: mail for a mailbox that is full does not keep the others' from them.
func TestOneIsFull(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	w.refuse = func(d backends.Delivery) error {
		if d.Recipients[0].Address == "anna@sakes.example" {
			return backends.Fail(backends.OverQuota, "full")
		}
		return nil
	}
	a := account(s.Address)
	for n := range 2 * refusalsMost {
		s.Put(mail(fmt.Sprint("m", n), "Envelope-To: anna@sakes.example"))
	}
	s.Put(mail("other", "Envelope-To: bert@sakes.example"))
	if count, err := w.collect(a); err != nil || count.Aside != 2*refusalsMost {
		t.Errorf("%+v, %v", count, err)
	}
	w.expect("bert", "other")
	left(t, s, 2*refusalsMost)
}

// TestNoGoodbye: a server that closes at QUIT without an answer, and has removed what it was to, has done its work.
func TestNoGoodbye(t *testing.T) {
	w := newWorld(t, state.Options{Folder: databases.Folder(t)})
	s := (&fakepop3.Server{After: func(_ int, c string) string {
		if c == "QUIT" {
			return fakepop3.Close
		}
		return ""
	}}).Start(t)
	s.Put(mail("one", "Envelope-To: anna@sakes.example"))
	for range 2 {
		if _, err := w.collect(account(s.Address)); err != nil {
			t.Error(err)
		}
	}
	w.expect("anna", "one")
	left(t, s, 0)
}

// TestOtherMailbox: an account that is another mailbox from now on, whose server has the same unique-ids, gives that one's mail; and what
// is in both is there once.
func TestOtherMailbox(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w := newWorld(t, o)
		both := mail("both", "Envelope-To: anna@sakes.example")
		for _, own := range []string{"one", "two"} {
			s := (&fakepop3.Server{}).Start(t)
			s.Put(mail(own, "Envelope-To: anna@sakes.example"), both)
			a := account(s.Address)
			a.LeaveForEver, a.Schedule.Every, a.User, a.Settings = true, 24*time.Hour, own, own
			w.c.Use([]*Account{a})
			w.ended(t, a)
		}
		w.expect("anna", "both one two")
	})
}

// ended waits for the end of a run, and has one begin if none is due.
func (w *world) ended(t *testing.T, a *Account) {
	t.Helper()
	if _, err := w.c.Start(t.Context(), []string{a.Name}); err != nil {
		t.Fatal(err)
	}
	var last Status
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		all, err := w.c.All(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if last = all[0]; last.Mailbox == a.mailbox() && !last.Running {
			return
		}
	}
	t.Fatalf("%+v", last)
}

// TestClockSetBack: what was to be tried after a time that is far off now, as the clock was wrong, is tried.
func TestClockSetBack(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	a := account(s.Address)
	refuse := func(backends.Delivery) error { return backends.Fail(backends.OverQuota, "full") }
	w.refuse = refuse
	s.Put(mail("one", "Envelope-To: anna@sakes.example"))
	right := w.clock
	w.clock = w.clock.Add(365 * 24 * time.Hour)
	if _, err := w.collect(a); err != nil {
		t.Error(err)
	}
	w.clock, w.refuse = right, nil
	if _, err := w.collect(a); err != nil {
		t.Error(err)
	}
	w.expect("anna", "one")
	k := &keeper{Collector: w.c, account: a, began: right}
	if due := k.due(Status{Stopped: right.Add(8760 * time.Hour), Next: right.Add(8761 * time.Hour)}); due.Sub(right) > a.Schedule.Every {
		t.Errorf("it is collected at %s", due)
	}
}

// noRemoval is a folder whose server removes no single messages.
type noRemoval struct{ backends.Maildrop }

// Remove implements [backends.Maildrop].
func (noRemoval) Remove(context.Context, []backends.MessageID, backends.Disposal) ([]backends.Removal, error) {
	return nil, backends.Fail(backends.Unsupported, "use the mark disposal")
}

// TestNoRemoval: that messages cannot be removed is told with what an account's configuration has for it.
func TestNoRemoval(t *testing.T) {
	s := &dropSource{opened: Opened{Maildrop: noRemoval{}}, marked: []item{{id: "1.1"}}}
	if removed, err := s.finish(t.Context()); len(removed) > 0 || err == nil || !strings.Contains(err.Error(), "leave: for-ever") || strings.Contains(err.Error(), "mark") {
		t.Errorf("%v, %v", removed, err)
	}
}

// TestFetchedEvent: the event of a collected message has its fields in the shapes that "dipylon track" reads.
func TestFetchedEvent(t *testing.T) {
	w, s := newWorld(t, state.Options{Folder: databases.Folder(t)}), (&fakepop3.Server{}).Start(t)
	s.Put(mail("one", "Envelope-To: anna@sakes.example, bert@sakes.example"))
	if _, err := w.collect(account(s.Address)); err != nil {
		t.Error(err)
	}
	found := 0
	for line := range strings.Lines(w.log.String()) {
		var e track.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if e.Event == events.Fetched && e.Recipients == 2 {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d events", found)
	}
}

// TestBadWithoutIDs: where there are no unique-ids a message at which the connection breaks, or that the server does not give, or that is too
// large, holds nothing up that is behind it: it is set aside by its place, stays, and is collected once it can be read.
func TestBadWithoutIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		server *fakepop3.Server
		most   int64
	}{
		"the connection breaks": {server: &fakepop3.Server{Content: func(_ int, stuffed string) string {
			if strings.Contains(stuffed, "Subject: bad") {
				return stuffed[:len(stuffed)/2] // and then it is silent
			}
			return stuffed
		}}},
		"it is not given": {server: &fakepop3.Server{Reply: func(_ int, c string) string {
			if c == "RETR 2" {
				return "-ERR [SYS/TEMP] cannot read it\r\n"
			}
			return ""
		}}},
		"it is too large": {server: &fakepop3.Server{}, most: 150},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, state.Options{Folder: databases.Folder(t)})
			s := tt.server
			s.NoUIDL = true
			s.Start(t)
			a := account(s.Address)
			a.Secure.Timeout = 200 * time.Millisecond
			if tt.most > 0 {
				a.MessageMost = tt.most
			}
			bad := mail("bad", "Envelope-To: anna@sakes.example", "X-Fill: "+strings.Repeat("x", 100))
			s.Put(mail("one", "Envelope-To: anna@sakes.example"), bad)
			for n := range 20 {
				s.Put(mail(fmt.Sprint("m", n+10), "Envelope-To: bert@sakes.example"))
			}
			for range 2 {
				_, _ = w.collect(a)
			}
			if n := len(w.store.Messages("bert", "")); n != 20 {
				t.Errorf("%d of 20 behind it were collected", n)
			}
			w.expect("anna", "one")
			left(t, s, 1)
			aside, err := Aside(t.Context(), w.db, a.Name)
			if err != nil || len(aside) != 1 || !aside[0].Again.After(w.clock) {
				t.Errorf("%+v, %v", aside, err)
			}
			before := s.Retrieved()
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
			if again := s.Retrieved() - before; again > 0 {
				t.Errorf("it was read %d times before it was due", again)
			}
			s.Content, s.Reply, a.MessageMost = nil, nil, 1<<20
			w.clock = w.clock.Add(48 * time.Hour)
			if _, err := w.collect(a); err != nil {
				t.Error(err)
			}
			w.expect("anna", "bad one")
			left(t, s, 0)
			if aside, err := Aside(t.Context(), w.db, a.Name); err != nil || len(aside) > 0 {
				t.Errorf("%+v, %v", aside, err)
			}
			if len(w.keys) != 22 {
				t.Errorf("%d deliveries", len(w.keys))
			}
		})
	}
}
