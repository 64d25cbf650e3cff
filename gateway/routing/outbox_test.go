package routing_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/spool"
)

// outgoing is a message in the outbox of the store sakes.
func outgoing(id string, to ...string) backends.Outgoing {
	return backends.Outgoing{ID: backends.MessageID(id), Envelope: backends.Envelope{From: "alice@sakes.example"}, Recipients: backends.To(to...), Size: -1}
}

// takeOver has the gateway take a message over from the store sakes.
func (q *queued) takeOver(m backends.Outgoing, content io.Reader) (routing.Handover, error) {
	q.t.Helper()
	store := q.options.Router.Table().StoreFor("sakes.example")
	return routing.NewOutbox(q.options).Take(q.t.Context(), store, m, content)
}

// mustTakeOver is takeOver of what can be taken.
func (q *queued) mustTakeOver(m backends.Outgoing, content string) routing.Handover {
	q.t.Helper()
	h, err := q.takeOver(m, strings.NewReader(content))
	if err != nil {
		q.t.Fatal(err)
	}
	if err := backends.CheckVerdicts(m.Recipients, h.Verdicts); err != nil {
		q.t.Fatal(err)
	}
	return h
}

// failed are the codes of the recipients that failed.
func failed(h routing.Handover) map[string]string {
	codes := make(map[string]string)
	for _, v := range h.Verdicts {
		if v.Failure != nil {
			codes[v.Recipient] = v.Failure.Code
		}
	}
	return codes
}

func TestOutbox(t *testing.T) {
	q := newQueued(t)
	m := outgoing("1", "bob@sakes.example", "Zoe@far.example", "zoe@FAR.example", "a@kept.example", "postmaster@tea.example")
	m.Recipients[1].Notify, m.Return = backends.NotifySuccess, backends.ReturnHeaders
	h := q.mustTakeOver(m, "Subject: Grüße\nBcc: secret@far.example\n\nBody\n")
	if len(failed(h)) > 0 || h.Verdicts[0].Action != backends.ActionRelayed {
		t.Errorf("%+v", h)
	}
	for destination, to := range map[string][]string{
		"far.example": {"Zoe@far.example", "zoe@far.example"}, "store:sakes": {"bob@sakes.example"}, "store:tea": {"postmaster@tea.example"}, "route:kept": nil,
	} {
		all := q.waiting(destination)
		if to == nil {
			if len(all) != 0 {
				t.Errorf("what is held is tried: %+v", all)
			}
			continue
		}
		if len(all) != 1 {
			t.Fatalf("for %s there are %d messages", destination, len(all))
		}
		d := all[0]
		if d.Key != h.Key || d.Envelope.From != "alice@sakes.example" || d.Envelope.Return != backends.ReturnHeaders ||
			d.Envelope.Body != backends.Body8BitMIME || d.Envelope.SMTPUTF8 || d.Envelope.Submitter.Store != "sakes" {
			t.Errorf("%+v", d.Envelope)
		}
		if len(d.Recipients) != len(to) || d.Recipients[0].Address != to[0] {
			t.Errorf("for %s: %+v", destination, d.Recipients)
		}
		text := contentOf(t, d)
		for _, want := range []string{"Received: by mail.sakes.example\r\n\tid " + h.Key, "\r\nSubject: Grüße\r\n", "\r\nFrom: alice@sakes.example\r\n", "\r\nDate: ", "\r\nMessage-ID: <", "\r\n\r\nBody\r\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if strings.Contains(text, "secret") {
			t.Errorf("Bcc goes out:\n%s", text)
		}
	}
}

// TestOutboxTwice (I2): a message that is handed over again is not sent again, even if it has left the queue; another
// one that its store has given the same id is.
func TestOutboxTwice(t *testing.T) {
	q := newQueued(t)
	m := outgoing("1", "zoe@far.example", "nobody@outbox.invalid")
	first := q.mustTakeOver(m, letter)
	for _, d := range append(q.waiting("far.example"), q.waiting("store:sakes")...) {
		if err := q.spool.Settle(t.Context(), spool.Result{Delivery: d, Outcomes: []spool.Outcome{{State: spool.Delivered}}}); err != nil {
			t.Fatal(err)
		}
	}
	again := q.mustTakeOver(m, letter)
	if first.Key != again.Key || len(failed(again)) != 1 {
		t.Errorf("%+v, then %+v", first, again)
	}
	if n := len(q.waiting("far.example")) + len(q.waiting("store:sakes")); n != 0 {
		t.Errorf("%d messages come again", n)
	}
	q.mustTakeOver(m, letter+"more\r\n")
	if n := len(q.waiting("far.example")); n != 1 {
		t.Errorf("another message is taken for one that had its id: %d", n)
	}
}

// TestOutboxRefused: what can never be sent is told to the author, and costs nobody else.
func TestOutboxRefused(t *testing.T) {
	q := newQueued(t)
	m := outgoing("1", "zoe@far.example", "a@never.example", "no address@", "none-given@outbox.invalid", "a%far.example@other.example", `"@sakes.example`)
	h := q.mustTakeOver(m, letter)
	want := map[string]string{
		"a@never.example": "5.7.1", "no address@": "5.1.3", "none-given@outbox.invalid": "5.1.2", "a%far.example@other.example": "5.1.3", `"@sakes.example`: "5.1.3",
	}
	if got := failed(h); len(got) != len(want) {
		t.Errorf("%v", got)
	} else {
		for to, code := range want {
			if got[to] != code {
				t.Errorf("%s: %q, want %q", to, got[to], code)
			}
		}
	}
	if n := len(q.waiting("far.example")); n != 1 {
		t.Errorf("%d messages for the one that something leads to", n)
	}
	reports := q.waiting("store:sakes")
	if len(reports) != 1 || reports[0].Envelope.From != "" || reports[0].Recipients[0].Address != "alice@sakes.example" {
		t.Fatalf("%+v", reports)
	}
	text := contentOf(t, reports[0])
	for _, want := range []string{"none-given@outbox.invalid", "5.7.1 nothing goes there", "Subject: x"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// TestOutboxOdd: a message that is refused as a whole is for nobody, and its author is told, if there is one.
func TestOutboxOdd(t *testing.T) {
	q := newQueued(t)
	q.options.SizeMost = 2000
	for name, c := range map[string]struct {
		from, content, code string
		reports             int
	}{
		"too large":      {"alice@sakes.example", letter + strings.Repeat("x\r\n", 1000), "5.3.4", 1},
		"a header":       {"alice@sakes.example", "Subject: x\r\nno field\r\n\r\n", "5.6.0", 1},
		"two authors":    {"alice@sakes.example", "From: a@b.example\r\nFrom: c@d.example\r\n\r\n", "5.6.0", 1},
		"a loop":         {"alice@sakes.example", strings.Repeat("Received: by mail.sakes.example; x\r\n", 20) + letter, "5.4.6", 1},
		"no sender":      {"alice at sakes", letter, "5.1.7", 0},
		"nobody's":       {"", "Subject: x\r\n\r\n", "5.6.0", 0},
		"a far author's": {"alice@never.example", "Subject: x\r\nno field\r\n\r\n", "5.6.0", 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := outgoing(name, "zoe@far.example", "bob@tea.example")
			m.From = c.from
			if got := failed(q.mustTakeOver(m, c.content)); got["zoe@far.example"] != c.code || got["bob@tea.example"] != c.code {
				t.Errorf("%v", got)
			}
			if n := len(q.waiting("far.example")) + len(q.waiting("store:tea")); n != 0 {
				t.Errorf("it goes to %d destinations", n)
			}
			if n := len(q.waiting("store:sakes")); n != c.reports {
				t.Errorf("there are %d reports", n)
			}
		})
	}
}

// TestOutboxForms: what local programs write is a message, too.
func TestOutboxForms(t *testing.T) {
	q := newQueued(t)
	for name, content := range map[string]string{
		"nothing": "", "a text": "hello\nworld\n", "a header": "Subject: x\n", "a name": "From: Cron Daemon\n\nx\n", "a mailbox's line": "From alice Mon Jan  1 00:00:00 2024\nSubject: x\n\nx\n",
	} {
		if got := failed(q.mustTakeOver(outgoing(name, "zoe@far.example"), content)); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
		all := q.waiting("far.example")
		if len(all) != 1 {
			t.Fatalf("%s: %d messages", name, len(all))
		}
		if text := contentOf(t, all[0]); !strings.Contains(text, "alice@sakes.example") || strings.Contains(text, "\r\nFrom alice") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// TestOutboxAuthors: programs of a machine write addresses without a domain, and of a message that nobody is to hear of
// the account is the author.
func TestOutboxAuthors(t *testing.T) {
	q := newQueued(t)
	for content, want := range map[string]string{
		"From: \"(Cron Daemon)\" <root>\n\nx\n":            "From: \"(Cron Daemon)\" <root@sakes.example>\r\n",
		"From: <root>\nSender: root (Cron)\n\nx\n":         "From: <root@sakes.example>\r\nSender: <root@sakes.example>\r\n",
		"From: a@far.example\nSender: b <root>\n\nx\n":     "From: a@far.example\r\nSender: b <root@sakes.example>\r\n",
		"From: MAILER-DAEMON\n\nx\n":                       "From: MAILER-DAEMON <alice@sakes.example>\r\n",
		"Subject: x\n\nx\n":                                "\r\nFrom: alice@sakes.example\r\n",
		"From: a <b>, <c@far.example>, d@e.example\n\nx\n": "From: a <b>, <c@far.example>, d@e.example\r\n",
	} {
		for _, from := range []string{"alice@sakes.example", ""} {
			m := outgoing(content+from, "zoe@far.example")
			m.From, m.Submitter.Address = from, "alice@sakes.example"
			got, all := failed(q.mustTakeOver(m, content)), q.waiting("far.example")
			if len(got) != 0 || len(all) != 1 || !strings.Contains(contentOf(t, all[0]), want) {
				t.Errorf("%q: %q is not there in %d messages, %v", content, want, len(all), got)
			}
		}
	}
}

// TestOutboxLater: what cannot be taken now stays the store's, whole.
func TestOutboxLater(t *testing.T) {
	q := newQueued(t)
	m := outgoing("1", "zoe@far.example", "a@never.example")
	broken := io.MultiReader(strings.NewReader(letter), iotest.ErrReader(errors.New("broken")))
	if _, err := q.takeOver(m, broken); err == nil {
		t.Error("half a message is taken")
	}
	q.fails.room = spool.ErrFull
	if _, err := q.takeOver(m, strings.NewReader(letter)); err == nil {
		t.Error("a message is taken although the disk is full")
	}
	q.fails.room = nil
	for n := range 2 { // the report, and the message
		q.fails.accepts = n
		if _, err := q.takeOver(m, strings.NewReader(letter)); err == nil {
			t.Errorf("a message is taken although the queue takes %d of two", n)
		}
		if len(q.waiting("far.example")) != 0 {
			t.Error("it is in the queue all the same")
		}
	}
	q.fails.accepts = -1
	q.mustTakeOver(m, letter)
	if a, b := len(q.waiting("far.example")), len(q.waiting("store:sakes")); a != 1 || b != 1 {
		t.Errorf("%d messages and %d reports", a, b)
	}
}

// TestOutboxWithoutRoutes: recipients in stores get their mail, and the author hears of the others.
func TestOutboxWithoutRoutes(t *testing.T) {
	q := newQueued(t)
	q.options.Ways.Routes = func() *route.Table { table, _ := route.NewTable(nil); return table }
	if got := failed(q.mustTakeOver(outgoing("1", "zoe@far.example", "bob@tea.example"), letter)); len(got) != 1 || got["zoe@far.example"] != "5.7.1" {
		t.Errorf("%v", got)
	}
	if a, b := len(q.waiting("store:tea")), len(q.waiting("store:sakes")); a != 1 || b != 1 {
		t.Errorf("%d messages and %d reports", a, b)
	}
}
