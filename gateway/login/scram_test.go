package login_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

// scramClient is a client that somebody else wrote.
type scramClient struct {
	t *testing.T
	*scram.ClientConversation
}

func newScramClient(t *testing.T, user, secret, identity string) *scram.Client {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, secret, identity)
	if err != nil {
		t.Fatal(err)
	}
	return c.WithMinIterations(15_000) // what RFC 7677 recommends, or more
}

// say answers a challenge as the engine's client would. A challenge that the client does not
// believe in is answered with what no server can take.
func (c scramClient) say(challenge []byte) []byte {
	if challenge != nil && c.Valid() {
		return []byte{}
	}
	answer, err := c.Step(string(challenge))
	if err != nil {
		return []byte("the client gives up: " + err.Error())
	}
	return []byte(answer)
}

// TestSCRAM has the gateway conduct exchanges for its application passwords.
func TestSCRAM(t *testing.T) {
	for _, test := range []struct {
		name           string
		user, identity string
		change         func(*login.AppPassword)
		spoil          func(*world, *string)
		mailbox        string
		kind           backends.Kind
	}{
		{name: "right", user: "alice@sakes.example"},
		{name: "by the short name", user: "alice"},
		{name: "in other letters", user: "ALICE@Sakes.example"},
		{name: "for another mailbox", user: "alice", identity: "info", mailbox: "info"},
		{name: "for another mailbox by name", user: "alice!info", mailbox: "info"},
		{name: "a folder with a comma and an equals sign", user: "alice+a,b=c"},
		{name: "wrong", user: "alice", spoil: func(_ *world, text *string) { *text += "x" }, kind: backends.BadCredentials},
		{name: "the store's own password", user: "alice", spoil: func(_ *world, text *string) { *text = "sesame" }, kind: backends.BadCredentials},
		{name: "unknown user", user: "bob", kind: backends.BadCredentials},
		{name: "unknown domain", user: "alice@far.example", kind: backends.BadCredentials},
		{name: "revoked", user: "alice", spoil: func(w *world, _ *string) { w.passwords.all = nil }, kind: backends.BadCredentials},
		{name: "expired", user: "alice", change: func(p *login.AppPassword) { p.Expires = p.Created.Add(-time.Hour) }, kind: backends.BadCredentials},
		{name: "the database is down", user: "alice", spoil: func(w *world, _ *string) { w.passwords.fail = errors.New("down") }, kind: backends.Temporary},
		{name: "the store is down", user: "alice", spoil: func(w *world, _ *string) { w.store.fail = backends.Fail(backends.Temporary, "down") }, kind: backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, impersonation)
			w.add(nil)
			text := w.add(test.change)
			w.add(func(p *login.AppPassword) { p.Label = "one of several" })
			if test.spoil != nil {
				test.spoil(w, &text)
			}
			client := newClient()
			peer := scramClient{t, newScramClient(t, test.user, text, test.identity).NewConversation()}
			if err := w.converse(client, "SCRAM-SHA-256", peer.say); kindOf(err) != test.kind {
				t.Fatalf("got %v", err)
			}
			if peer.Valid() != (test.kind == 0) {
				t.Errorf("the client believes it: %v", peer.Valid())
			}
			if test.kind == 0 {
				if e := client.entries[0]; e.Credential.Kind != impersonation || e.Credential.ActAs != test.mailbox || client.account != "alice-id" {
					t.Errorf("entered as %+v", e)
				}
				if id, _, _ := strings.Cut(text, "-"); len(w.passwords.used) != 1 || w.passwords.used[0] != id+" 192.0.2.7" || !strings.Contains(w.log.String(), `"password_id":"`+id+`"`) {
					t.Errorf("used: %q, log %s", w.passwords.used, w.log)
				}
			}
			if strings.Contains(w.log.String(), text) {
				t.Error("the password is in the log")
			}
		})
	}
}

// TestSCRAMChannelBinding is over real TLS, with every binding that a client can ask for.
func TestSCRAMChannelBinding(t *testing.T) {
	a := newAuthority(t)
	exporter := func(s *tls.ConnectionState) (scram.ChannelBinding, error) {
		return scram.NewTLSExporterBinding(s)
	}
	point := func(s *tls.ConnectionState) (scram.ChannelBinding, error) {
		return scram.NewTLSServerEndpointBinding(s)
	}
	unique := func(s *tls.ConnectionState) (scram.ChannelBinding, error) {
		return scram.NewTLSUniqueBinding(s.TLSUnique), nil
	}
	for _, test := range []struct {
		name    string
		version uint16
		bind    func(*tls.ConnectionState) (scram.ChannelBinding, error)
		other   bool // the client's binding is another connection's: somebody is in between
		good    bool
	}{
		{"exporter of TLS 1.3", tls.VersionTLS13, exporter, false, true},
		{"exporter of TLS 1.2", tls.VersionTLS12, exporter, false, true},
		{"end point of TLS 1.3", tls.VersionTLS13, point, false, true},
		{"end point of TLS 1.2", tls.VersionTLS12, point, false, true},
		{"unique of TLS 1.2", tls.VersionTLS12, unique, false, false},
		{"somebody in between, by the exporter", tls.VersionTLS13, exporter, true, false},
		{"somebody in between, by the end point", tls.VersionTLS13, point, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, impersonation)
			text := w.add(nil)
			client, theirs := a.handshake(test.version)
			if test.other {
				_, theirs = a.handshake(test.version)
			}
			if offered := strings.Join(w.Mechanisms(client), " "); !strings.HasPrefix(offered, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 ") {
				t.Fatalf("offered: %s", offered)
			}
			binding, err := test.bind(theirs)
			if err != nil {
				t.Fatal(err)
			}
			peer := scramClient{t, newScramClient(t, "alice", text, "").NewConversationWithChannelBinding(binding)}
			err = w.converse(client, "SCRAM-SHA-256-PLUS", peer.say)
			if test.good != (err == nil) || test.good != (client.account == "alice-id") || !test.good && kindOf(err) != backends.BadCredentials {
				t.Errorf("%v, account %q", err, client.account)
			}
		})
	}
}

// TestSCRAMDowngrade has clients that somebody has kept from seeing -PLUS, and those that mix the
// two up (RFC 5802 §6).
func TestSCRAMDowngrade(t *testing.T) {
	a := newAuthority(t)
	for _, test := range []struct {
		name, mechanism, header string
		secure, good            bool
		wanted                  []string
	}{
		{"cannot bind", "SCRAM-SHA-256", "n,,", true, true, nil},
		{"could bind, and saw no way to", "SCRAM-SHA-256", "y,,", true, false, nil},
		{"could bind, and there is none", "SCRAM-SHA-256", "y,,", false, true, nil},
		{"could bind, and the administrator does not want it", "SCRAM-SHA-256", "y,,", true, true, []string{"SCRAM-SHA-256"}},
		{"binds without -PLUS", "SCRAM-SHA-256", "p=tls-exporter,,", true, false, nil},
		{"-PLUS without binding", "SCRAM-SHA-256-PLUS", "n,,", true, false, nil},
		{"-PLUS with a binding that there is not", "SCRAM-SHA-256-PLUS", "p=x-none,,", true, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, impersonation)
			w.add(nil)
			w.change(func(p *login.Policy) { p.Mechanisms = test.wanted })
			client := newClient()
			if test.secure {
				client, _ = a.handshake(tls.VersionTLS13)
			}
			exchange, err := w.Begin(t.Context(), client, test.mechanism)
			if err != nil {
				t.Fatal(err)
			}
			challenge, _, err := exchange.Next(t.Context(), []byte(test.header+"n=alice,r=fyko"))
			if good := err == nil && strings.HasPrefix(string(challenge), "r=fyko"); good != test.good {
				t.Errorf("%q, %v", challenge, err)
			}
		})
	}
	w := newWorld(t, impersonation)
	if _, err := w.Begin(t.Context(), newClient(), "SCRAM-SHA-256-PLUS"); !errors.Is(err, login.ErrMechanism) {
		t.Errorf("-PLUS without TLS: %v", err)
	}
}

// TestSCRAMTellsNobodyWhoThereIs has salts that last, for users with passwords, without, and
// those who are not there.
func TestSCRAMTellsNobodyWhoThereIs(t *testing.T) {
	w := newWorld(t, impersonation)
	w.add(nil)
	salt := func(user string) string {
		exchange, err := w.Begin(t.Context(), newClient(), "SCRAM-SHA-256")
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := exchange.Next(t.Context(), []byte("n,,n="+user+",r=fyko"))
		fields := strings.Split(string(challenge), ",")
		if err != nil || len(fields) != 3 || len(fields[1]) != len("s=")+24 || fields[2] != "i=15000" {
			t.Fatalf("%s: %q, %v", user, challenge, err)
		}
		return fields[1]
	}
	seen := map[string]string{}
	for _, user := range []string{"alice", "bob", "carol@sakes.example", "alice@far.example", `X\y`} {
		one := salt(user)
		if other := salt(user); other != one {
			t.Errorf("%s has the salt %s, and then %s", user, one, other)
		}
		if who, twice := seen[one]; twice {
			t.Errorf("%s and %s have one salt", who, user)
		}
		seen[one] = user
	}
	if salt("alice") != salt("Alice@Sakes.example") {
		t.Error("one account has two salts")
	}
}

func TestParseSCRAM(t *testing.T) {
	for _, test := range []struct{ name, in, user, actAs, binding string }{
		{"as in RFC 7677 §3", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "user", "", ""},
		{"for somebody else", "n,a=boss,n=user,r=x", "user", "boss", ""},
		{"oneself", "y,a=user,n=user,r=x", "user", "user", ""},
		{"bound", "p=tls-exporter,,n=user,r=x", "user", "", "tls-exporter"},
		{"escapes", "n,,n=a=2Cb=3Dc,r=x", "a,b=c", "", ""},
		{"with an extension", "n,,n=user,r=x,e=1", "user", "", ""},
		{"a mandatory extension", "n,,m=1,n=user,r=x", "", "", ""},
		{"another escape", "n,,n=a=2Db,r=x", "", "", ""},
		{"no flag", ",,n=user,r=x", "", "", ""},
		{"another flag", "x,,n=user,r=x", "", "", ""},
		{"bound by nothing", "p=,,n=user,r=x", "", "", ""},
		{"no user", "n,,n=,r=x", "", "", ""},
		{"a NUL", "n,,n=a\x00b,r=x", "", "", ""},
		{"no UTF-8", "n,,n=\xff,r=x", "", "", ""},
		{"too long", "n,,n=user,r=" + strings.Repeat("x", 3000), "", "", ""},
		{"three fields", "n,,n=user", "", "", ""},
		{"nothing", "", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			user, actAs, binding, err := login.ParseSCRAM([]byte(test.in))
			if test.user == "" {
				if !errors.Is(err, login.ErrMalformed) {
					t.Fatalf("%q, %v", user, err)
				}
				return
			}
			if err != nil || user != test.user || actAs != test.actAs || binding != test.binding {
				t.Errorf("%q, %q, %q, %v", user, actAs, binding, err)
			}
		})
	}
}

// FuzzSCRAM has both messages of a client, whatever they are, end well.
func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=alice,r=x"), []byte("c=biws,r=x,p=AAAA"))
	f.Add([]byte("p=tls-exporter,a=boss,n=alice,r=x"), []byte(""))
	f.Add([]byte("y,,n=a=2Cb,r=,e=1"), []byte("c=,r=,p="))
	f.Add([]byte("n,,n=alice"), []byte("c=biws,r="))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		w := newWorld(t, impersonation)
		w.passwords.all = []login.AppPassword{{ID: "aaaaa", Store: "sakes", Account: "alice@sakes.example", StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}}
		client := newClient()
		exchange, err := w.Begin(t.Context(), client, "SCRAM-SHA-256")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := exchange.Next(t.Context(), first); err == nil {
			_, _, _ = exchange.Next(t.Context(), final)
		}
		if len(client.entries) > 0 {
			t.Fatalf("%q, %q: somebody was let in: %+v", first, final, client.entries)
		}
		if user, _, _, err := login.ParseSCRAM(first); err == nil && (user == "" || strings.ContainsRune(user, 0)) {
			t.Fatalf("%q: the user is %q", first, user)
		}
	})
}
