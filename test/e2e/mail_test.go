//go:build linux

package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// TestFirstMail is the shortest way through: a message comes in, is read, and is deleted.
func TestFirstMail(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := addByCommand(t, g, "erika")

	in := harness.Dial(t, g.Address("smtp"), nil)
	in.ExpectReply(220)
	in.Send("EHLO client.corpus.example")
	in.ExpectReply(250)
	in.Send("MAIL FROM:<sender@corpus.example>")
	in.ExpectReply(250)
	in.Send("RCPT TO:<%s>", user.Address)
	in.ExpectReply(250)
	in.Send("DATA")
	in.ExpectReply(354)
	content := simple("first")
	in.Raw(string(content) + ".\r\n")
	in.ExpectReply(250)
	in.Send("QUIT")
	in.ExpectReply(221)
	in.ExpectClosed()

	out := harness.Dial(t, g.Address("pop3"), nil)
	out.Expect("+OK")
	out.Ask("STLS", "+OK")
	out.StartTLS(g.Authority.Client())
	out.Ask("USER "+user.Address, "+OK")
	out.Ask("PASS "+user.Password, "+OK")
	out.Ask("STAT", "+OK 1 ")
	out.Ask("RETR 1", "+OK")
	fields, err := trace(out.Multi(), content)
	if err != nil {
		t.Fatal(err)
	}
	if len(fields) != 2 || fields[0] != "Return-Path: <sender@corpus.example>\r\n" || !strings.Contains(fields[1], "by gateway.example with ESMTP") {
		t.Errorf("the trace is %q", fields)
	}
	out.Ask("DELE 1", "+OK")
	out.Ask("QUIT", "+OK")
	out.ExpectClosed()

	p := login(t, g, user)
	defer p.Quit()
	if n, octets, err := p.Stat(); n != 0 || octets != 0 || err != nil {
		t.Errorf("after deletion there are %d messages of %d octets (%v)", n, octets, err)
	}
}

// TestSubmission sends from one account to another, over both submission ports.
func TestSubmission(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	from, to := g.AddUser(t, "erika"), g.AddUser(t, "max")
	content := bytes.Replace(simple("submitted"), []byte("sender@corpus.example"), []byte(from.Address), 1)
	for _, protocol := range []string{"submission", "submissions"} {
		t.Run(protocol, func(t *testing.T) {
			secure := g.Authority.Client()
			if protocol == "submission" {
				secure = nil
			}
			s, err := harness.DialSMTP(g.Address(protocol), secure)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if secure == nil {
				if _, offered := s.Extensions["AUTH"]; offered {
					t.Error("AUTH is offered without TLS")
				}
				if err := s.StartTLS(g.Authority.Client()); err != nil {
					t.Fatal(err)
				}
			}
			refusal(t, s.Begin(envelope(to)), "530")
			if err := s.Auth(from.Address, from.Password); err != nil {
				t.Fatal(err)
			}
			e := envelope(to)
			refusal(t, s.Begin(e), "5.7.1") // somebody else's address
			if _, err := s.Ask(250, "RSET"); err != nil {
				t.Fatal(err)
			}
			e.From = from.Address
			if _, err := s.Send(e, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			p := login(t, g, to)
			defer p.Quit()
			got, err := p.Retr(1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := trace(got, content); err != nil {
				t.Error(err)
			}
			if err := p.Dele(1); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoRelay (I12): the MX takes mail for its own recipients alone.
func TestNoRelay(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	for name, recipient := range map[string]string{
		"another domain":   "somebody@elsewhere.example",
		"unknown user":     "nobody@" + harness.Domain,
		"source route":     "@" + harness.Domain + ":somebody@elsewhere.example",
		"percent":          "somebody%elsewhere.example@" + harness.Domain,
		"bang":             "elsewhere.example!somebody@" + harness.Domain,
		"a longer domain":  "erika@x" + harness.Domain,
		"address literal":  "erika@[127.0.0.1]",
		"quoted separator": `"somebody@elsewhere.example"@` + harness.Domain,
	} {
		t.Run(name, func(t *testing.T) {
			s := mx(t, g)
			defer s.Quit()
			refusal(t, s.Begin(harness.Envelope{From: "sender@corpus.example", To: []string{recipient}}), "55")
		})
	}
	if err := mx(t, g).Begin(envelope(user)); err != nil {
		t.Errorf("a recipient who exists is refused: %v", err)
	}
}

// TestCorpus sends the whole collection in and reads it back (I3, I6): what comes out is what
// went in, to the octet, behind the trace fields, and every size is exact.
func TestCorpus(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Kind: harness.Plain})
	data, bdat := g.AddUser(t, "data"), g.AddUser(t, "bdat")
	messages := slices.Collect(corpus.All())

	t.Run("in/DATA", func(t *testing.T) {
		s := mx(t, g)
		defer s.Close()
		for _, m := range messages {
			e := envelope(data)
			e.EightBit, e.UTF8 = m.EightBit, m.UTF8
			if _, err := s.Send(e, m.Reader()); err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
		}
	})
	t.Run("in/BDAT", func(t *testing.T) {
		s := mx(t, g)
		defer s.Close()
		chunks := []int{1 << 30, 65536, 4096, 100_000}
		for i, m := range messages {
			e := envelope(bdat)
			e.EightBit, e.UTF8 = m.EightBit, m.UTF8
			if _, err := s.SendChunks(e, m.Content(), chunks[i%len(chunks)]); err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
		}
	})
	for _, user := range []harness.User{data, bdat} {
		t.Run("out/"+user.Address, func(t *testing.T) { readCorpus(t, g, user, messages) })
	}
}

func readCorpus(t *testing.T, g *harness.Gateway, user harness.User, messages []corpus.Message) {
	p, err := harness.DialPOP3(g.Address("pop3s"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Quit()
	if _, err := p.Ask("UTF8"); err != nil { // or headers in UTF-8 do not come as they are
		t.Fatal(err)
	}
	if err := p.Login(user.Address, user.Password); err != nil {
		t.Fatal(err)
	}
	n, octets, err := p.Stat()
	if err != nil || n != len(messages) {
		t.Fatalf("%d messages (%v), and %d were sent", n, err, len(messages))
	}
	sizes, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for i, m := range messages {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if _, err := trace(got, m.Arriving()); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if int64(len(got)) != sizes[i+1] {
			t.Errorf("%s: LIST says %d octets, RETR gives %d", m.Name, sizes[i+1], len(got))
		}
		sum += int64(len(got))
	}
	if sum != octets {
		t.Errorf("STAT says %d octets, and all together are %d", octets, sum)
	}
}

// TestHeadersInASCII reads messages with UTF-8 in their headers as a client that has not asked for
// it (RFC 6856 §2): the headers are ASCII, the bodies as they came, and the sizes as they were told.
func TestHeadersInASCII(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	s := mx(t, g)
	defer s.Close()
	var bodies []string
	for m := range corpus.All() {
		if !m.UTF8 {
			continue
		}
		e := envelope(user)
		e.EightBit, e.UTF8 = m.EightBit, true
		if _, err := s.Send(e, m.Reader()); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		_, body, _ := bytes.Cut(m.Canonical(), []byte("\r\n\r\n"))
		bodies = append(bodies, string(body))
	}
	if len(bodies) == 0 {
		t.Fatal("the collection has no message with UTF-8 in its header")
	}
	p := login(t, g, user)
	defer p.Quit()
	sizes, err := p.List()
	if err != nil || len(sizes) != len(bodies) {
		t.Fatalf("%d messages (%v), and %d were sent", len(sizes), err, len(bodies))
	}
	for i, want := range bodies {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		header, body, _ := strings.Cut(string(got), "\r\n\r\n")
		if strings.ContainsFunc(header, func(r rune) bool { return r > 127 }) {
			t.Errorf("the header of message %d is\n%s", i+1, header)
		}
		if body != want {
			t.Errorf("the body of message %d: %s", i+1, difference([]byte(body), []byte(want)))
		}
		if int64(len(got)) != sizes[i+1] {
			t.Errorf("message %d: LIST says %d octets, RETR gives %d", i+1, sizes[i+1], len(got))
		}
	}
}

// TestTop reads the top of each small message of the collection and compares it with the whole.
func TestTop(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Kind: harness.Plain})
	user := g.AddUser(t, "erika")
	var contents [][]byte
	for m := range corpus.Small(20_000) {
		if !m.Unfinished && !m.UTF8 {
			contents = append(contents, m.Content())
		}
	}
	deliver(t, g, user, contents...)
	p := login(t, g, user)
	defer p.Quit()
	for i := range contents {
		whole, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, lines := range []int{0, 1, 3, 1_000_000} {
			got, err := p.Top(i+1, lines)
			if err != nil {
				t.Fatal(err)
			}
			if wanted := topOf(whole, lines); !bytes.Equal(got, wanted) {
				t.Errorf("TOP %d %d: %s", i+1, lines, difference(got, wanted))
			}
		}
	}
}

// topOf is the header, the empty line and the first lines of the body (RFC 1939 §7).
func topOf(whole []byte, lines int) []byte {
	at := bytes.Index(append([]byte("\r\n"), whole...), []byte("\r\n\r\n"))
	if at < 0 {
		return whole // there is no empty line, and so no body
	}
	end := at + 2
	for range lines {
		n := bytes.Index(whole[end:], []byte("\r\n"))
		if n < 0 {
			break
		}
		end += n + 2
	}
	return whole[:end]
}

// TestInUse (I5): one session a maildrop, and the lock goes with the session.
func TestInUse(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	first := login(t, g, user)
	_, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
	refusal(t, err, "-ERR [IN-USE]")
	if err := first.Quit(); err != nil {
		t.Fatal(err)
	}
	second := login(t, g, user)
	for range 5 {
		second.Close() // without QUIT: the lock has to go all the same, however soon the client comes back
		second = login(t, g, user)
	}
}

// TestDeletionIsAtQuit (I4): a connection that is lost deletes nothing, and neither does RSET.
func TestDeletionIsAtQuit(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"), simple("two"), simple("three"))
	marked := func() *harness.POP3 {
		var p *harness.POP3
		harness.Eventually(t, lockGone, "a login", func() (ok bool) {
			var err error
			p, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
			return err == nil
		})
		for n := range 2 {
			if err := p.Dele(n + 1); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	wantStat := func(p *harness.POP3, wanted int) {
		t.Helper()
		if n, _, err := p.Stat(); n != wanted || err != nil {
			t.Errorf("there are %d messages (%v), wanted %d", n, err, wanted)
		}
	}
	marked().Close()
	p := marked()
	wantStat(p, 1)
	if _, err := p.Ask("RSET"); err != nil {
		t.Fatal(err)
	}
	wantStat(p, 3)
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	p = marked()
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	p = login(t, g, user)
	defer p.Quit()
	wantStat(p, 1)
	if got, err := p.Retr(1); err != nil || !bytes.Contains(got, []byte("Subject: three")) {
		t.Errorf("another message than the third was kept (%v)", err)
	}
}

// TestUIDLsLast (I7): over sessions and over restarts.
func TestUIDLsLast(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"), simple("two"))
	ids := func() map[int]string {
		t.Helper()
		p := login(t, g, user)
		defer p.Quit()
		ids, err := p.UIDL()
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	before := ids()
	if len(before) != 2 || before[1] == before[2] {
		t.Fatalf("the unique-ids are %v", before)
	}
	g.Stop(t)
	g.Run(t)
	deliver(t, g, user, simple("three"))
	after := ids()
	if len(after) != 3 || after[1] != before[1] || after[2] != before[2] || after[3] == after[1] || after[3] == after[2] {
		t.Errorf("the unique-ids were %v and are %v", before, after)
	}
}

// TestManyRecipients gives one message to several accounts of two stores at once.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Stores: []harness.Mapping{
		harness.MaildirStore("mail", harness.Domain), harness.MaildirStore("other", "other.example"),
	}})
	users := []harness.User{g.AddUser(t, "erika"), g.AddUser(t, "max"), g.AddUserIn(t, "other", "eva@other.example")}
	s := mx(t, g)
	defer s.Quit()
	content := simple("to-all")
	if _, err := s.Send(envelope(users...), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		p := login(t, g, user)
		got, err := p.Retr(1)
		if err != nil {
			t.Fatalf("%s: %v", user.Address, err)
		}
		if _, err := trace(got, content); err != nil {
			t.Errorf("%s: %v", user.Address, err)
		}
		if err := p.Quit(); err != nil {
			t.Error(err)
		}
	}
}
