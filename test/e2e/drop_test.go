//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestDropFolder (I1, I2): what an Exchange server writes into the Drop folder of a foreign connector leaves by the gateway, without what was in front of it. Its
// author has a report, in the mailbox there, on the recipient whom nobody takes, and a file that cannot be followed is set aside and told of. When the gateway
// is killed before it has removed a message that has left, nobody gets a second copy.
func TestDropFolder(t *testing.T) {
	t.Parallel()
	server := exchange.Start(t)
	host := (&fakesmtp.Server{Name: "smart.example", Offers: []string{"PIPELINING", "8BITMIME"}, Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if strings.Contains(path, "nobody") {
			return "550 5.1.1 there is no nobody here"
		}
		return ""
	}}).Start(t)
	dir, folder := t.TempDir(), filepath.Join(t.TempDir(), "Drop")
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "exchange.pem"), server.Certificate, 0o600), os.Mkdir(folder, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	george := server.AddMailbox("george@sakes.example", "george-secret", "/o=Sakes/cn=Recipients/cn=george")
	gate := server.AddMailbox("gate@sakes.example", "gate-secret", "/o=Sakes/cn=Recipients/cn=gate")
	george.Grant(gate, exchange.Rights{Reads: true})
	g := harness.Start(t, harness.Options{Dir: dir, Stores: []harness.Mapping{{
		"name": "sakes", "plugin": "exchange", "domains": []string{"sakes.example"},
		"settings": harness.Mapping{
			"url": server.Root, "ca": "exchange.pem", "service": harness.Mapping{"user": gate.User, "password": gate.Password},
			"delivery": harness.Mapping{"create": true}, "outbox": harness.Mapping{"drop": folder},
		},
	}}, More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "out", "domains": []string{"*"}, "to": "smtp", "hosts": []string{host.Address}, "tls": "clear"}},
	}})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "writing"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "writing"), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	const end = "X-CreatedBy: MSExchange15\r\nX-HeloDomain: mbx.sakes.example\r\nX-EndOfInjectedXHeaders: 1234\r\n"
	message := "X-sender: <george@sakes.example> BODY=8BITMIME\r\nX-Receiver: <zoe@far.example> ORCPT=rfc822;zoe@far.example\r\n\tXRDST=x\r\n" +
		"X-Receiver: <nobody@far.example>\r\n" + end + "From: George <george@sakes.example>\r\nTo: zoe@far.example\r\nX-Receiver: eve@far.example\r\nSubject: dropped\r\n\r\nΧαίρε\r\n"
	write("bad.eml", "X-Sender: <george@sakes.example>\r\nX-Receiver: zoe\r\n"+end+"Subject: bad\r\n\r\nx\r\n")
	write("letter.eml", message)

	taken := g.Log.Wait(t, 0, "message taken over from a store's outbox")
	harness.Eventually(t, time.Minute, "the message at the smart host", func() bool { return len(host.Received()) > 0 })
	if m := host.Received()[0]; !slices.Equal(m.Paths, []string{"zoe@far.example"}) || !strings.Contains(m.Content, "\r\n\r\nΧαίρε\r\n") || strings.Contains(m.Content, "MSExchange15") {
		t.Errorf("the smart host has %+v", m)
	}
	harness.Eventually(t, time.Minute, "George's report", func() bool {
		return slices.ContainsFunc(george.Messages(), func(m exchange.Message) bool {
			return bytes.Contains(m.Stream, []byte("n\x00o\x00b\x00o\x00d\x00y\x00@"))
		})
	})
	told := g.Log.Wait(t, 0, "has no envelope that can be followed", "rename it to .eml")
	if told.Field("level") != "error" || !strings.Contains(told.Text, `\"zoe\" is no address`) {
		t.Errorf("the log tells %s", told.Text)
	}
	gone := func(n int) {
		t.Helper()
		harness.Eventually(t, time.Minute, "the folder having the bad file alone", func() bool {
			entries, err := os.ReadDir(folder)
			return err == nil && len(entries) == 1 && strings.HasSuffix(entries[0].Name(), ".bad")
		})
		if got := strings.Count(strings.Join(contents(host), ""), "Subject: dropped"); got != n {
			t.Errorf("it has left %d times", got)
		}
	}
	gone(1)

	g.Signal(t, syscall.SIGKILL)
	_ = g.WaitExit(t)                                    // it was killed
	write(taken.Field("id")+",claimed=0.taken", message) // as if that had been before it was removed
	g.Run(t)
	g.Log.Wait(t, 0, "message taken over from a store's outbox", `"key":"`+taken.Field("key")+`"`)
	write("next.eml", strings.ReplaceAll(message, "Subject: dropped", "Subject: next"))
	harness.Eventually(t, time.Minute, "the next message", func() bool { return strings.Contains(strings.Join(contents(host), ""), "Subject: next") })
	gone(1)
}
