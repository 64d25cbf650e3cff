//go:build linux

package internet

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// The hosts' addresses are of the networks for documentation (RFC 5737, RFC 3849). Chris's host has those of others, too:
// of servers that a test plays, or that do not answer.
const (
	dnsAddress       = "192.0.2.53"
	kifissia         = "192.0.2.25"
	dcnw             = "192.0.2.110"
	chris            = "192.0.2.7"
	kifissia6, dcnw6 = "2001:db8::25", "2001:db8::110"
	grey, down       = "192.0.2.71", "192.0.2.72"
	gone, second     = "192.0.2.73", "192.0.2.74"
	plain            = "192.0.2.75"
)

// zone is what DNS has of names.
const zone = `
sakes.example.          MX 10 kifissia.sakes.example.
kifissia.sakes.example. A ` + kifissia + `
kifissia.sakes.example. AAAA ` + kifissia6 + `

dcnw.example.           MX 10 pop3.dcnw.example.
pop3.dcnw.example.      A ` + dcnw + `
pop3.dcnw.example.      AAAA ` + dcnw6 + `

chris.far.example.      A ` + chris + `

grey.example.           MX 10 mx.grey.example.
mx.grey.example.        A ` + grey + `
down.example.           MX 10 mx.down.example.
mx.down.example.        A ` + down + `
plain.example.          MX 10 mx.plain.example.
mx.plain.example.       A ` + plain + `
two.example.            MX 10 first.two.example.
two.example.            MX 20 second.two.example.
first.two.example.      A ` + gone + `
second.two.example.     A ` + second + `
`

// named are the addresses that lead back to a name.
var named = map[string]string{
	kifissia: "kifissia.sakes.example.", kifissia6: "kifissia.sakes.example.", dcnw: "pop3.dcnw.example.", dcnw6: "pop3.dcnw.example.",
	chris: "chris.far.example.",
}

// records are all that DNS has.
func records(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	all.WriteString(zone)
	for address, name := range named {
		reverse, err := dns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, reverse, "PTR", name)
	}
	return all.String()
}

// world is an Internet of its own.
type world struct {
	kifissia, dcnw, chris *host
	gateway               *harness.Gateway
	exchange              *exchange.Server // whose mailboxes SAKES has; nil: they are a Maildir's
	boxes                 map[string]*exchange.Mailbox
	withoutTransport      bool     // that server sends nothing itself
	tlsFails              bool     // at pop3.dcnw.example
	reading               sync.Map // a mutex for each mailbox: one session has it at a time (RFC 1939 §4)
}

// patience is how long something may take that takes a moment, on a machine that is busy with other tests.
const patience = 3 * time.Minute

// scaled is the relay's usual schedule, 15 min, 30 min, 1 h and 4 h, nine hundred times as fast. A delay is told of
// after less than its 4 h.
var scaled = harness.Mapping{"retry": []string{"1s", "2s", "4s", "16s"}, "delay_notice": "2s", "resolvers": []string{dnsAddress + ":53"}}

// newWorld starts all of it, with a Maildir at Kifissia. The server at pop3.dcnw.example is the one that is given, and Dovecot reads its mailboxes.
func newWorld(t *testing.T, start func(*testing.T, peers.Site) string, there, here []string) *world {
	t.Helper()
	w := newWire(t).world(t, start, there)
	store := harness.MaildirStore("mail", "sakes.example")
	store["settings"] = harness.Mapping{"root": "mail", "outbox": true}
	w.prepareGateway(t, store)
	for _, box := range here {
		w.gateway.AddUserIn(t, "mail", box+"@sakes.example")
	}
	w.kifissia.do(t, func() { w.gateway.Run(t) })
	return w
}

// world starts all but the gateway.
func (h *host) world(t *testing.T, start func(*testing.T, peers.Site) string, there []string) *world {
	t.Helper()
	names := h.plug(t, "names", dnsAddress)
	w := &world{
		kifissia: h.plug(t, "kifissia", kifissia, kifissia6), dcnw: h.plug(t, "dcnw", dcnw, dcnw6),
		chris: h.plug(t, "chris", chris, grey, down, gone, second, plain),
	}
	names.do(t, func() { peers.StartNSD(t, dnsAddress+":53", records(t)) })
	w.dcnw.do(t, func() {
		site := peers.Site{Host: "pop3.dcnw.example", Domain: "dcnw.example", Boxes: there}
		users := make(map[string]string)
		for _, box := range there {
			users[box+"@"+site.Domain] = box + "-secret"
		}
		peers.StartDovecot(t, peers.DovecotOptions{
			Users: users, MailLocation: "maildir:" + filepath.Join(start(t, site), "%u"), Extra: publicPOP3,
		})
	})
	return w
}

// publicPOP3 has Dovecot serve everybody, whatever characters a name has, and whoever has just said QUIT.
const publicPOP3 = `listen = *
auth_username_chars =
pop3_lock_session = no
service pop3-login {
  inet_listener internet {
    port = 110
  }
}
`

// prepareGateway makes the gateway in front of a store, and does not start it.
func (w *world) prepareGateway(t *testing.T, store harness.Mapping) {
	t.Helper()
	var listeners []harness.Mapping
	for protocol, port := range map[string]int{"smtp": 25, "submission": 587, "submissions": 465, "pop3": 110, "pop3s": 995} {
		listeners = append(listeners, harness.Mapping{"protocol": protocol, "address": fmt.Sprint(":", port)})
	}
	w.gateway = harness.Prepare(t, harness.Options{
		Kind: harness.Plain, // of 30 MB, each octet passes

		Stores: []harness.Mapping{store},
		More: harness.Mapping{
			"hostname": "kifissia.sakes.example", "listeners": listeners, "relay": scaled,
			"routes": []harness.Mapping{{"name": "internet", "domains": []string{"*"}, "to": "mx"}},
		},
	})
}

// box is a mailbox that somebody reads by POP3, from Chris's host.
type box struct {
	w        *world
	user     string
	password string
	server   string
	secure   *tls.Config
}

// at is a mailbox: one of SAKES's, or one at pop3.dcnw.example.
func (w *world) at(address string) box {
	local, domain, _ := strings.Cut(address, "@")
	if domain == "sakes.example" {
		return box{w, address, "open " + address, net.JoinHostPort(kifissia, "995"), w.gateway.Authority.Client()}
	}
	return box{w, address, local + "-secret", net.JoinHostPort(dcnw, "110"), nil}
}

func (b box) login(t *testing.T) *harness.POP3 {
	t.Helper()
	var (
		p   *harness.POP3
		err error
	)
	b.w.chris.do(t, func() { p, err = harness.DialPOP3(b.server, b.secure) })
	if err == nil && b.user == giorgos { // who reads UTF-8
		_, err = p.Ask("UTF8")
	}
	if err == nil {
		err = p.Login(b.user, b.password)
	}
	if err != nil {
		t.Fatalf("%s: %v", b.user, err)
	}
	return p
}

// await waits for the message that has all of these texts, and gives it.
func (b box) await(t *testing.T, texts ...string) (found []byte) {
	t.Helper()
	seen := make(map[string]bool)
	for deadline := time.Now().Add(patience); found == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has no message with %q; of %d", b.user, texts, len(seen))
		}
		for _, message := range b.fresh(t, seen) {
			if hasAll(message, texts) {
				found = message
			}
		}
	}
	return found
}

// count is how many messages with all of these texts there are now.
func (b box) count(t *testing.T, texts ...string) (n int) {
	t.Helper()
	for _, message := range b.fresh(t, make(map[string]bool)) {
		if hasAll(message, texts) {
			n++
		}
	}
	return n
}

// fresh are the messages that were not seen before.
func (b box) fresh(t *testing.T, seen map[string]bool) (all [][]byte) {
	t.Helper()
	one, _ := b.w.reading.LoadOrStore(b.user, new(sync.Mutex))
	one.(*sync.Mutex).Lock()
	defer one.(*sync.Mutex).Unlock()
	p := b.login(t)
	defer p.Close()
	ids, err := p.UIDL()
	if err != nil {
		t.Fatal(err)
	}
	for number, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		message, err := p.Retr(number)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, message)
	}
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	return all
}

func hasAll(message []byte, texts []string) bool {
	for _, text := range texts {
		if !bytes.Contains(message, []byte(text)) {
			return false
		}
	}
	return true
}

// drop puts a message into an account's outbox in SAKES's store, as programs there do: whole, by a rename.
func (w *world) drop(t *testing.T, from, content string) {
	t.Helper()
	name, domain, _ := strings.Cut(from, "@")
	outbox := filepath.Join(w.gateway.Dir, "mail", domain, name, ".Outbox")
	for _, part := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(outbox, part), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	made := filepath.Join(outbox, "tmp", "letter")
	if err := os.WriteFile(made, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, filepath.Join(outbox, "new", "letter")); err != nil {
		t.Fatal(err)
	}
}

// send has an account send: of SAKES's by submission, from Chris's host, and of the others on their server.
func (w *world) send(t *testing.T, e harness.Envelope, content io.Reader) {
	t.Helper()
	if _, err := w.trySend(t, e, content); err != nil {
		t.Fatalf("from %s to %q: %v", e.From, e.To, err)
	}
}

func (w *world) trySend(t *testing.T, e harness.Envelope, content io.Reader) (harness.Reply, error) {
	t.Helper()
	var (
		s   *harness.SMTP
		err error
	)
	sakes := strings.HasSuffix(e.From, "@sakes.example")
	if sakes {
		w.chris.do(t, func() { s, err = harness.DialSMTP(net.JoinHostPort(kifissia, "465"), w.gateway.Authority.Client()) })
	} else {
		w.dcnw.do(t, func() { s, err = harness.DialSMTP("127.0.0.1:25", nil) })
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if sakes {
		if err := s.Auth(e.From, "open "+e.From); err != nil {
			t.Fatal(err)
		}
	}
	return s.Send(e, content)
}
