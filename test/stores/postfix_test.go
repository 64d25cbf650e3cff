//go:build linux

package stores

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestPostfixDelivers: Postfix relays to the gateway as to any MX of its choice, over TLS and with
// commands sent together. A message of 5 MB with UTF-8 in its header, 8-bit text and dots arrives
// octet by octet, behind the fields of trace.
func TestPostfixDelivers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	reader := g.AddUser(t, "reader")
	postfix := peers.StartPostfix(t, peers.PostfixOptions{Settings: []string{
		"transport_maps = inline:{ {" + harness.Domain + " = smtp:[127.0.0.1]:" + g.Port("smtp") + "} }",
		"smtp_tls_security_level = verify", "smtp_tls_verify_cert_match = localhost", "smtp_tls_CAfile = " + g.Authority.CAFile,
		"debug_peer_list = 127.0.0.1", "debug_peer_level = 1", // so that the dialogue is in its log
	}})
	content := large(5 << 20)
	s, err := harness.DialSMTP(postfix.SMTP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := harness.Envelope{From: "jürgen@müller.example", To: []string{reader.Address}, EightBit: true, UTF8: true}
	if _, err := s.Send(e, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "Postfix has sent the message", func() bool {
		return strings.Contains(postfix.Log(), "status=sent (250 ")
	})

	p, err := harness.DialPOP3(g.Address("pop3s"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Ask("UTF8"); err != nil {
		t.Fatal(err)
	}
	if err := p.Login(reader.Address, reader.Password); err != nil {
		t.Fatal(err)
	}
	got, err := p.Retr(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := behindTrace(got, content); err != nil {
		t.Error(err)
	}
	trace := string(got[:len(got)-len(content)])
	for _, wanted := range []string{"Return-Path: <jürgen@müller.example>", "with UTF8SMTPS"} {
		if !strings.Contains(trace, wanted) {
			t.Errorf("%q is not in the trace:\n%s", wanted, trace)
		}
	}
	together(t, postfix.Log(), "MAIL FROM:<jürgen@müller.example> SIZE=", "RCPT TO:<"+reader.Address+">", "DATA")
}

// together wants commands in a log of Postfix's client, one behind another: no reply was waited for.
func together(t *testing.T, log string, commands ...string) {
	t.Helper()
	var dialogue strings.Builder
	for _, line := range regexp.MustCompile(`(?m)/smtp\[\d+\]: ([<>]) \S+: (.*)$`).FindAllStringSubmatch(log, -1) {
		dialogue.WriteString(line[1] + line[2] + "\n")
	}
	pattern := ""
	for _, command := range commands {
		pattern += ">" + regexp.QuoteMeta(command) + ".*\n"
	}
	if !regexp.MustCompile(pattern).MatchString(dialogue.String()) {
		t.Errorf("Postfix's client has not sent %q together:\n%s", commands, dialogue.String())
	}
}

// large is a message of at least size octets that needs SMTPUTF8 and 8BITMIME.
func large(size int) []byte {
	content := []byte("From: Jürgen <jürgen@müller.example>\r\nTo: reader@store.example\r\nSubject: Grüße\r\n" +
		"Date: Mon, 30 Nov 2026 01:02:03 +0000\r\nMessage-ID: <large@corpus.example>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	for n := 0; len(content) < size; n++ {
		content = fmt.Appendf(content, "%s %d: zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich\r\n", strings.Repeat(".", n%4), n)
	}
	return content
}

// TestDeliveryToPostfix: the SMTP client of the gateway and its backends delivers to Postfix. Each
// recipient has an outcome of its own, a message that is larger than Postfix takes is refused, and
// what Postfix offers is known.
func TestDeliveryToPostfix(t *testing.T) {
	t.Parallel()
	const most = 1_000_000
	postfix := peers.StartPostfix(t, peers.PostfixOptions{
		Boxes:    []string{"ada@peer.example", "bob@peer.example"},
		Settings: []string{fmt.Sprint("message_size_limit = ", most)},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := smtpclient.Dial(ctx, "tcp", postfix.SMTP, smtpclient.Options{Hello: "gate.example", TLS: smtpclient.TLS{Policy: smtpclient.Opportunistic}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.TLSState() == nil {
		t.Error("the connection is not secured")
	}
	for keyword, wanted := range map[string]string{"SIZE": fmt.Sprint(most), "DSN": "", "CHUNKING": "", "SMTPUTF8": "", "PIPELINING": ""} {
		if got, ok := client.Extension(keyword); !ok || got != wanted {
			t.Errorf("%s is offered: %t, %q", keyword, ok, got)
		}
	}

	content := large(100_000)
	e := smtpclient.Envelope{
		ReversePath: "jürgen@müller.example", Size: int64(len(content)), EightBit: true, UTF8: true,
		Recipients: []string{"ada@peer.example", "nobody@peer.example", "bob@peer.example"},
	}
	outcomes, err := client.Send(ctx, e, bytes.NewReader(content))
	if err != nil || len(outcomes) != 3 {
		t.Fatal(outcomes, err)
	}
	if outcomes[0].Err != nil || outcomes[2].Err != nil {
		t.Errorf("the outcomes are %v", outcomes)
	}
	refusedWith(t, outcomes[1], 550, "5.1.1")
	for _, name := range []string{"ada", "bob"} {
		stored := maildir(t, filepath.Join(postfix.Mail, name+"@peer.example"))
		if err := behindTrace(stored, bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	large := large(most + 1)
	e.Recipients, e.Size = []string{"ada@peer.example"}, int64(len(large))
	outcomes, err = client.Send(ctx, e, bytes.NewReader(large))
	if err != nil || len(outcomes) != 1 {
		t.Fatal(outcomes, err)
	}
	refusedWith(t, outcomes[0], 552, "5.3.4")
	if !client.Alive() {
		t.Error("a refusal has ended the connection")
	}
}

func refusedWith(t *testing.T, o smtpclient.Outcome, code int, status string) {
	t.Helper()
	var refused *smtpclient.ReplyError
	if !errors.As(o.Err, &refused) || refused.Code != code || !strings.HasPrefix(refused.Lines[0], status+" ") {
		t.Errorf("the outcome of %s is %v, wanted %d %s", o.Recipient, o.Err, code, status)
	}
}

// maildir is the one message of a Maildir, once it is there.
func maildir(t *testing.T, dir string) []byte {
	t.Helper()
	var files []string
	harness.Eventually(t, time.Minute, "one message in "+dir, func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, "new/*"))
		return len(files) == 1
	})
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return content
}
