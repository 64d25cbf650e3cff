package routing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/spool"
)

// What Exchange's Internet Mail Service is known to have lost on its way in, by the numbers of Microsoft's articles.

// brokenStorage has no room for the messages that come in.
type brokenStorage struct{}

func (brokenStorage) Create() (buffer.File, error) { return nil, errors.New("no stream") }

// TestMessageThatCannotBeKeptIsNotTaken: a message that had no place to be read into was deleted (Q157684). Here its
// client keeps it.
func TestMessageThatCannotBeKeptIsNotTaken(t *testing.T) {
	q := newQueued(t)
	q.options.Buffers = buffer.Options{Storage: brokenStorage{}}
	large := letter + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000)
	if got := send(t, q.mx(), "carol@far.example", []string{"bob@sakes.example"}, large); got != "452 4.3.1" {
		t.Errorf("from outside: %s", got)
	}
	s := q.submission()
	defer s.Close()
	if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, large); got != "452 4.3.1" {
		t.Errorf("submitted: %s", got)
	}
	if n := q.sakes.has("bob@sakes.example") + len(q.waiting("far.example")); n != 0 {
		t.Errorf("there are %d copies", n)
	}
}

// TestOutageOfTheStoreKeepsOutboundMail: mail was deleted when the store could not be opened (Q157684). Here what a client
// sends is in the queue, for elsewhere and for the store, or stays with the client.
func TestOutageOfTheStoreKeepsOutboundMail(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	if got := send(t, s, "alice@sakes.example", []string{"bob@sakes.example"}, letter); got != "250" { // bob is confirmed
		t.Fatal(got)
	}
	down := backends.Fail(backends.Temporary, "the store cannot be opened")
	q.sakes.onLogin = func(context.Context) error { return down }
	q.sakes.onResolve = func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) { return nil, down }
	q.sakes.before = func(context.Context, backends.Delivery) error { return down }
	if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example", "bob@sakes.example"}, letter+"2"); got != "250" {
		t.Fatal(got)
	}
	if far, here := q.waiting("far.example"), q.waiting("store:sakes"); len(far) != 1 || len(here) != 1 || contentOf(t, far[0]) != contentOf(t, here[0]) {
		t.Errorf("the queue has %v and %v", far, here)
	}
	other, err := routing.NewSubmission(q.options).NewSession(t.Context(), conn())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := authenticate(t, other, "PLAIN", "\x00alice@sakes.example\x00sesame"); err == nil || code(err) != "454 4.7.0" {
		t.Errorf("a login during the outage: %v", err)
	}
}

// TestUnknownCharsetHarmsNoMessage: a message in a charset that was not known cost all that were submitted after it
// (Q157693). Here it goes on as it came, and so do the others.
func TestUnknownCharsetHarmsNoMessage(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	header := "From: =?x-unheard-of?Q?Ali=FFce?= <alice@sakes.example>\r\nSubject: =?cp50000?B?//8=?= \xff\xfe\r\n"
	for i, charset := range []string{"x-user-defined", "cp50000", "", `"`, "utf-7", "unknown-8bit", strings.Repeat("x", 500), "us-ascii"} {
		text := fmt.Sprintf("%sContent-Type: text/plain; charset=%s\r\n\r\n\xa0\xff\x80 %d\r\n", header, charset, i)
		if err := s.Mail(t.Context(), path(t, "alice@sakes.example"), smtp.MailOptions{ID: "t1", EightBit: true}); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"bob@sakes.example", "zoe@far.example"} {
			if err := s.Rcpt(t.Context(), path(t, to), smtp.RcptOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Data(t.Context(), trace(), strings.NewReader(text)); err != nil {
			t.Fatalf("%q: %v", charset, err)
		}
		s.Reset()
		waits := q.waiting("far.example")
		if len(waits) != 1 {
			t.Fatalf("%q: the queue has %d messages", charset, len(waits))
		}
		got, copies := contentOf(t, waits[0]), q.sakes.copies["bob@sakes.example"]
		if len(copies) != i+1 || copies[i] != got || !strings.HasPrefix(got, lastTrace()) || !strings.HasSuffix(got, text[strings.Index(text, "\r\n\r\n"):]) ||
			!strings.Contains(got, header) {
			t.Errorf("%q: the queue has %q", charset, got)
		}
	}
}

// TestEncapsulatedAddressPassesNoRestriction: restrictions on recipients were got round by an address within an address
// (Q237927). Here a server that would unwrap it is not given it, and a store is given the name as it stands: what it unwraps lies within its own domains.
func TestEncapsulatedAddressPassesNoRestriction(t *testing.T) {
	q := newQueued(t)
	s := q.submission()
	defer s.Close()
	for _, local := range []string{
		"IMCEASMTP-a+40never+2Eexample", "imceasmtp-a+40never+2Eexample", "IMCEAX400-c+3Dus", "IMCEAFAX-a+40+2B49", "IMCEANOTES-a_never",
		"a%never.example", "never.example!a", `"a@never.example"`, "a%never.example%other.example", "IMCEAMAILTO-a+40never+2Eexample",
	} {
		if got := send(t, s, "alice@sakes.example", []string{local + "@far.example"}, letter); got != "553 5.1.3" {
			t.Errorf("%s elsewhere: %s", local, got)
		}
		if got := send(t, q.mx(), "carol@far.example", []string{local + "@far.example"}, letter); got != "550 5.7.1" {
			t.Errorf("a stranger's mail to %s elsewhere: %s", local, got)
		}
	}
	if n := len(q.waiting("far.example")) + len(q.waiting("never.example")); n != 0 {
		t.Errorf("%d messages are queued", n)
	}
	// Somebody's name within its own organisation, which replies to old mail go to, leads nowhere else.
	for _, to := range []string{"IMCEAEX-_o=Sakes_cn=Bob@far.example", "imcea@far.example", "imcea-x@far.example", "imceasmtp@far.example", "50%off@far.example"} {
		if got := send(t, s, "alice@sakes.example", []string{to}, letter); got != "250" {
			t.Errorf("%s: %s", to, got)
		}
	}
}

// TestGuestHasNoRights: who had no account was let in as Guest, and might send and relay (Q251149). Here a login that no
// store knows is refused, an account without addresses sends as nobody, and who has not logged in sends nothing.
func TestGuestHasNoRights(t *testing.T) {
	q := newQueued(t)
	session := func() smtp.Session {
		s, err := routing.NewSubmission(q.options).NewSession(t.Context(), conn())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for mechanism, response := range map[string]string{
		"ANONYMOUS": "guest", "PLAIN": "\x00guest\x00", "EXTERNAL": "guest",
	} {
		if err := authenticate(t, session(), mechanism, response); err == nil {
			t.Errorf("%s: a guest is let in", mechanism)
		}
	}
	for _, user := range []string{"guest", "anonymous", "SAKES\\guest", "guest@far.example", "alice@sakes.example"} {
		s := session()
		if err := authenticate(t, s, "PLAIN", "\x00"+user+"\x00guest"); err == nil || code(err) != "535 5.7.8" {
			t.Errorf("%s: %v", user, err)
		}
		if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, letter); got != "530 5.7.0" {
			t.Errorf("%s may send: %s", user, got)
		}
	}
	q.sakes.account = backends.Account{ID: "guest"} // as a system that takes the unknown for its guest says
	for _, from := range []string{"alice@sakes.example", "guest@sakes.example", ""} {
		if got := send(t, q.submission(), from, []string{"zoe@far.example"}, letter); got != "550 5.7.1" {
			t.Errorf("a guest sends as <%s>: %s", from, got)
		}
	}
	all, err := q.spool.List(t.Context(), spool.Filter{}, 0, 10)
	if err != nil || len(all) > 0 {
		t.Errorf("the queue has %+v, %v", all, err)
	}
}

// TestMessageThatComesBack: a message that has passed here too often is in a loop, which ends with whoever has it: that
// one makes the report (RFC 5321 §6.3).
func TestMessageThatComesBack(t *testing.T) {
	q := newQueued(t)
	hop := func(by string, n int) string {
		return strings.Repeat("Received: from a.example (a.example [192.0.2.1])\r\n\tby "+by+" with ESMTPS\r\n\tid 1;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n", n)
	}
	for name, c := range map[string]struct{ trace, want string }{
		"ten times":            {hop("mail.sakes.example", 10), "250"},
		"once too often":       {hop("mail.sakes.example", 5) + hop("MAIL.sakes.example", 6), "554 5.4.6"},
		"others, many times":   {hop("relay.sakes.example", 50), "250"},
		"between others":       {strings.Repeat(hop("far.example", 2)+hop("mail.sakes.example", 1), 11), "554 5.4.6"},
		"in the body":          {"X: x\r\n\r\n" + hop("mail.sakes.example", 20), "250"},
		"sent from here":       {strings.ReplaceAll(hop("b.example", 20), "a.example", "mail.sakes.example"), "250"},
		"a clause in comments": {strings.ReplaceAll(hop("b.example", 20), "(a.example", "(by mail.sakes.example"), "250"},
	} {
		if got := send(t, q.mx(), "carol@far.example", []string{"bob@sakes.example"}, c.trace+letter); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	s := q.submission()
	defer s.Close()
	if got := send(t, s, "alice@sakes.example", []string{"zoe@far.example"}, hop("mail.sakes.example", 11)+letter); got != "554 5.4.6" {
		t.Errorf("submitted: %s", got)
	}
}
