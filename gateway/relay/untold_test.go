//go:build linux

package relay_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

func refuses(paths ...string) *fakesmtp.Server {
	return &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		for _, p := range paths {
			if p == path {
				return "550 5.1.1 no such user"
			}
		}
		return ""
	}}
}

// TestReportThatHasNoWay: recipients of whose failure nobody could be told are held, with the outcome, and the log says
// what to do. Released when there is a route, they are tried, and the sender is told.
func TestReportThatHasNoWay(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", refuses("gone@far.example", "secret@far.example"))
	m := letter("k1", "gone@far.example", "a@far.example", "secret@far.example")
	m.Envelope.From = "ada@nowhere.example"
	m.Recipients[1].Notify = backends.NotifySuccess
	m.Recipients[2].Notify = backends.NotifyNever
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "gone@far.example held 5.1.1", "a@far.example delivered 2.0.0", "secret@far.example failed 5.1.1")
	if len(w.reports) > 0 {
		t.Errorf("there are reports: %+v", w.reports)
	}
	w.queue.mu.Lock()
	w.waiting[0].message.Envelope.From, w.waiting[0].pending.State = "ada@near.example", spool.Uncertain
	w.waiting[0].pending.Due = w.clock.Now()
	w.change()
	w.queue.mu.Unlock()
	w.finish(t)
	if w.is(t, "k1", "gone@far.example failed 5.1.1", "a@far.example delivered 2.0.0", "secret@far.example failed 5.1.1"); len(w.reports) != 1 {
		t.Errorf("%d reports", len(w.reports))
	}
	w.end()
	for _, want := range []string{
		`"outcome":"held"`, `"level":"error"`, `"key":"k1"`, `"from":"ada@nowhere.example"`, "release", `no route leads to \"nowhere.example\"`,
	} {
		if !strings.Contains(w.logged(), want) {
			t.Errorf("%s is not in the log", want)
		}
	}
}

// TestExpiredWithoutAWay: what was tried for too long is held, too.
func TestExpiredWithoutAWay(t *testing.T) {
	w := newWorld(t, far)
	m := letter("k1", "a@far.example")
	m.Envelope.From, m.Received = "ada@nowhere.example", begin.Add(-6*24*time.Hour)
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example held 4.4.7")
}

// TestReportOnAHeldRoute: a report to whom nothing is let out is held like any other mail there.
func TestReportOnAHeldRoute(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", refuses("gone@far.example"))
	m := letter("k1", "gone@far.example")
	m.Envelope.From = "ada@kept.example"
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 || w.reports[0].Recipients[0].State != spool.Held {
		t.Errorf("the reports are %+v", w.reports)
	}
}

// TestReportThatIsRefused: of a report nobody is told, so that the log has all that is needed to find the message that
// it was about, and it is counted.
func TestReportThatIsRefused(t *testing.T) {
	w := newWorld(t, far+`
		near.example.     MX 10 mx.near.example.
		mx.near.example.  A 192.0.2.3
	`)
	w.at(t, "192.0.2.1:25", refuses("gone@far.example"))
	w.at(t, "192.0.2.3:25", refuses("ada@near.example"))
	m := letter("k1", "gone@far.example")
	m.Envelope.From = "ada@near.example"
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 {
		t.Fatalf("%d reports", len(w.reports))
	}
	told := w.reports[0]
	w.add(told.Message, told.content)
	w.finish(t)
	w.end()
	if w.is(t, told.Key, "ada@near.example failed 5.1.1"); len(w.reports) != 1 {
		t.Errorf("%d reports", len(w.reports))
	}
	for _, want := range []string{
		`"report":"` + told.Key + `"`, // beside the key of the message that it is about
		`"level":"error","key":"` + told.Key + `"`, `"about":"<1@sakes.example>"`,
	} {
		if !strings.Contains(w.logged(), want) {
			t.Errorf("%s is not in the log", want)
		}
	}
	untold := 0
	for _, e := range w.events {
		if e.Kind == relay.Untold {
			untold++
		}
	}
	if untold != 1 {
		t.Errorf("%d recipients are counted of whose failure nobody is told", untold)
	}
}

// TestReportWithoutTheMessage: a report is made whatever can be read of the message, and what cannot costs nobody else.
func TestReportWithoutTheMessage(t *testing.T) {
	for name, broken := range map[string]func(c *content){
		"it is damaged":       func(c *content) { c.fails = spool.ErrDamaged },
		"it cannot be opened": func(c *content) { c.fails = errors.New("input/output error") },
		"it cannot be read":   func(c *content) { c.cut = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.breaks = func(c *content) {
				if c.key == "k1" {
					broken(c)
				}
			}
			for _, key := range []string{"k1", "k2"} {
				m := letter(key, "a@nodomain.example")
				m.Envelope.From = "ada@near.example"
				w.add(m, text)
			}
			w.run(t)
			w.finish(t)
			if len(w.reports) != 2 || count(w, "Action: failed") != 2 || count(w, "Subject: x") != 1 {
				t.Errorf("the reports are %+v", w.reports)
			}
		})
	}
}

// TestReportOfAMessageThatIsAway: a database that is away for some seconds, as after a crash, costs a report nothing of its message.
func TestReportOfAMessageThatIsAway(t *testing.T) {
	w := newWorld(t, "")
	w.breaks = func(c *content) { c.away = 6 } // one is for the log
	m := letter("k1", "a@nodomain.example")
	m.Envelope.From = "ada@near.example"
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if len(w.reports) != 1 || count(w, "Action: failed") != 1 || count(w, "Subject: x") != 1 {
		t.Errorf("the reports are %+v", w.reports)
	}
}

// TestReportThatIsTooLarge: a report that its way would not take has the header alone, or nothing of the message.
func TestReportThatIsTooLarge(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 200)
	for name, c := range map[string]struct{ content, has, lacks string }{
		"a long body":   {text + long, "Subject: x\r\n", "hello"},
		"a long header": {"X-Long: " + strings.ReplaceAll(long, "\r\n", "\r\n ") + "\r\n" + text, "Action: failed\r\n", "Subject: x\r\n"},
		"a short one":   {text, "hello\r\n", "\r\nX-Long"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.at(t, "192.0.2.1:25", refuses("gone@far.example"))
			m := letter("k1", "gone@far.example")
			m.Envelope.From, m.Envelope.Return = "ada@small.example", backends.ReturnFull
			w.add(m, c.content)
			w.run(t)
			w.finish(t)
			if len(w.reports) != 1 || !strings.Contains(w.reports[0].content, c.has) || strings.Contains(w.reports[0].content, c.lacks) {
				t.Errorf("the reports are %+v", w.reports)
			}
		})
	}
}

// TestCopyForTheAdministrator: reports on failures of some classes go to the administrator, too.
func TestCopyForTheAdministrator(t *testing.T) {
	for name, c := range map[string]struct {
		to, class string
		want      string
	}{
		"the class":     {"postmaster@near.example", "5.1", "ada@sakes.example store:sakes, postmaster@near.example near.example"},
		"another class": {"postmaster@near.example", "5.7", "ada@sakes.example store:sakes"},
		"no way":        {"postmaster@nowhere.example", "5.1", "ada@sakes.example store:sakes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.relay.Reports = func() reports.Settings {
				return reports.Settings{Language: "de", Copies: notice.Copies{To: c.to, Classes: []string{c.class}}}
			}
			w.at(t, "192.0.2.1:25", refuses("gone@far.example"))
			w.add(letter("k1", "gone@far.example"), text)
			w.run(t)
			w.finish(t)
			var to []string
			for _, r := range w.reports {
				for _, recipient := range r.Recipients {
					if recipient.Notify != backends.NotifyNever {
						t.Errorf("%+v", recipient)
					}
					to = append(to, recipient.Address+" "+recipient.Destination)
				}
			}
			if got := strings.Join(to, ", "); got != c.want || len(w.reports) != 1 {
				t.Fatalf("reports go to %s", got)
			}
			if !strings.Contains(w.reports[0].content, "\r\nSubject: Ihre Nachricht wurde nicht zugestellt\r\n") {
				t.Errorf("the report is not in the language that is set:\n%s", w.reports[0].content)
			}
			if told := strings.Contains(w.logged(), "relay.report_to"); told != (name == "no way") {
				t.Errorf("the log has it: %t", told)
			}
		})
	}
}
