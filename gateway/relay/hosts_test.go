//go:build linux

package relay_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/fakedns"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

const two = `
	far.example.      MX 10 mx1.far.example.
	far.example.      MX 20 mx2.far.example.
	mx1.far.example.  A 192.0.2.1
	mx2.far.example.  A 192.0.2.2
`

func greets(text string) *fakesmtp.Server {
	return &fakesmtp.Server{Greet: func(int) string { return text }}
}

// TestNextHost: a host that cannot be reached, or does not want to talk, is followed by the next one (RFC 5321 §5.1),
// and is tried last for a while.
func TestNextHost(t *testing.T) {
	for name, first := range map[string]*fakesmtp.Server{
		"refused": nil, "4xx at the greeting": greets("421 4.3.2 busy"), "5xx at the greeting": greets("554 5.3.2 not here"), "closes": greets(fakesmtp.Close),
		"silent": greets(fakesmtp.Silent), "no SMTP": greets("hello"), "421 at MAIL": {Mail: func(fakesmtp.Transaction) string { return "421 4.3.2 bye" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, two)
			if first != nil {
				w.at(t, "192.0.2.1:25", first)
			}
			if name == "silent" {
				w.relay.Timeouts.Greeting = 2 * time.Second
			}
			second := w.at(t, "192.0.2.2:25", &fakesmtp.Server{})
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			w.finish(t)
			w.is(t, "k1", "a@far.example delivered 2.0.0")
			w.add(letter("k2", "b@far.example"), text)
			w.finish(t)
			if len(second.Received()) != 2 {
				t.Errorf("the second host has %v", second.Received())
			}
			if n := slices.Index(w.dialed, "192.0.2.1:25"); n != 0 || slices.Contains(w.dialed[1:], "192.0.2.1:25") {
				t.Errorf("dialed %v", w.dialed)
			}
		})
	}
}

// TestNoHost: what it means for mail that no host wants it.
func TestNoHost(t *testing.T) {
	const records = two + `
		nomail.example.   MX 0 .
		empty.example.    TXT "x"
		ours.example.     MX 10 gate.example.
		ours.example.     MX 20 mx2.far.example.
		gate.example.     A 192.0.2.9
		worse.example.    MX 5 mx1.far.example.
		worse.example.    MX 10 gate.example.
		worse.example.    MX 20 mx2.far.example.
		fails.example.    MX 10 mx1.far.example.
	`
	w := newWorld(t, records)
	w.dns.Fail("fails.example. MX", fakedns.ServFail, fakedns.Always)
	w.at(t, "192.0.2.2:25", greets("554 5.3.2 never"))
	cases := []struct{ domain, want string }{
		{"nowhere.example", "failed 5.1.2"},
		{"nomail.example", "failed 5.1.10"},
		{"empty.example", "failed 5.4.4"},
		{"ours.example", "failed 5.4.6"},
		{"worse.example", "waiting 4.4.1"}, // we are among them, and the one before us does not answer
		{"fails.example", "waiting 4.4.3"}, // DNS may know later
		{"far.example", "waiting 4.4.1"},   // one says never, the other one says nothing
		{"mx2.far.example", "failed 5.3.2"},
	}
	for _, c := range cases {
		w.add(letter(c.domain, "a@"+c.domain), text)
	}
	w.run(t)
	w.rest(t)
	for _, c := range cases {
		w.is(t, c.domain, "a@"+c.domain+" "+c.want)
	}
	if slices.Contains(w.dialed, "192.0.2.9:25") {
		t.Error("the gateway has called itself")
	}
}

// TestGreetingThatRefuses: a server that takes mail from us and refuses a further connection has enough of them, and
// one that was named by the administrator is down for a while, whatever it says: mail waits.
func TestGreetingThatRefuses(t *testing.T) {
	const messages = 30
	further := func(session int) string {
		if session > 1 {
			return "554 5.7.0 too many connections"
		}
		return ""
	}
	for name, c := range map[string]struct {
		server *fakesmtp.Server
		kind   relay.Kind
		limits relay.Limits
		taken  int
		code   string // of the others
		after  time.Duration
	}{
		"beside one that is open": {&fakesmtp.Server{Greet: further}, relay.MX, relay.Limits{Messages: 100}, messages, "", 0},
		"after one that was":      {&fakesmtp.Server{Greet: further}, relay.MX, relay.Limits{Messages: 10, Connections: 1}, 10, "4.7.0", 15 * time.Minute},
		"behind its last message": {&fakesmtp.Server{Greet: further, Offers: []string{"LIMITS MAILMAX=10"}}, relay.MX, relay.Limits{Connections: 1}, 10, "4.7.0", 15 * time.Minute},
		"of a smart host":         {greets("554 5.3.2 not now"), relay.SmartHost, relay.Limits{}, 0, "4.3.2", 15 * time.Minute},
		"of an LMTP server":       {&fakesmtp.Server{LMTP: true, Greet: greets("554 not now").Greet}, relay.LMTP, relay.Limits{}, 0, "4.0.0", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			server, second := c.server, newGate()
			greet := server.Greet
			server.Greet = func(session int) string {
				if session > 1 {
					second.pass()
				}
				return greet(session)
			}
			server.Mail = func(fakesmtp.Transaction) string {
				if c.taken == messages {
					second.wait()
				}
				return ""
			}
			w.at(t, "192.0.2.1:25", server)
			w.relay.Limits = c.limits
			w.relay.Routes = routes{"far.example": {Kind: c.kind, Domain: "far.example", Port: "25"}}
			if c.kind != relay.MX {
				w.relay.Routes = routes{"far.example": {Kind: c.kind, Servers: groups("192.0.2.1:25")}}
			}
			for i := range messages {
				w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
			}
			w.run(t)
			w.rest(t)
			if n := len(server.Received()); n != c.taken {
				t.Errorf("%d messages were taken", n)
			}
			if c.code == "" {
				return
			}
			w.is(t, fmt.Sprint("k", c.taken), "a@far.example waiting "+c.code)
			w.is(t, fmt.Sprint("k", messages-1), "a@far.example waiting")
			if len(w.backoff) != 1 || w.backoff[0].wait != c.after {
				t.Errorf("the destination was left alone: %v", w.backoff)
			}
		})
	}
}

// TestGreetingThatRefusesTheRest: recipients that did not fit into the first transaction, nor on its connection, wait
// when the next connection is refused.
func TestGreetingThatRefusesTheRest(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=1 MAILMAX=1"}, Greet: func(session int) string {
		if session%2 == 0 {
			return "554 5.7.0 too many connections"
		}
		return ""
	}})
	w.add(letter("k1", "a@far.example", "b@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example waiting 4.7.0")
}

// TestHostThatIsOurselves: a host that turns out to be the gateway, under another name, ends the way, too.
func TestHostThatIsOurselves(t *testing.T) {
	for name, c := range map[string]struct {
		ours string // the address at which the gateway greets
		want string
	}{"the best": {"192.0.2.1:25", "failed 5.4.6"}, "the next": {"192.0.2.2:25", "waiting 4.4.1"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, two)
			w.at(t, c.ours, &fakesmtp.Server{Name: "gate.example"})
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example "+c.want)
		})
	}
}

// TestOursByAddress: the owner of the gateway's addresses knows it in any domain.
func TestOursByAddress(t *testing.T) {
	w := newWorld(t, two)
	w.relay.IsOurs = func(h mx.Host) bool { return slices.Contains(h.Addresses, netip.MustParseAddr("192.0.2.1")) }
	w.add(letter("k1", "a@far.example"), text)
	literal := letter("k2", "a@[192.0.2.1]")
	w.add(literal, text)
	w.run(t)
	w.finish(t)
	w.is(t, "k1", "a@far.example failed 5.4.6")
	w.is(t, "k2", "a@[192.0.2.1] failed 5.4.6")
}

// TestAddressLiteral: an address literal is its own host (RFC 5321 §4.1.3).
func TestAddressLiteral(t *testing.T) {
	w := newWorld(t, "")
	server := w.at(t, "192.0.2.7:25", &fakesmtp.Server{})
	six := w.at(t, "[2001:db8::7]:25", &fakesmtp.Server{})
	w.add(letter("k1", "a@[192.0.2.7]"), text)
	w.add(letter("k2", "a@[IPv6:2001:db8::7]"), text)
	w.add(letter("k3", "a@[here]"), text)
	w.run(t)
	w.finish(t)
	w.is(t, "k3", "a@[here] failed 5.1.2")
	if len(server.Received()) != 1 || len(six.Received()) != 1 {
		t.Errorf("got %v and %v", server.Received(), six.Received())
	}
}

// TestTLS: a handshake that fails is followed by an attempt in the clear where TLS is a matter of chance, and by none
// where it is required.
func TestTLS(t *testing.T) {
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") }}
	for name, c := range map[string]struct {
		policy *smtpclient.TLS
		want   string
	}{
		"opportunistic": {nil, "delivered 2.0.0"},
		"required":      {&smtpclient.TLS{Policy: smtpclient.Required}, "waiting 4.7.10"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", TLS: c.policy}}
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{TLS: broken})
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example "+c.want)
		})
	}
}

// TestSmartHost: a route leads to servers by name, with a login, whatever DNS says of the domain.
func TestSmartHost(t *testing.T) {
	w := newWorld(t, "")
	server := w.at(t, "smart.example:587", &fakesmtp.Server{Offers: []string{"AUTH PLAIN"}})
	w.relay.Routes = routes{"route:out": {
		Kind: relay.SmartHost, Servers: groups("down.example:587", "smart.example:587"),
		Auth: smtpclient.Plain("", "gate", "secret"), TLS: &smtpclient.TLS{Policy: smtpclient.Clear},
	}}
	m := letter("k1", "a@far.example", "b@near.example")
	for i := range m.Recipients {
		m.Recipients[i].Destination = "route:out"
	}
	w.add(m, text)
	w.run(t)
	w.finish(t)
	if got := server.Received(); len(got) != 1 || len(got[0].Paths) != 2 {
		t.Errorf("the smart host has %v", got)
	}
	if !slices.ContainsFunc(server.Commands(), func(line string) bool { return strings.HasPrefix(line, "AUTH PLAIN ") }) {
		t.Errorf("nobody has logged in: %q", server.Commands())
	}
	w.end()
	if strings.Contains(w.logged(), "secret") {
		t.Error("the password is in the log")
	}
}

// TestLoginRefused: mail waits when it is the gateway's own login that is wrong.
func TestLoginRefused(t *testing.T) {
	w := newWorld(t, "")
	w.at(t, "smart.example:587", &fakesmtp.Server{Offers: []string{"AUTH PLAIN"}, Auth: func(string) string { return "535 5.7.8 wrong" }})
	w.relay.Routes = routes{"far.example": {
		Kind: relay.SmartHost, Servers: groups("smart.example:587"), Auth: smtpclient.Plain("", "gate", "secret"), TLS: &smtpclient.TLS{},
	}}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting 4.7.8")
}

// TestLMTP: each recipient has an outcome of its own after the content, and "delivered" is what it says.
func TestLMTP(t *testing.T) {
	w := newWorld(t, "")
	w.at(t, "store.example:24", &fakesmtp.Server{LMTP: true, End: func(_ fakesmtp.Transaction, path string) string {
		if path == "full@far.example" {
			return "452 4.2.2 full"
		}
		return ""
	}})
	w.relay.Routes = routes{"far.example": {Kind: relay.LMTP, Servers: groups("store.example:24")}}
	w.add(letter("k1", "a@far.example", "full@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "full@far.example waiting 4.2.2")
	w.end()
	if !strings.Contains(w.logged(), `"outcome":"delivered"`) {
		t.Error("it is not told as delivered")
	}
}

// TestLimits: recipients that a server does not take together go in further transactions, once each (RFC 9422).
func TestLimits(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"LIMITS RCPTMAX=10 MAILMAX=2"}, Rcpt: func(tr fakesmtp.Transaction, _ string) string {
		if tr.Took >= 10 {
			return "554 5.7.0 abuse"
		}
		return ""
	}})
	var to []string
	for i := range 35 {
		to = append(to, fmt.Sprintf("u%d@far.example", i))
	}
	w.add(letter("k1", to...), text)
	w.run(t)
	w.finish(t)
	copies := server.Copies(text)
	for _, path := range to {
		if copies[path] != 1 {
			t.Errorf("%s has %d copies", path, copies[path])
		}
	}
	if server.Transactions() != 4 || server.Connections() != 2 {
		t.Errorf("%d transactions, %d connections", server.Transactions(), server.Connections())
	}
}

// TestLacks: what a server does not have, and the message cannot do without.
func TestLacks(t *testing.T) {
	const eight, utf8Header = "Subject: x\r\n\r\ngr\u00fc\u00dfe\r\n", "Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n"
	for name, c := range map[string]struct {
		offers  []string
		change  func(*spool.Message)
		content string
		want    string
	}{
		"too large":                  {[]string{"SIZE 20"}, nil, text, "failed 5.3.4"},
		"any size":                   {[]string{"SIZE 0"}, nil, text, "delivered 2.0.0"},
		"8-bit":                      {nil, func(m *spool.Message) { m.Envelope.Body = 1 }, eight, "delivered 2.0.0"},
		"8-bit header":               {nil, func(m *spool.Message) { m.Envelope.Body = 1 }, utf8Header, "failed 5.6.3"},
		"8-bit and signed":           {nil, func(m *spool.Message) { m.Envelope.Body = 1 }, "Content-Type: multipart/signed; boundary=s\r\n" + eight, "failed 5.6.3"},
		"8-bit, and larger then":     {[]string{"SIZE 40"}, func(m *spool.Message) { m.Envelope.Body = 1 }, eight, "failed 5.3.4"},
		"8-bit declared, and is not": {nil, func(m *spool.Message) { m.Envelope.Body = 1 }, text, "delivered 2.0.0"},
		"8-bit taken":                {[]string{"8BITMIME"}, func(m *spool.Message) { m.Envelope.Body = 1 }, eight, "delivered 2.0.0"},
		"a header in UTF-8":          {[]string{"8BITMIME"}, func(m *spool.Message) { m.Envelope.SMTPUTF8 = true }, utf8Header, "failed 5.6.7"},
		"SMTPUTF8, and is ASCII":     {nil, func(m *spool.Message) { m.Envelope.SMTPUTF8 = true }, text, "delivered 2.0.0"},
		"a sender in UTF-8":          {nil, func(m *spool.Message) { m.Envelope.From = "\u03b3@sakes.example" }, text, "failed 5.6.7"},
		"no address":                 {nil, func(m *spool.Message) { m.Recipients[0].Address = "a b@far.example" }, text, "failed 5.1.3"},
		"REQUIRETLS by MX":           {[]string{"REQUIRETLS"}, func(m *spool.Message) { m.Envelope.RequireTLS = true }, text, "failed 5.7.30"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: c.offers})
			m := letter("k1", "a@far.example")
			if c.change != nil {
				c.change(&m)
			}
			w.add(m, c.content)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", m.Recipients[0].Address+" "+c.want)
		})
	}
}

// TestConverted: a server without 8BITMIME gets a body in 7 bits, and is told the size that it has then, also where it
// takes so few recipients that the message is sent again; one that has 8BITMIME gets it as it is.
func TestConverted(t *testing.T) {
	const eight = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nAll the best, and more, gr\u00fc\u00dfe\r\n"
	const seven = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nAll the best, and more, gr=C3=BC=C3=9Fe\r\n"
	for content, offers := range map[string][]string{seven: {"SIZE 1000"}, eight: {"SIZE 1000", "8BITMIME"}} {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: offers, Rcpt: func(tr fakesmtp.Transaction, _ string) string {
			if tr.Took == 1 {
				return "452 4.5.3 too many recipients"
			}
			return ""
		}})
		m := letter("k1", "a@far.example", "b@far.example")
		m.Envelope.Body = 1
		w.add(m, eight)
		w.run(t)
		w.finish(t)
		if copies := server.Copies(content); copies["a@far.example"] != 1 || copies["b@far.example"] != 1 {
			t.Errorf("%v: the server has %q", offers, server.Received())
		}
		if all := strings.Join(server.Commands(), "\n"); !strings.Contains(all, fmt.Sprintf(" SIZE=%d", len(content))) || strings.Contains(all, "BODY=8BITMIME") != (len(offers) == 2) {
			t.Errorf("the server was told\n%s", all)
		}
	}
}

// TestRequireTLS: what asks for REQUIRETLS goes to a server that is named, shows its certificate and has the extension,
// and says so there; else it comes back (RFC 8689 §4.2.1, §5).
func TestRequireTLS(t *testing.T) {
	authority := harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		offers []string
		policy smtpclient.Policy
		want   string
	}{
		"as it asks":       {[]string{"REQUIRETLS"}, smtpclient.Verified, "delivered 2.0.0"},
		"not the next hop": {nil, smtpclient.Verified, "failed 5.7.30"},
		"any certificate":  {[]string{"REQUIRETLS"}, smtpclient.Required, "failed 5.7.30"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			server := w.at(t, "localhost:25", &fakesmtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Offers: c.offers})
			w.relay.TLS = &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12}
			w.relay.Routes = routes{"far.example": {Kind: relay.SmartHost, Servers: groups("localhost:25"), TLS: &smtpclient.TLS{Policy: c.policy}}}
			m := letter("k1", "a@far.example")
			m.Envelope.RequireTLS = true
			w.add(m, text)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example "+c.want)
			said := slices.Contains(server.Commands(), "MAIL FROM:<ada@sakes.example> REQUIRETLS")
			if delivered := strings.HasPrefix(c.want, "delivered"); said != delivered {
				t.Errorf("the server was told %q", server.Commands())
			}
		})
	}
}

// TestCertificateOfAStranger: a route that verifies certificates sends nothing to a server that shows another one.
func TestCertificateOfAStranger(t *testing.T) {
	authority, stranger := harness.NewAuthority(t), harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(stranger.CertFile, stranger.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "")
	server := w.at(t, "localhost:25", &fakesmtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Offers: []string{"AUTH PLAIN"}})
	w.relay.TLS = &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS12}
	// TLS is not said: with a login it is verified.
	w.relay.Routes = routes{"far.example": {Kind: relay.SmartHost, Servers: groups("localhost:25"), Auth: smtpclient.Plain("", "gate", "secret")}}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting 4.7.10")
	if commands := server.Commands(); slices.ContainsFunc(commands, func(line string) bool { return strings.HasPrefix(line, "AUTH") || strings.HasPrefix(line, "MAIL") }) {
		t.Errorf("the server was told %q", commands)
	}
}
