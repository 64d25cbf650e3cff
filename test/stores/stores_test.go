//go:build linux

package stores

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// domain is that of all stores here.
const domain = "peer.example"

// people are the accounts of each store, one for each test.
var people = []string{"corpus", "expunge", "restart", "swap", "odd", "measured", "doctor"}

func address(name string) string { return name + "@" + domain }
func secret(name string) string  { return name + "-secret" }

func accounts() map[string]string {
	all := make(map[string]string)
	for _, name := range people {
		all[address(name)] = secret(name)
	}
	return all
}

// store is a real mail system, and how the gateway is to reach it.
type store struct {
	plugin   string
	settings harness.Mapping
	imap     string // where its own IMAP is, host:port
	ports    []string
	idle     int // connections that the backend keeps for sessions to come
	stop     func()
	start    func()
	// refuses are the corpus's messages that the store takes for malformed, alters those in
	// which it does not leave everything as it was.
	refuses, alters []string
	refusal         string // of those; "": 554 5.6.0
	replaces        string // is in what the store gives in the place of a message that another session has removed
	// families are those of the corpus whose small messages are enough, nil: all of it. They are for a slow
	// store, or one that is there already.
	families []string
}

// kinds are the mail systems and the backends that reach them.
var kinds = map[string]func(t *testing.T) store{
	"dovecot by imap": func(t *testing.T) store {
		d := peers.StartDovecot(t, peers.DovecotOptions{Users: accounts(), Master: "keeper:keeper-secret"})
		return store{
			plugin: "imap", imap: d.IMAP, ports: []string{d.IMAPS, d.LMTP}, stop: d.Stop, start: d.Start,
			settings: imapSettings(d.IMAPS, d.CA, d.LMTP, "keeper", "keeper-secret"),
		}
	},
	"courier by imap": func(t *testing.T) store {
		c := peers.StartCourier(t, accounts())
		return store{
			plugin: "imap", imap: c.IMAP, ports: []string{c.IMAP}, stop: c.Stop, start: c.Start,
			idle:     1, // the test's own client, which comes to the same port
			settings: appendSettings(c.IMAP), alters: courierAlters, replaces: "Subject: message unavailable\r\n",
		}
	},
	"cyrus by jmap": func(t *testing.T) store {
		c := peers.StartCyrus(t, peers.CyrusOptions{Users: accounts()})
		return store{
			plugin: "jmap", imap: c.IMAP, ports: []string{c.HTTPS, c.LMTP}, idle: 8,
			stop: c.Stop, start: c.Start, settings: jmapSettings(c),
			refuses: cyrusRefuses, alters: cyrusAlters,
		}
	},
	"cyrus by imap": func(t *testing.T) store {
		c := peers.StartCyrus(t, peers.CyrusOptions{Users: accounts()})
		return store{
			plugin: "imap", imap: c.IMAP, ports: []string{c.IMAPS, c.LMTP},
			stop: c.Stop, start: c.Start,
			settings: imapSettings(c.IMAPS, c.CA, c.LMTP, peers.CyrusAdmin, peers.CyrusAdminPassword),
			refuses:  cyrusRefuses, alters: cyrusAlters,
			families: []string{"plain", "octets", "header", "dots"}, // the whole of it comes to this server in front of JMAP
		}
	},
}

func jmapSettings(c *peers.Cyrus) harness.Mapping {
	return harness.Mapping{
		"url": "https://" + c.HTTPS, "ca": c.CA, "tls_name": "localhost", "timeout": "10s",
		"requests": 2, // four times as many connections are kept
		"delivery": harness.Mapping{"lmtp": c.LMTP},
	}
}

// Cyrus wants a header that is one, and no NUL. It adds a Message-ID and a Date, takes fields of trace away
// that are not its own, and leaves a stuffed dot where it begins a line of the header.
var (
	cyrusRefuses = []string{
		"octets/all", "octets/nul", "octets/many-nul",
		"header/odd-names", "header/no-colon", "header/no-blank-line", "header/blank-line-with-space",
	}
	cyrusAlters = []string{
		"plain/nothing", "plain/one-empty-line", "plain/empty-header", "plain/only-from",
		"plain/no-header", "plain/no-header-blank-line", "plain/unfinished-one-octet", "header/folded-first",
		"dots/first-in-message", "dots/field-of-dots", "dots/nothing-else", "dots/nothing-else-twice",
	}
)

// Courier ends a message at a NUL, and gives no more than the beginning of one with too many parts.
var courierAlters = []string{"octets/all", "octets/nul", "octets/many-nul", "broken/thousand-parts"}

// appendSettings are for a server that has no LMTP: what comes in is appended.
func appendSettings(address string) harness.Mapping {
	return harness.Mapping{
		"address": address, "tls": "none", "timeout": "10s",
		"connections": harness.Mapping{"keep": "0s"},
		"master":      harness.Mapping{"user": peers.FrontMaster, "password": peers.FrontMasterPassword},
		"delivery":    harness.Mapping{"append": true},
	}
}

func imapSettings(address, ca, lmtp, master, password string) harness.Mapping {
	return harness.Mapping{
		"address": address, "ca": ca, "tls_name": "localhost", "timeout": "10s",
		"connections": harness.Mapping{"keep": "0s"}, // so that what is left over is seen
		"master":      harness.Mapping{"user": master, "password": password},
		"delivery":    harness.Mapping{"lmtp": lmtp},
	}
}

// front starts a gateway in front of stores.
func front(t *testing.T, stores ...harness.Mapping) *harness.Gateway {
	t.Helper()
	return harness.Start(t, harness.Options{Stores: stores})
}

func (s store) mapping() harness.Mapping {
	return harness.Mapping{"name": "real", "plugin": s.plugin, "domains": []string{domain}, "settings": s.settings}
}

// TestStores is each kind of store, started once, with a test for each promise.
func TestStores(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			g := front(t, s.mapping())
			t.Run("with", func(t *testing.T) {
				t.Run("corpus", func(t *testing.T) { t.Parallel(); testCorpus(t, s) })
				t.Run("another client", func(t *testing.T) { t.Parallel(); testAnotherClient(t, g, s) })
				t.Run("not canonical", func(t *testing.T) { t.Parallel(); testNotCanonical(t, s) })
				t.Run("doctor", func(t *testing.T) { t.Parallel(); testDoctor(t, g) })
			})
			t.Run("restarted", func(t *testing.T) { testRestart(t, g, s) })
		})
	}
}

// testCorpus sends the whole collection in by SMTP. What comes out by POP3 is what the store
// itself holds, and that is what was sent, behind the fields of trace. The gateway is as it is shipped: octets
// are compared here, and the other tests find races.
func testCorpus(t *testing.T, s store) {
	g := harness.Start(t, harness.Options{Kind: harness.Plain, Stores: []harness.Mapping{s.mapping()}})
	messages := send(t, g, s)
	p := login(t, g, "corpus")
	defer p.Quit()
	sizes, err := p.List()
	if err != nil || len(sizes) != len(messages) {
		t.Fatalf("%d messages are listed (%v), and %d were sent", len(sizes), err, len(messages))
	}
	held := dialIMAP(t, s.imap, "corpus")
	for i, m := range messages {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		own := held.body(t, i+1)
		if want := canonical(t, own); !bytes.Equal(got, want) {
			t.Errorf("%s: the store holds something else: %s", m.Name, difference(got, want))
		}
		// Of what is not canonical no store knows the size: see testNotCanonical.
		if bytes.Equal(got, own) && int64(len(got)) != sizes[i+1] {
			t.Errorf("%s: LIST says %d octets, RETR gives %d", m.Name, sizes[i+1], len(got))
		}
		wanted := m.Arriving()
		if m.NUL { // Dovecot keeps no NUL (RFC 5321 §4.5.2 lets it)
			wanted = bytes.ReplaceAll(wanted, []byte{0}, []byte{0x80})
		}
		if err := behindTrace(got, wanted); (err != nil) != slices.Contains(s.alters, m.Name) {
			t.Errorf("%s: what is known of this store is not so: %v", m.Name, err)
		}
	}
}

// messages are those of the collection that the store is given.
func (s store) messages() iter.Seq[corpus.Message] {
	if s.families == nil {
		return corpus.All()
	}
	return func(yield func(corpus.Message) bool) {
		for m := range corpus.Small(2000) {
			family, _, _ := strings.Cut(m.Name, "/")
			if slices.Contains(s.families, family) && !yield(m) {
				return
			}
		}
	}
}

// send sends the collection and returns what was taken. What the store refuses is told as its
// own refusal.
func send(t *testing.T, g *harness.Gateway, s store) (taken []corpus.Message) {
	t.Helper()
	mailer := mx(t, g)
	defer mailer.Close()
	for m := range s.messages() {
		e := envelope("corpus")
		e.EightBit, e.UTF8 = m.EightBit, m.UTF8
		switch _, err := mailer.Send(e, m.Reader()); {
		case slices.Contains(s.refuses, m.Name):
			refusal(t, err, cmp.Or(s.refusal, "554 5.6.0"))
		case err != nil:
			t.Errorf("%s: %v", m.Name, err)
		default:
			taken = append(taken, m)
		}
	}
	return taken
}

// testAnotherClient: what another client removes in mid-session is missing, and nothing else;
// what arrives is for the next session.
func testAnotherClient(t *testing.T, g *harness.Gateway, s store) {
	deliver(t, g, "expunge", simple("first"), simple("second"), simple("third"))
	p := login(t, g, "expunge")
	before, err := p.UIDL()
	if err != nil || len(before) != 3 {
		t.Fatalf("the session has %v (%v)", before, err)
	}
	remove(t, s.imap, "expunge", 2)
	deliver(t, g, "expunge", simple("late"))
	readRemoved(t, p, s)
	for n, subject := range map[int]string{1: "first", 3: "third"} {
		if got, err := p.Retr(n); err != nil || !strings.Contains(string(got), "body of "+subject) {
			t.Errorf("message %d is %q (%v)", n, got, err)
		}
	}
	if n, _, err := p.Stat(); n != 3 || err != nil {
		t.Errorf("there are %d messages now (%v)", n, err)
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}

	next := login(t, g, "expunge")
	defer next.Quit()
	after, err := next.UIDL()
	if err != nil || len(after) != 3 {
		t.Fatalf("the next session has %v (%v)", after, err)
	}
	if after[1] != before[1] || after[2] != before[3] {
		t.Errorf("the next session has %v, and the one before had %v", after, before)
	}
	for i, subject := range []string{"first", "third", "late"} {
		if got, err := next.Retr(i + 1); err != nil || !strings.Contains(string(got), "body of "+subject) {
			t.Errorf("message %d of the next session is %q (%v)", i+1, got, err)
		}
	}
}

// readRemoved reads the second message, which another client has removed since the session began.
func readRemoved(t *testing.T, p *harness.POP3, s store) {
	t.Helper()
	// A server may go on giving it until it has told this session, which is asked for at times.
	var err error
	harness.Eventually(t, 10*time.Second, "the message that was removed is missing", func() bool {
		var got []byte
		got, err = p.Retr(2)
		if err == nil && s.replaces != "" && strings.Contains(string(got), s.replaces) {
			return true
		}
		if err == nil && !strings.Contains(string(got), "body of second") {
			t.Errorf("the message that was removed is %q", got)
		}
		return err != nil
	})
	if s.replaces == "" {
		refusal(t, err, "-ERR")
	}
}

// login opens a maildrop whose messages come as the store has them: without UTF8 a client is
// shown headers in ASCII.
func login(t *testing.T, g *harness.Gateway, name string) *harness.POP3 {
	t.Helper()
	p, err := harness.DialPOP3(g.Address("pop3s"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if _, err := p.Ask("UTF8"); err != nil {
		t.Fatal(err)
	}
	if err := p.Login(address(name), secret(name)); err != nil {
		t.Fatalf("logging in as %s: %v", name, err)
	}
	return p
}

func mx(t *testing.T, g *harness.Gateway) *harness.SMTP {
	t.Helper()
	s, err := harness.DialSMTP(g.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func deliver(t *testing.T, g *harness.Gateway, to string, contents ...[]byte) {
	t.Helper()
	s := mx(t, g)
	defer s.Quit()
	for _, content := range contents {
		if _, err := s.Send(envelope(to), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
}

func envelope(to string) harness.Envelope {
	return harness.Envelope{From: "sender@corpus.example", To: []string{address(to)}}
}

func simple(subject string) []byte {
	return fmt.Appendf(nil, "From: sender@corpus.example\r\nSubject: %s\r\nMessage-ID: <%s@corpus.example>\r\n\r\nbody of %s\r\n", subject, subject, subject)
}

// traceFields are what gateway and store may put in front of a message.
var traceFields = []string{"Return-Path:", "Delivered-To:", "Received:", "Dipylon-Delivery-Key:", "X-Original-To:", "X-Sieve:", "X-Cyrus-Session-Id:"}

// behindTrace wants a content at the end of what a store holds, and nothing but trace before it.
func behindTrace(stored, content []byte) error {
	front, ok := bytes.CutSuffix(stored, content)
	if !ok {
		return fmt.Errorf("the content has changed: %s", difference(stored, content))
	}
	for line := range strings.Lines(string(front)) {
		known := slices.ContainsFunc(traceFields, func(name string) bool { return strings.HasPrefix(line, name) })
		if !known && line[0] != ' ' && line[0] != '\t' {
			return fmt.Errorf("in front of the content stands %q", line)
		}
	}
	return nil
}

// difference is where two messages part, seen from their ends.
func difference(a, b []byte) string {
	n := 0
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	show := func(x []byte) string {
		end := len(x) - n
		return fmt.Sprintf("…%q|%q…", x[max(0, end-60):end], x[end:min(len(x), end+40)])
	}
	return fmt.Sprintf("%d and %d octets, the last %d are the same: %s and %s", len(a), len(b), n, show(a), show(b))
}

// refusal wants an error to be a server's refusal that holds all of these texts.
func refusal(t *testing.T, err error, texts ...string) {
	t.Helper()
	var r *harness.Refusal
	if !errors.As(err, &r) {
		t.Errorf("the answer is %v, wanted a refusal with %q", err, texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(r.Answer, text) {
			t.Errorf("the answer is %q, wanted %q in it", r.Answer, text)
		}
	}
}
