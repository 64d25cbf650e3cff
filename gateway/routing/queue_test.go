package routing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/spool"
)

// failingQueue is one that fails as often as it is told to.
type failingQueue struct {
	*spool.Spool
	accepts int // until it fails
	room    error
	storage buffer.Storage // nil: the spool's
	last    spool.Message  // what it was given last
}

func (f *failingQueue) Storage() buffer.Storage {
	if f.storage != nil {
		return f.storage
	}
	return f.Spool.Storage()
}

func (f *failingQueue) Accept(ctx context.Context, m spool.Message, body *buffer.Buffer) error {
	if f.accepts == 0 {
		return errors.New("the disk is gone")
	}
	f.accepts--
	f.last = m
	return f.Spool.Accept(ctx, m, body)
}

func (f *failingQueue) Room(context.Context, int64) error { return f.room }

// queued has a gateway with a queue, and routes to everywhere but a few domains.
type queued struct {
	*gateway
	spool *spool.Spool
	fails *failingQueue
}

func newQueued(t *testing.T) *queued {
	q := &queued{gateway: newGateway(t)}
	s, err := spool.Open(t.Context(), spool.Options{Log: zerolog.Nop(), DB: q.db, Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	table, err := route.NewTable([]route.Route{
		{Name: "internet", Domains: []string{"*"}, Kind: route.MX},
		{Name: "kept", Domains: []string{"kept.example"}, Kind: route.Hold},
		{Name: "never", Domains: []string{"never.example"}, Kind: route.Reject, Text: "nothing goes there"},
		{Name: "small", Domains: []string{"small.example"}, Kind: route.SMTP, Hosts: [][]string{{"mail.small.example:25"}}, MessageSize: 50_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	q.spool, q.fails = s, &failingQueue{Spool: s, accepts: -1}
	q.options.Queue, q.options.Confirmed = q.fails, &routing.Confirmed{}
	q.options.Ways = route.Ways{Stores: q.options.Router, Routes: func() *route.Table { return table }}
	return q
}

// waiting is what the queue has for a destination, without what the test has got already.
func (q *queued) waiting(destination string) (all []*spool.Delivery) {
	q.t.Helper()
	all, err := q.spool.Claim(q.t.Context(), destination, 100)
	if err != nil {
		q.t.Fatal(err)
	}
	return all
}

func contentOf(t *testing.T, d *spool.Delivery) string {
	t.Helper()
	r, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestElsewhere(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	if n, is := s.(smtp.Notifies); !is || !n.Notifies() {
		t.Error("DSN is not offered")
	}
	if err := s.Mail(t.Context(), path(t, "alice@sakes.example"), smtp.MailOptions{ID: "t1", EnvelopeID: "QQ1", Return: smtp.ReturnHeaders, EightBit: true}); err != nil {
		t.Fatal(err)
	}
	for to, o := range map[string]smtp.RcptOptions{
		"bob@sakes.example": {}, "zoe@Far.example": {Notify: smtp.NotifySuccess | smtp.NotifyDelay, OriginalRecipient: "rfc822;Zoe@far.example"},
		"joe@far.example": {}, "max@other.example": {}, "ann@small.example": {},
	} {
		if err := s.Rcpt(t.Context(), path(t, to), o); err != nil {
			t.Fatal(to, err)
		}
	}
	text, err := s.Data(t.Context(), trace(), strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	if q.sakes.has("bob@sakes.example") != 1 {
		t.Error("bob has no copy")
	}
	far := q.waiting("far.example")
	if len(far) != 1 || len(far[0].Recipients) != 2 || !strings.HasSuffix(text, far[0].Key) {
		t.Fatalf("%s, and far.example has %+v", text, far)
	}
	d := far[0]
	if d.Envelope.From != "alice@sakes.example" || d.Envelope.ID != "QQ1" || d.Envelope.Return != backends.ReturnHeaders ||
		d.Envelope.Body != backends.Body8BitMIME || d.Envelope.Submitter.Account != "alice-id" || time.Since(d.Received) > time.Minute {
		t.Errorf("the envelope is %+v", d.Envelope)
	}
	i := slices.IndexFunc(d.Recipients, func(p spool.Pending) bool { return p.Address == "zoe@far.example" })
	if i < 0 || d.Recipients[i].Notify != backends.NotifySuccess|backends.NotifyDelay || d.Recipients[i].OriginalRecipient != "rfc822;Zoe@far.example" {
		t.Errorf("the recipients are %+v", d.Recipients)
	}
	if got := contentOf(t, d); got != q.sakes.copies["bob@sakes.example"][0] || !strings.HasPrefix(got, lastTrace()) || !strings.Contains(got, "\r\nMessage-ID: <") {
		t.Errorf("the content is %q", got)
	}
	if len(q.waiting("other.example")) != 1 || len(q.waiting("route:small")) != 1 {
		t.Error("other recipients are not queued")
	}
	if n := q.remembered(); n != 0 {
		t.Errorf("%d attempts are remembered", n)
	}
}

// TestLargeIsWrittenOnce: the queue takes a large message over as it was written when it came, with the header that it
// has got, and has no file made for it.
func TestLargeIsWrittenOnce(t *testing.T) {
	q := newQueued(t)
	q.fails.storage = brokenStorage{}
	q.options.Buffers = buffer.Options{Storage: q.spool.Incoming()}
	q.options.Relays = func(netip.Addr) bool { return true }
	s := q.submission()
	defer s.Close()
	large := letter + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000)
	if got := send(t, s, "alice@sakes.example", []string{"bob@sakes.example", "zoe@far.example"}, large); got != "250" {
		t.Fatalf("submitted: %s", got)
	}
	got := contentOf(t, q.waiting("far.example")[0])
	if got != q.sakes.copies["bob@sakes.example"][0] || !strings.HasPrefix(got, lastTrace()) || !strings.Contains(got[:1000], "\r\nMessage-ID: <") ||
		!strings.HasSuffix(got, large[strings.Index(large, "\r\n\r\n"):]) {
		t.Errorf("submitted, the content has %d octets: %.300q", len(got), got)
	}
	if got := send(t, q.mx(), "alice@sakes.example", []string{"zoe@other.example"}, large); got != "250" {
		t.Fatalf("relayed: %s", got)
	}
	if got := contentOf(t, q.waiting("other.example")[0]); got != lastTrace()+large {
		t.Errorf("relayed, the content has %d octets: %.300q", len(got), got)
	}
	if got := send(t, q.mx(), "alice@sakes.example", []string{"zoe@other.example"}, "Return-Path: <x>\r\n"+large); got != "452 4.3.1" {
		t.Errorf("of whose beginning something is left out: %s", got)
	}
}

func TestElsewhereRefused(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	big := letter + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000)
	for _, c := range []struct {
		to, message, want string
	}{
		{"a@never.example", letter, "550 5.7.1"},
		{"a%far.example@other.example", letter, "553 5.1.3"},
		{"far.example!a@other.example", letter, "553 5.1.3"},
		{`"a@far.example"@other.example`, letter, "553 5.1.3"},
		{"a@[192.0.2.1]", letter, "553 5.1.3"},
		{"a@small.example", big, "552 5.3.4"},
		{"50%off@other.example", letter, "250"},
		{"a!b@other.example", letter, "250"},
	} {
		if got := send(t, s, "alice@sakes.example", []string{c.to}, c.message); got != c.want {
			t.Errorf("%s: %q, want %q", c.to, got, c.want)
		}
	}
	if got := send(t, q.mx(), "carol@far.example", []string{"zoe@far.example"}, letter); got != "550 5.7.1" {
		t.Errorf("a stranger's mail is relayed: %q", got)
	}
	q.fails.room = spool.ErrFull
	if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "452 4.3.1" {
		t.Errorf("a full disk: %q", got)
	}
	q.options.Ways.Routes = func() *route.Table { table, _ := route.NewTable(nil); return table }
	none := q.submission()
	defer none.Close()
	if n := none.(smtp.Notifies); n.Notifies() {
		t.Error("DSN is offered without a route")
	}
	if got := send(t, none, "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "550 5.7.1" {
		t.Errorf("without routes: %q", got)
	}
}

func TestHeldRoute(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	if got := send(t, s, "alice@sakes.example", []string{"a@kept.example"}, letter); got != "250" {
		t.Fatal(got)
	}
	if got := q.waiting("route:kept"); len(got) != 0 {
		t.Errorf("what is held is tried: %+v", got)
	}
}

// TestRelayNetworks (I12): a client that has not logged in sends elsewhere only from a network that may.
func TestRelayNetworks(t *testing.T) {
	q := newQueued(t)
	asked := netip.Addr{}
	q.options.Relays = func(a netip.Addr) bool { asked = a; return false }
	if got := send(t, q.mx(), "scanner@sakes.example", []string{"zoe@far.example"}, letter); got != "550 5.7.1" || asked.String() != "192.0.2.7" {
		t.Errorf("%q, for %s", got, asked)
	}
	q.options.Relays = func(netip.Addr) bool { return true }
	mx := q.mx()
	if got := send(t, mx, "scanner@sakes.example", []string{"zoe@far.example"}, letter); got != "250" {
		t.Error(got)
	}
	if got := send(t, mx, "scanner@sakes.example", []string{"a%far.example@other.example"}, letter); got != "553 5.1.3" {
		t.Error(got)
	}
	if n := len(q.waiting("far.example")); n != 1 {
		t.Errorf("%d messages are queued", n)
	}
}

// TestTakes: what is not taken now is told to come again later, at MAIL where a client is not authenticated and at RCPT otherwise; those
// who may relay count as authenticated, and recipients in the stores are taken.
func TestTakes(t *testing.T) {
	q := newQueued(t)
	in, out := false, true
	q.options.TakesIn, q.options.TakesOut = func() bool { return in }, func() bool { return out }
	mx := q.mx()
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter); got != "451 4.3.2" {
		t.Error("a stranger hears", got)
	}
	q.options.Relays = func(netip.Addr) bool { return true }
	if got := send(t, q.mx(), "scanner@sakes.example", []string{"bob@sakes.example", "zoe@far.example"}, letter); got != "250" {
		t.Error("a machine that may relay hears", got)
	}
	in, out = true, false
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Error("in the same session, the stranger hears", got)
	}
	s := q.submission()
	defer s.Close()
	if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "451 4.3.2" {
		t.Error("for others, an account hears", got)
	}
	if got := send(t, s, "alice@sakes.example", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Error("for a store, an account hears", got)
	}
	if n := len(q.waiting("far.example")); n != 1 {
		t.Errorf("%d messages are queued", n)
	}
}

// TestLeftOver: 250 where somebody has a copy or will get one, and a report on who was refused.
func TestLeftOver(t *testing.T) {
	q := newQueued(t)
	q.sakes.verdict = func(recipient string) *backends.Failure {
		switch {
		case strings.HasPrefix(recipient, "full"):
			return backends.Fail(backends.Temporary, "later")
		case strings.HasPrefix(recipient, "gone"):
			return backends.Fail(backends.NotFound, "gone").WithCode("5.1.1")
		}
		return nil
	}
	mx := q.mx()
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example", "full@sakes.example"}, letter); got != "250" {
		t.Fatal("one has a copy and one waits:", got)
	}
	if q.sakes.has("bob@sakes.example") != 1 {
		t.Error("bob has no copy")
	}
	if got := send(t, mx, "carol@far.example", []string{"gone@sakes.example"}, letter); got != "550 5.1.1" {
		t.Errorf("nobody has a copy: %q", got)
	}
	if got := q.waiting("far.example"); len(got) != 0 {
		t.Errorf("reports that nobody needs: %+v", got)
	}
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example", "gone@sakes.example"}, letter+"2"); got != "250" {
		t.Fatal("one has a copy and one is refused:", got)
	}
	reports := q.waiting("far.example")
	if len(reports) != 1 || reports[0].Envelope.From != "" || reports[0].Recipients[0].Address != "carol@far.example" {
		t.Fatalf("the reports are %+v", reports)
	}
	report := contentOf(t, reports[0])
	for _, want := range []string{"Final-Recipient: rfc822;gone@sakes.example", "Action: failed", "Status: 5.1.1", "Subject: "} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
	if strings.Contains(report, "bob@") {
		t.Error("the report is about bob")
	}
	// Nobody is told of what comes from the null reverse-path (RFC 5321 §4.5.5).
	if got := send(t, mx, "", []string{"bob@sakes.example", "gone@sakes.example"}, letter+"3"); got != "250" {
		t.Error("from nobody:", got)
	}
}

// TestFirstRetry: a store that could not take a message is tried again after a minute, and sooner where the schedule of mail begins
// sooner.
func TestFirstRetry(t *testing.T) {
	for name, c := range map[string]struct{ first, want time.Duration }{
		"no schedule": {0, time.Minute}, "a longer one": {time.Hour, time.Minute}, "a shorter one": {time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueued(t)
			if c.first > 0 {
				q.options.FirstRetry = func() time.Duration { return c.first }
			}
			q.sakes.verdict = func(string) *backends.Failure { return backends.Fail(backends.Temporary, "later") }
			if got := send(t, q.mx(), "carol@far.example", []string{"bob@sakes.example"}, letter); got != "250" {
				t.Fatal(got)
			}
			if to := q.fails.last.Recipients; len(to) != 1 || to[0].Wait != c.want {
				t.Errorf("the queue has %+v", to)
			}
		})
	}
}

// TestReportThatHasNoWay: where the sender cannot be told of refusals, its client is; and who waits gets the message.
func TestReportThatHasNoWay(t *testing.T) {
	q := newQueued(t)
	q.sakes.verdict = func(recipient string) *backends.Failure {
		switch {
		case strings.HasPrefix(recipient, "full"):
			return backends.Fail(backends.Temporary, "later")
		case strings.HasPrefix(recipient, "gone"):
			return backends.Fail(backends.NotFound, "gone").WithCode("5.1.1")
		}
		return nil
	}
	to := []string{"bob@sakes.example", "gone@sakes.example", "full@sakes.example"}
	if got := send(t, q.mx(), "carol@never.example", to, letter); got != "554 5.1.1" {
		t.Error(got)
	}
	if n := q.sakes.has("bob@sakes.example"); n != 1 {
		t.Errorf("bob has %d copies", n)
	}
	all, err := q.spool.List(t.Context(), spool.Filter{}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || len(all[0].Recipients) != 1 || all[0].Recipients[0].Address != "full@sakes.example" {
		t.Errorf("the queue has %+v", all)
	}
}

// TestCopyForTheAdministrator: the administrator gets reports that are made when a message comes, too.
func TestCopyForTheAdministrator(t *testing.T) {
	q := newQueued(t)
	q.sakes.verdict = func(recipient string) *backends.Failure {
		if strings.HasPrefix(recipient, "gone") {
			return backends.Fail(backends.NotFound, "gone").WithCode("5.1.1")
		}
		return nil
	}
	for i, to := range []string{"postmaster@sakes.example", "postmaster@never.example", "carol@far.example"} {
		q.options.Reports = func() reports.Settings {
			return reports.Settings{Language: "de", Copies: notice.Copies{To: to, Classes: []string{"5.1.1"}}}
		}
		if got := send(t, q.mx(), "carol@far.example", []string{"bob@sakes.example", "gone@sakes.example"}, letter+to); got != "250" {
			t.Fatal(got)
		}
		if sender := q.waiting("far.example"); len(sender) != 1 || len(sender[0].Recipients) != 1 {
			t.Errorf("%s: the sender gets %v", to, sender)
		} else if report := contentOf(t, sender[0]); !strings.Contains(report, "\r\nSubject: Ihre Nachricht wurde nicht zugestellt\r\n") {
			t.Errorf("the report is not in the language that is set:\n%s", report)
		}
		if copies := q.waiting("store:sakes"); len(copies) != max(1-i, 0) {
			t.Errorf("%s: the administrator gets %v", to, copies)
		}
	}
}

// TestReportOfManyRefused: the sender is told of each who is refused, however many they are.
func TestReportOfManyRefused(t *testing.T) {
	const recipients = 2_100
	q := newQueued(t)
	q.sakes.verdict = func(recipient string) *backends.Failure {
		if strings.HasPrefix(recipient, "gone") {
			return backends.Fail(backends.NotFound, "gone").WithCode("5.1.1")
		}
		return nil
	}
	to := make([]string, recipients)
	for i := range to {
		to[i] = fmt.Sprintf("gone%d@sakes.example", i)
	}
	if got := send(t, q.mx(), "carol@far.example", append(to, "bob@sakes.example"), letter); got != "250" {
		t.Fatal(got)
	}
	told := make(map[string]bool)
	reports := q.waiting("far.example")
	for _, d := range reports {
		for line := range strings.SplitSeq(contentOf(t, d), "\r\n") {
			if address, is := strings.CutPrefix(line, "Final-Recipient: rfc822;"); is {
				told[address] = true
			}
		}
	}
	if len(told) != recipients || len(reports) != 3 {
		t.Errorf("the sender is told of %d in %d reports", len(told), len(reports))
	}
}

// TestSuccessIsTold: a sender who asks for it hears of deliveries (RFC 3461 §4.1), and of no others.
func TestSuccessIsTold(t *testing.T) {
	q := newQueued(t)
	mx := q.mx()
	if err := mx.Mail(t.Context(), path(t, "carol@far.example"), smtp.MailOptions{ID: "t1"}); err != nil {
		t.Fatal(err)
	}
	for to, notify := range map[string]smtp.Notify{"bob@sakes.example": smtp.NotifySuccess, "dan@sakes.example": smtp.NotifyNever, "eve@tea.example": 0} {
		if err := mx.Rcpt(t.Context(), path(t, to), smtp.RcptOptions{Notify: notify}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mx.Data(t.Context(), trace(), strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	mx.Reset()
	reports := q.waiting("far.example")
	if len(reports) != 1 {
		t.Fatalf("%d reports", len(reports))
	}
	report := contentOf(t, reports[0])
	for _, want := range []string{"Final-Recipient: rfc822;bob@sakes.example", "Action: delivered", "Status: 2."} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
	if strings.Contains(report, "dan@") || strings.Contains(report, "eve@") {
		t.Errorf("the report tells of others:\n%s", report)
	}
}

// TestQueueFails: the client keeps the message, and nobody gets a second copy.
func TestQueueFails(t *testing.T) {
	q := newQueued(t)
	gone := func(recipient string) *backends.Failure {
		if strings.HasPrefix(recipient, "gone") {
			return backends.Fail(backends.NotFound, "gone").WithCode("5.1.1")
		}
		return nil
	}
	q.sakes.verdict = gone
	s := q.submission()
	defer s.Close()
	to := []string{"bob@sakes.example", "gone@sakes.example", "zoe@far.example"}
	for try := range 2 { // at the report, and after it
		q.fails.accepts = try
		if got := send(t, s, "alice@sakes.example", to, letter); got != "451 4.3.0" {
			t.Fatalf("the queue fails: %q", got)
		}
	}
	q.fails.accepts = -1
	if got := send(t, s, "alice@sakes.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	if n := q.sakes.has("bob@sakes.example"); n != 1 {
		t.Errorf("bob has %d copies", n)
	}
	if n := len(q.waiting("far.example")); n != 1 {
		t.Errorf("the queue has %d copies", n)
	}
	if n := len(q.waiting("store:sakes")); n != 1 {
		t.Errorf("the queue has %d reports", n)
	}
}

// TestConfirmed: while a store does not answer, mail is taken in for those whom it has confirmed.
func TestConfirmed(t *testing.T) {
	q := newQueued(t)
	mx := q.mx()
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Fatal(got)
	}
	q.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Temporary, "down")
	}
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter+"2"); got != "250" {
		t.Errorf("bob was confirmed: %q", got)
	}
	if got := send(t, mx, "carol@far.example", []string{"dan@sakes.example"}, letter+"2"); got != "451 4.3.0" {
		t.Errorf("dan was not: %q", got)
	}
	waits := q.waiting("store:sakes")
	if len(waits) != 1 || waits[0].Recipients[0].Address != "bob@sakes.example" {
		t.Errorf("the queue has %+v", waits)
	}
	q.sakes.onResolve = func(_ context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
		return []backends.Verdict{{Recipient: query.Recipients[0].Address, Failure: backends.Fail(backends.NotFound, "gone")}}, nil
	}
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter+"3"); got != "550 5.1.1" {
		t.Errorf("bob is gone: %q", got)
	}
	q.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Temporary, "down")
	}
	if got := send(t, mx, "carol@far.example", []string{"bob@sakes.example"}, letter+"4"); got != "451 4.3.0" {
		t.Errorf("bob was gone: %q", got)
	}
}

// TestUnconfirmedOfOurs: while a store does not answer, what somebody sends who has logged in waits in the queue also where nobody
// knows whether its recipient exists: a device does not try again. Of others, and of reports, only what was confirmed is taken.
func TestUnconfirmedOfOurs(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	q.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Temporary, "down")
	}
	if got := send(t, s, "alice@sakes.example", []string{"dan@sakes.example"}, letter); got != "250" {
		t.Errorf("from somebody who has logged in: %s", got)
	}
	if waits := q.waiting("store:sakes"); len(waits) != 1 || waits[0].Recipients[0].Address != "dan@sakes.example" {
		t.Errorf("the queue has %+v", waits)
	}
	if got := send(t, q.mx(), "carol@far.example", []string{"dan@sakes.example"}, letter); got != "451 4.3.0" {
		t.Errorf("from outside: %s", got)
	}
	q.sakes.onResolve = func(_ context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
		return []backends.Verdict{{Recipient: query.Recipients[0].Address, Failure: backends.Fail(backends.NotFound, "no")}}, nil
	}
	if got := send(t, s, "alice@sakes.example", []string{"dan@sakes.example"}, letter+"2"); got != "550 5.1.1" {
		t.Errorf("the store knows that there is no dan: %s", got)
	}
}
