//go:build linux

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestSendConnector has an Exchange server's send connector give its mail to the gateway as a smart host: by its network (SmartHostAuthMechanism None) on port
// 25, or with a login over TLS (BasicAuthRequireTLS, which is AUTH LOGIN) on port 587. Several messages come on one connection, pipelined, with SIZE, DSN
// and BDAT; what Exchange's servers have among themselves (X-ANONYMOUSTLS, XEXCH50) is not offered, and not missed.
func TestSendConnector(t *testing.T) {
	t.Parallel()
	host := (&fakesmtp.Server{Name: "far.example", Offers: []string{"PIPELINING", "8BITMIME"}}).Start(t)
	g := harness.Start(t, harness.Options{More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "out", "domains": []string{"*"}, "to": "smtp", "hosts": []string{host.Address}, "tls": "clear"}},
		"smtp":   harness.Mapping{"relay_for": []string{"127.0.0.1/32"}},
	}})
	max, connector := g.AddUser(t, "max"), g.AddUser(t, "connector")
	sendsAsAll(t, filepath.Join(g.Dir, "mail", "accounts.yaml"), connector.Address)
	for _, way := range []struct{ name, listener string }{{"by network", "smtp"}, {"with a login", "submission"}} {
		t.Run(way.name, func(t *testing.T) {
			c := harness.Dial(t, g.Address(way.listener), nil)
			c.ExpectReply(220)
			c.Send("EHLO mbx01.sakes.example")
			offersOf(t, c.ExpectReply(250), "STARTTLS")
			c.Send("STARTTLS")
			c.ExpectReply(220)
			c.StartTLS(g.Authority.Client())
			c.Send("EHLO mbx01.sakes.example")
			offers := offersOf(t, c.ExpectReply(250), "SIZE", "PIPELINING", "8BITMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES")
			parameters := ""
			if way.listener == "submission" {
				if !slices.Contains(strings.Fields(offers["AUTH"]), "LOGIN") {
					t.Fatalf("AUTH %s", offers["AUTH"])
				}
				c.Send("AUTH LOGIN")
				c.ExpectReply(334)
				c.Send("%s", base64.StdEncoding.EncodeToString([]byte(connector.Address)))
				c.ExpectReply(334)
				c.Send("%s", base64.StdEncoding.EncodeToString([]byte(connector.Password)))
				c.ExpectReply(235)
				parameters = " AUTH=<>" // RFC 4954 §5
			}
			for n, chunk := range []int{1 << 20, 700, 1 << 20} {
				subject := fmt.Sprintf("%s %d", way.name, n)
				message := "From: Erika <erika@" + harness.Domain + ">\r\nTo: zoe@far.example\r\nSubject: " + subject + "\r\nX-MS-Has-Attach:\r\nX-MS-TNEF-Correlator:\r\nMIME-Version: 1.0\r\n" +
					"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nΧαίρε\r\n.\r\n" + strings.Repeat("a line of the message\r\n", 100)
				from := "erika@" + harness.Domain
				if n == 2 {
					from = "" // a report of Exchange's
				}
				c.Raw(fmt.Sprintf("MAIL FROM:<%s> SIZE=%d BODY=8BITMIME RET=HDRS ENVID=%d%s\r\n"+
					"RCPT TO:<zoe@far.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;zoe@far.example\r\nRCPT TO:<%s> NOTIFY=NEVER\r\n", from, len(message), n, parameters, max.Address))
				for range 3 {
					c.ExpectReply(250)
				}
				for rest := message; rest != ""; {
					piece := rest[:min(chunk, len(rest))]
					if rest = rest[len(piece):]; rest == "" {
						c.Raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(piece), piece))
					} else {
						c.Raw(fmt.Sprintf("BDAT %d\r\n%s", len(piece), piece))
					}
					c.ExpectReply(250)
				}
				_, body, _ := strings.Cut(message, "\r\n\r\n")
				harness.Eventually(t, time.Minute, subject+" at the far server", func() bool {
					return slices.ContainsFunc(host.Received(), func(m fakesmtp.Message) bool {
						return strings.Contains(m.Content, "Subject: "+subject+"\r\n") && strings.HasSuffix(m.Content, "\r\n\r\n"+body) && slices.Equal(m.Paths, []string{"zoe@far.example"})
					})
				})
			}
			c.Send("RCPT TO:<eve@far.example>") // of a transaction that there is not
			c.ExpectReply(503)
			c.Send("QUIT")
			c.ExpectReply(221)
		})
	}
	harness.Eventually(t, time.Minute, "all in Max's maildrop", func() bool { return len(readAll(t, g, max)) == 6 })
	if n := len(host.Received()); n != 6 {
		t.Errorf("the far server has %d messages", n)
	}
}

// offersOf are the extensions in a reply to EHLO, by their keywords. Those that are wanted are there, and none that Exchange's servers have among themselves.
func offersOf(t *testing.T, lines []string, wanted ...string) map[string]string {
	t.Helper()
	offers := make(map[string]string)
	for _, line := range lines[1:] {
		keyword, parameters, _ := strings.Cut(line, " ")
		if strings.HasPrefix(keyword, "X") {
			t.Errorf("%s is offered", keyword)
		}
		offers[keyword] = parameters
	}
	for _, keyword := range wanted {
		if _, there := offers[keyword]; !there {
			t.Errorf("%s is not offered, of %q", keyword, lines)
		}
	}
	return offers
}

// sendsAsAll lets an account send as everybody of its domain.
func sendsAsAll(t *testing.T, path, address string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, domain, _ := strings.Cut(address, "@")
	changed := strings.Replace(string(text), "address: "+address+"\n", "address: "+address+"\n    send_as: [\"@"+domain+"\"]\n", 1)
	if changed == string(text) {
		t.Fatalf("%s has no %s:\n%s", path, address, text)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}
