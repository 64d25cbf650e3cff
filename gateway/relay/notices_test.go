//go:build linux

package relay_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestReports: who is told of what, by NOTIFY and by whom the next server is.
func TestReports(t *testing.T) {
	const (
		never, success, failure, delay = backends.NotifyNever, backends.NotifySuccess, backends.NotifyFailure, backends.NotifyDelay
	)
	for name, c := range map[string]struct {
		offers []string
		reply  string
		notify backends.Notify
		from   string
		late   time.Duration // when the attempt is made, after the message was received
		action string        // empty: nobody is told
		status string
	}{
		"failed":                       {reply: "550 5.1.1 no such user", from: "ada@sakes.example", action: "failed", status: "5.1.1"},
		"failed, failures asked for":   {reply: "550 5.1.1 no", from: "ada@sakes.example", notify: failure, action: "failed", status: "5.1.1"},
		"failed, never":                {reply: "550 5.1.1 no such user", from: "ada@sakes.example", notify: never},
		"failed, of a report":          {reply: "550 5.1.1 no such user", from: ""},
		"delayed":                      {reply: "450 4.2.0 later", from: "ada@sakes.example", late: 4 * time.Hour, action: "delayed", status: "4.2.0"},
		"delayed, not yet":             {reply: "450 4.2.0 later", from: "ada@sakes.example", late: 4*time.Hour - time.Second},
		"delayed, not asked for":       {reply: "450 4.2.0 later", from: "ada@sakes.example", notify: failure, late: 4 * time.Hour},
		"delayed, asked for":           {reply: "450 4.2.0 later", from: "ada@sakes.example", notify: delay, late: 4 * time.Hour, action: "delayed", status: "4.2.0"},
		"expired":                      {reply: "450 4.2.0 later", from: "ada@sakes.example", late: 5 * 24 * time.Hour, action: "failed", status: "4.4.7"},
		"relayed":                      {from: "ada@sakes.example", notify: success, action: "relayed", status: "2.0.0"},
		"relayed, not asked for":       {from: "ada@sakes.example"},
		"relayed to a server with DSN": {offers: []string{"DSN"}, from: "ada@sakes.example", notify: success},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: c.offers, Rcpt: func(fakesmtp.Transaction, string) string { return c.reply }})
			m := letter("k1", "a@far.example")
			m.Envelope.From, m.Envelope.ID, m.Recipients[0].Notify = c.from, "E1", c.notify
			m.Received = begin.Add(-c.late)
			w.add(m, text)
			w.run(t)
			w.rest(t)
			if c.action == "" {
				if len(w.reports) > 0 {
					t.Fatalf("somebody is told:\n%s", w.reports[0].content)
				}
				return
			}
			if len(w.reports) != 1 {
				t.Fatalf("%d reports", len(w.reports))
			}
			told := w.reports[0]
			for _, want := range []string{
				"To: <ada@sakes.example>\r\n", "Action: " + c.action + "\r\n", "Status: " + c.status + "\r\n", "Final-Recipient: rfc822;a@far.example\r\n",
				"Reporting-MTA: dns; gate.example\r\n", "Original-Envelope-Id: E1\r\n", "Remote-MTA: dns; mx.far.example\r\n", "In-Reply-To: <1@sakes.example>\r\n",
			} {
				if !strings.Contains(told.content, want) {
					t.Errorf("%q is not in\n%s", want, told.content)
				}
			}
			if told.Envelope.From != "" || len(told.Recipients) != 1 || told.Recipients[0].Destination != "store:sakes" || told.Recipients[0].Notify != never {
				t.Errorf("the report's envelope is %+v", told.Message)
			}
		})
	}
}

// TestOneDelay: a sender is told once that it takes longer, and then what came of it.
func TestOneDelay(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return "452 4.2.0 later" }})
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	for range 200 {
		w.rest(t)
		if w.states("k1")[0] == "a@far.example failed 4.4.7" {
			break
		}
		w.advance(time.Hour)
	}
	w.is(t, "k1", "a@far.example failed 4.4.7")
	var actions []string
	for _, r := range w.reports {
		_, rest, _ := strings.Cut(r.content, "Action: ")
		actions = append(actions, rest[:strings.IndexByte(rest, '\r')])
	}
	if !slices.Equal(actions, []string{"delayed", "failed"}) {
		t.Errorf("the sender was told %v", actions)
	}
	// After 0, 1 (15 min), 2 (30 min) and 3 hours, every 4 hours, and a last time when 5 days are over.
	if n := server.Transactions(); n != 4+29+1 {
		t.Errorf("%d attempts", n)
	}
}

// TestSchedules: priorities have lives of their own.
func TestSchedules(t *testing.T) {
	for priority, days := range map[int]int{4: 2, 0: 5, -1: 7} {
		w := newWorld(t, far)
		w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return "450 4.2.0 later" }})
		for i, received := range []time.Duration{time.Duration(days)*24*time.Hour - time.Second, time.Duration(days) * 24 * time.Hour} {
			m := letter([]string{"young", "old"}[i], "a@far.example")
			m.Received, m.Envelope.Priority = begin.Add(-received), priority
			w.add(m, text)
		}
		w.run(t)
		w.rest(t)
		w.is(t, "young", "a@far.example waiting 4.2.0")
		w.is(t, "old", "a@far.example failed 4.4.7")
		w.queue.mu.Lock()
		if last := w.waiting[0].pending.Due; !last.Equal(begin.Add(time.Second)) {
			t.Errorf("priority %d: the last attempt is at %s", priority, last)
		}
		w.queue.mu.Unlock()
	}
}

// TestReportThatCannotBeStored: it leaves the message where it is, until it can be.
func TestReportThatCannotBeStored(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return "550 5.1.1 no" }})
	failures := 2
	w.fails = func() error {
		if failures--; failures >= 0 {
			return errors.New("the disk is full")
		}
		return nil
	}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.finish(t)
	if w.is(t, "k1", "a@far.example failed 5.1.1"); len(w.reports) != 1 || failures != -1 {
		t.Errorf("%d reports, %d failures left", len(w.reports), failures)
	}
}

// TestReportNeverNamesWhatIsSafe: nothing of a message that asks for REQUIRETLS comes back on a way that may be less
// safe (RFC 8689 §5).
func TestReportNeverNamesWhatIsSafe(t *testing.T) {
	w := newWorld(t, far)
	m := letter("k1", "a@far.example")
	m.Envelope.RequireTLS, m.Envelope.Return = true, backends.ReturnFull
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 || !strings.Contains(w.reports[0].content, "Status: 5.7.30") || strings.Contains(w.reports[0].content, "hello") ||
		strings.Contains(w.reports[0].content, "1@sakes.example") || w.reports[0].Envelope.RequireTLS {
		t.Errorf("the sender is told %+v", w.reports)
	}
	if len(w.dialed) > 0 {
		t.Errorf("dialed %v", w.dialed)
	}
}

// TestReportOfManyRecipients: one report for those who have failed, and the whole message where it is asked for.
func TestReportOfManyRecipients(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if path != "a@far.example" {
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	m := letter("k1", "a@far.example", "b@far.example", "c@far.example")
	m.Envelope.Return, m.Envelope.Body = backends.ReturnFull, backends.Body8BitMIME
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 {
		t.Fatalf("%d reports", len(w.reports))
	}
	told := w.reports[0]
	if strings.Count(told.content, "Action: failed") != 2 || !strings.Contains(told.content, "hello\r\n") || strings.Contains(told.content, "a@far.example") {
		t.Errorf("the sender is told\n%s", told.content)
	}
	if told.Envelope.Body != backends.Body7Bit || len(told.Key) > 64 || told.Received != w.clock.Now() {
		t.Errorf("the report is %+v", told.Message)
	}
}

var _ relay.Routes = routes{}

// TestReportsOfDevices: what becomes of a device's mail its owner is told, whatever the device asks for and whatever its
// reverse-path is, and whoever keeps devices.
func TestReportsOfDevices(t *testing.T) {
	for name, c := range map[string]struct {
		reply, from string
		notify      backends.Notify
		told        bool
	}{
		"failed":                       {reply: "550 5.1.1 no such user", from: "office@sakes.example", told: true},
		"failed, never to be told":     {reply: "550 5.1.1 no such user", from: "office@sakes.example", notify: backends.NotifyNever, told: true},
		"failed, from nobody":          {reply: "550 5.1.1 no such user", told: true},
		"relayed, and to be told that": {from: "office@sakes.example", notify: backends.NotifySuccess},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return c.reply }})
			failed := make(chan string, 1)
			w.relay.DeviceFailed = func(device, what string) { failed <- device + " " + what }
			m := letter("k1", "a@far.example")
			m.Envelope.From, m.Recipients[0].Notify = c.from, c.notify
			m.Origin = spool.Origin{Device: "scanner", Place: "2nd floor", Owner: "ada@sakes.example"}
			w.add(m, text)
			w.run(t)
			w.rest(t)
			if (len(w.reports) == 1) != c.told {
				t.Fatalf("%d reports", len(w.reports))
			}
			if !c.told {
				return
			}
			if noted := <-failed; noted != "scanner to a@far.example: 550 5.1.1 no such user" {
				t.Errorf("noted: %q", noted)
			}
			for _, want := range []string{"To: <ada@sakes.example>\r\n", "Subject: Mail of the device scanner was not delivered\r\n", "scanner (2nd floor)"} {
				if !strings.Contains(w.reports[0].content, want) {
					t.Errorf("%q is not in\n%s", want, w.reports[0].content)
				}
			}
		})
	}
}
