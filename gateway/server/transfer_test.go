//go:build linux

package server

import (
	"errors"
	"net"
	"net/textproto"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// speaker is a client's session by SMTP.
type speaker struct {
	*textproto.Conn
	t *testing.T
}

// speak opens a session from an address of loopback.
func speak(t *testing.T, from, to string) speaker {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * patience)) // it lasts as long as the test
	s := speaker{textproto.NewConn(conn), t}
	t.Cleanup(func() { _ = s.Close() })
	s.hears("220")
	s.ask("EHLO client.example", "250")
	return s
}

func (s speaker) hears(want string) {
	s.t.Helper()
	code, text, err := s.ReadResponse(0)
	if err != nil && code == 0 {
		s.t.Fatal(err)
	}
	if got := strconv.Itoa(code) + " " + text; !strings.HasPrefix(got, want) {
		s.t.Fatalf("%q, want %q", got, want)
	}
}

func (s speaker) ask(line, want string) {
	s.t.Helper()
	if err := s.PrintfLine("%s", line); err != nil {
		s.t.Fatal(err)
	}
	s.hears(want)
}

// send sends a message.
func (s speaker) send(to ...string) {
	s.t.Helper()
	s.ask("MAIL FROM:<ada@one.example>", "250")
	for _, path := range to {
		s.ask("RCPT TO:<"+path+">", "250")
	}
	s.ask("DATA", "354")
	s.ask("From: ada@one.example\r\nSubject: x\r\n\r\nhello "+strings.Join(to, " ")+"\r\n.", "250")
}

// TestTransfer: each mode takes and sends what it says, a reload changes it for the sessions that there are, and
// nothing is lost meanwhile.
func TestTransfer(t *testing.T) {
	far := (&fakesmtp.Server{}).Start(t)
	dir := rootsIn(t)
	if err := maildir.AddUser(filepath.Join(dir, "one"), "ada@one.example", []byte("sesame"), maildir.User{}); err != nil {
		t.Fatal(err)
	}
	in := func(mode string) *config.Config {
		return parse(t, dir, oneStore+"smtp: {relay_for: [127.0.0.2]}\n"+
			"routes: [{name: far, domains: [far.example], to: smtp, hosts: ['"+far.Address+"'], tls: clear}]\n"+
			"transfer: "+mode+"\n")
	}
	g, ended, end := run(t, in("{mode: both}"))
	address := g.Snapshot().Listeners[1].Address
	stranger, ours := speak(t, "127.0.0.1", address), speak(t, "127.0.0.2", address)
	takes := func(mode string, want string, elsewhere string) {
		t.Helper()
		if err := g.Reload(t.Context(), in(mode)); err != nil {
			t.Fatal(err)
		}
		stranger.ask("MAIL FROM:<zoe@far.example>", want)
		stranger.ask("RSET", "250")
		ours.ask("MAIL FROM:<ada@one.example>", "250")
		ours.ask("RCPT TO:<ada@one.example>", "250")
		ours.ask("RCPT TO:<zoe@far.example>", elsewhere)
		ours.ask("RSET", "250")
	}
	has := func(to string) func() bool {
		return func() bool {
			return slices.ContainsFunc(far.Received(), func(m fakesmtp.Message) bool { return slices.Contains(m.Paths, to) })
		}
	}
	kept := func() bool { return g.gate.Kept() == 1 }

	takes("{mode: both}", "250", "250")
	ours.send("a@far.example")
	within(t, "mail leaves", has("a@far.example"))

	takes("{mode: in}", "250", "250")
	ours.send("b@far.example")
	within(t, "mail is kept", kept)
	if why := whyOf(t, g); why != "transfer.mode is in" {
		t.Errorf("it waits for %q", why)
	}

	takes("{mode: none, queue: keep}", "451 4.3.2", "451 4.3.2")
	within(t, "mail is kept again", kept)
	if why := whyOf(t, g); why != "transfer.queue is keep" {
		t.Errorf("it waits for %q", why)
	}
	if n := len(far.Received()); n != 1 {
		t.Errorf("%d messages have left", n)
	}

	takes("{mode: none}", "451 4.3.2", "451 4.3.2")
	within(t, "the queue is flushed", has("b@far.example"))

	takes("{mode: out}", "451 4.3.2", "250")
	ours.send("c@far.example")
	within(t, "mail leaves again", has("c@far.example"))

	takes("{}", "250", "250")
	stranger.send("ada@one.example")
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

// whyOf is why the only recipient in the queue waits.
func whyOf(t *testing.T, g *Server) string {
	t.Helper()
	page, err := (&queue.Spool{Spool: g.spool, Log: zerolog.Nop(), Waits: g.whyWaiting}).List(t.Context(), queue.Filter{}, "", 10)
	if err != nil || len(page.Messages) != 1 || len(page.Messages[0].Recipients) != 1 {
		t.Fatalf("in the queue: %+v, %v", page, err)
	}
	return page.Messages[0].Recipients[0].Why
}

// TestTransferOutbox: the outboxes of stores are left alone where nothing of them would leave.
func TestTransferOutbox(t *testing.T) {
	for mode, want := range map[string]bool{"both": true, "out": true, "in": false, "none": false} {
		if got := (config.Transfer{Mode: mode}).PassesOut(); got != want {
			t.Errorf("%s: they are collected: %v", mode, got)
		}
	}
}

// TestTransferWarnings: each mode but the default one is told of, with its place.
func TestTransferWarnings(t *testing.T) {
	for mode, want := range map[string]string{
		"{mode: both}": "", "{mode: in}": "what is for others waits", "{mode: out}": "no mail is taken from other servers:",
		"{mode: none}": "and then empty", "{mode: none, queue: keep}": "stays there",
	} {
		all := TransferWarnings(parse(t, rootsIn(t), oneStore+"transfer: "+mode+"\n"))
		if want == "" && len(all) > 0 || want != "" && (len(all) != 1 || !strings.Contains(all[0].Text, want) || all[0].Position.Line == 0) {
			t.Errorf("%s: %+v", mode, all)
		}
	}
}

// TestRecipientsPerDay: what is over a route's bound waits, with its reason, still does after a restart, and leaves once a
// reload has raised the bound.
func TestRecipientsPerDay(t *testing.T) {
	far := (&fakesmtp.Server{}).Start(t)
	dir := rootsIn(t)
	with := func(perDay int) *config.Config {
		return parse(t, dir, oneStore+"smtp: {relay_for: [127.0.0.2]}\n"+
			"routes: [{name: far, domains: [far.example], to: smtp, hosts: ['"+far.Address+"'], tls: clear, recipients_per_day: "+strconv.Itoa(perDay)+"}]\n")
	}
	for start := range 2 {
		g, ended, end := run(t, with(2))
		if start == 0 {
			ours := speak(t, "127.0.0.2", g.Snapshot().Listeners[1].Address)
			ours.send("a@far.example")
			ours.send("b@far.example", "c@far.example") // it goes in parts
		}
		within(t, "two have left, and the other waits for that", func() bool {
			page, err := (&queue.Spool{Spool: g.spool, Log: zerolog.Nop(), Waits: g.whyWaiting}).List(t.Context(), queue.Filter{}, "", 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) != 1 || len(page.Messages[0].Recipients) != 2 {
				return false
			}
			left := page.Messages[0].Recipients[1]
			return left.State == "waiting" && page.Messages[0].Recipients[0].State == "delivered" && strings.HasPrefix(left.Why, "the 2 recipients a day of the route far are used up until ") && left.Due.After(time.Now())
		})
		if n := len(far.Received()); n != 2 {
			t.Errorf("%d messages have left", n)
		}
		if start == 1 {
			if err := g.Reload(t.Context(), with(3)); err != nil {
				t.Fatal(err)
			}
			within(t, "the third has left", func() bool { return len(far.Received()) == 3 })
		}
		end()
		if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// TestTransferAfterStart: what an earlier process has kept leaves at once by one with another mode, and not when it would have
// been asked for again.
func TestTransferAfterStart(t *testing.T) {
	far := (&fakesmtp.Server{}).Start(t)
	dir := rootsIn(t)
	in := func(mode string) *config.Config {
		return parse(t, dir, oneStore+"smtp: {relay_for: [127.0.0.2]}\n"+
			"routes: [{name: far, domains: [far.example], to: smtp, hosts: ['"+far.Address+"'], tls: clear}]\n"+
			"transfer: {mode: "+mode+"}\n")
	}
	for _, mode := range []string{"in", "both"} {
		g, ended, end := run(t, in(mode))
		if mode == "in" {
			speak(t, "127.0.0.2", g.Snapshot().Listeners[1].Address).send("a@far.example")
			within(t, "mail is kept", func() bool { return g.gate.Kept() == 1 })
			within(t, "the database says until when", func() bool {
				var until int64
				return g.db.QueryRow(t.Context(), "SELECT until FROM spool_destinations").Scan(&until) == nil && until > time.Now().UnixMicro()
			})
		} else {
			within(t, "it leaves", func() bool { return len(far.Received()) == 1 })
		}
		end()
		if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}
