//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// exchangeConnector is a double of an Exchange server with a mailbox from which a gateway takes what is for others, which it gives to a smart host.
type exchangeConnector struct {
	*exchange.Server
	box     *exchange.Mailbox
	gateway *harness.Gateway
	host    *fakesmtp.Server
}

// startConnector starts a gateway without the race detector, as it is killed and started again and again.
func startConnector(t *testing.T) *exchangeConnector {
	t.Helper()
	c := &exchangeConnector{Server: exchange.Start(t), host: (&fakesmtp.Server{Name: "smart.example", Offers: []string{"PIPELINING", "8BITMIME"}}).Start(t)}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "exchange.pem"), c.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	c.box = c.AddMailbox("connector@sakes.example", "connector-secret", "/o=Sakes/cn=Recipients/cn=connector")
	gate := c.AddMailbox("gate@sakes.example", "gate-secret", "/o=Sakes/cn=Recipients/cn=gate")
	c.box.Grant(gate, exchange.Rights{Reads: true})
	c.gateway = harness.Start(t, harness.Options{Dir: dir, Kind: harness.Plain, Stores: []harness.Mapping{{
		"name": "sakes", "plugin": "exchange", "domains": []string{"sakes.example"},
		"settings": harness.Mapping{
			"url": c.Root, "ca": "exchange.pem", "service": harness.Mapping{"user": gate.User, "password": gate.Password},
			"outbox": harness.Mapping{"mailbox": c.box.User},
		},
	}}, More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "out", "domains": []string{"*"}, "to": "smtp", "hosts": []string{c.host.Address}, "tls": "clear"}},
	}})
	return c
}

// put has the server put a message for Zoe into the mailbox.
func (c *exchangeConnector) put(t *testing.T, subject string) {
	t.Helper()
	const submitted = 4 // MS-OXCMSG §2.2.1.6
	text := "From: george@sakes.example\r\nTo: zoe@far.example\r\nSubject: " + subject + "\r\n\r\nx\r\n"
	m, err := mime.Reader{}.Read(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Recipients {
		r.SetAddress(mapi.RecipientAddress, mapi.Address{Type: mapi.AddressSMTP, Address: "zoe@far.example", SMTP: "zoe@far.example"})
	}
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := w.Content(m); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	c.box.Put("Outbox", submitted, stream.Bytes())
}

// counts is how often a message has come to the smart host.
func (c *exchangeConnector) counts(subject string) (n int) {
	for _, m := range c.host.Received() {
		n += strings.Count(m.Content, "Subject: "+subject+"\r\n")
	}
	return n
}

// TestExchangeOutboxKilled (I1, I2): the gateway, or its plugin, is killed with -9 at each step between claiming a message in a mailbox's Outbox and
// deleting it there. Each message leaves once, and none stays. It takes some ten seconds, as each step starts a process anew.
func TestExchangeOutboxKilled(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"gateway", "plugin"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			c := startConnector(t)
			for _, step := range outboxSteps {
				come := c.HoldAt(step.operation, step.n, step.executed)
				c.put(t, step.name)
				select {
				case <-come:
				case <-time.After(2 * time.Minute):
					t.Fatalf("%s: the server does not come to it", step.name)
				}
				c.kill(t, victim)
				harness.Eventually(t, 2*time.Minute, step.name+": the Outbox being empty, and the message at the smart host", func() bool {
					return len(c.box.Messages()) == 0 && c.counts(step.name) > 0
				})
			}
			c.drained(t)
			for _, step := range outboxSteps {
				if n := c.counts(step.name); n != 1 {
					t.Errorf("%s: it comes %d times", step.name, n)
				}
			}
		})
	}
}

// outboxSteps are what the gateway is about to do, by what the server is asked for.
var outboxSteps = []struct {
	name      string
	operation uint8
	n         int
	executed  bool
}{
	{"before it is claimed", exchange.Save, 1, false},
	{"while it is read", exchange.GetBuffer, 1, false},
	{"before its recipients are noted", exchange.Save, 2, false},
	{"before it is made mail", exchange.Save, 2, true},
	{"when the queue has it", exchange.Save, 3, false},
	{"when it is settled", exchange.Save, 3, true},
	{"when it is deleted", exchange.HardDelete, 1, true},
}

// kill kills the gateway or its plugin, and has all leases end. What the gateway is sending is sent before: whether a message had come that was under way
// nobody could know.
func (c *exchangeConnector) kill(t *testing.T, victim string) {
	t.Helper()
	if victim == "plugin" {
		harness.Kill(t, c.gateway.Plugin(t))
		c.box.Unset("DipylonLease")
		return
	}
	c.drained(t)
	c.gateway.Signal(t, syscall.SIGKILL)
	_ = c.gateway.WaitExit(t) // it was killed
	c.box.Unset("DipylonLease")
	c.gateway.Run(t)
}

// drained waits until nothing is in the gateway's queue.
func (c *exchangeConnector) drained(t *testing.T) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the queue being empty", func() bool {
		out, err := c.gateway.Command("queue", "list", "--json", "--config", c.gateway.ConfigFile).Output()
		return err == nil && !bytes.Contains(out, []byte("zoe@"))
	})
}
