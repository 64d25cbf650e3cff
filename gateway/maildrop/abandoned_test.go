package maildrop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
)

// conducting is a store that conducts exchanges, too: each has two challenges, and what is said to
// the second one is "sesame".
type conducting struct {
	*fakeStore
	exchanges int // open now
	fails     int // in which step, from 1 on; 0: in none
}

type conducted struct {
	store *conducting
	step  int
}

func (c *conducting) Authenticate(context.Context, string, backends.Peer) (sasl.Exchange[backends.Account], error) {
	c.exchanges++
	return &conducted{store: c}, nil
}

func (c *conducted) Next(_ context.Context, response []byte) ([]byte, *backends.Account, error) {
	if c.step++; c.step == c.store.fails {
		return nil, nil, backends.Fail(backends.Temporary, "down")
	}
	switch {
	case strings.HasSuffix(string(response), "sesame"):
		return nil, &backends.Account{ID: "alice-id", Address: "alice@sakes.example"}, nil
	case len(response) > 0 && string(response) != "hello":
		return nil, nil, backends.Fail(backends.BadCredentials, "wrong")
	}
	return []byte("<1@x>"), nil, nil
}

func (c *conducted) Close() error { c.store.exchanges--; return nil }

// dialogue is what a client says in a mechanism, as it should.
type dialogue func() func(challenge []byte) []byte

func words(all ...string) dialogue {
	return func() func([]byte) []byte {
		left := all
		return func([]byte) []byte {
			if len(left) == 0 {
				return []byte{}
			}
			line := left[0]
			left = left[1:]
			if line == "-" {
				return nil
			}
			return []byte(line)
		}
	}
}

// scramming is a client of SCRAM, bound to its TLS or not.
func scramming(t *testing.T, text string, state *tls.ConnectionState) dialogue {
	return func() func([]byte) []byte {
		client, err := scram.SHA256.NewClient("alice", text, "")
		if err != nil {
			t.Fatal(err)
		}
		conversation := client.NewConversation()
		if state != nil {
			binding, err := scram.NewTLSExporterBinding(state)
			if err != nil {
				t.Fatal(err)
			}
			conversation = client.NewConversationWithChannelBinding(binding)
		}
		return func(challenge []byte) []byte {
			if conversation.Valid() {
				return []byte{}
			}
			say, err := conversation.Step(string(challenge))
			if err != nil {
				t.Fatal(err)
			}
			return []byte(say)
		}
	}
}

// TestAbandonedLoginsHoldNothing has every mechanism go wrong at every step, in every way: what the
// login had opened until then is closed again.
func TestAbandonedLoginsHoldNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	made, text, err := login.NewAppPassword([]byte("key"), login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn, state := secured(t)
	mechanisms := map[string]struct {
		client dialogue
		steps  int // responses until the maildrop is the client's
	}{
		"PLAIN":              {words("-", "\x00alice\x00sesame"), 2},
		"LOGIN":              {words("-", "alice", "sesame"), 3},
		"XOAUTH2":            {words("-", "user=alice\x01auth=Bearer sesame\x01\x01"), 2},
		"OAUTHBEARER":        {words("-", "n,a=alice,\x01auth=Bearer sesame\x01\x01"), 2},
		"EXTERNAL":           {words("-", ""), 2},
		"NTLM":               {words("-", "hello", "sesame"), 3},
		"SCRAM-SHA-256":      {scramming(t, text, nil), 3},
		"SCRAM-SHA-256-PLUS": {scramming(t, text, state), 3},
		"PASS":               {nil, 1},
	}
	for mechanism, m := range mechanisms {
		for step := 1; step <= m.steps; step++ {
			for fault, spoil := range faults {
				t.Run(fmt.Sprintf("%s, step %d, %s", mechanism, step, fault), func(t *testing.T) {
					store := &conducting{fakeStore: &fakeStore{words: true}}
					store.said.Mechanisms = []string{"NTLM"}
					store.said.Credentials = []backends.CredentialKind{
						backends.CredentialPassword, backends.CredentialToken, backends.CredentialImpersonation,
					}
					g := newGateway(t, func(o *maildrop.Options) {
						o.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
							Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Floor: time.Microsecond}),
							Table: func() *stores.Table { return oneStore(store) }, Passwords: &onePassword{made},
							Policy: login.Policy{Mechanisms: login.MechanismNames()},
						})
					})
					s, err := g.backend.NewSession(t.Context(), conn)
					if err != nil {
						t.Fatal(err)
					}
					attempt := &attempt{t: t, session: s, store: store, mechanism: mechanism, step: step}
					if m.client != nil {
						attempt.say = m.client()
					}
					drop := attempt.run(spoil)
					s.Close()
					if drop != nil {
						_ = drop.Close()
					}
					if good := fault == "none" || attempt.late(fault); good != (drop != nil) {
						t.Errorf("a maildrop: %v, want %v", drop != nil, good)
					}
					if n := g.locks.Len(); n != 0 {
						t.Errorf("%d locks are held", n)
					}
					if n := store.open(); n != 0 {
						t.Errorf("%d of the store's maildrops are open", n)
					}
					if store.exchanges != 0 {
						t.Errorf("%d exchanges of the store are open", store.exchanges)
					}
				})
			}
		}
	}
}

// attempt is one login, up to a step that goes wrong.
type attempt struct {
	t         *testing.T
	session   pop3.Session
	store     *conducting
	mechanism string
	step      int
	say       func(challenge []byte) []byte
}

// faults are what goes wrong at a step: the client says something else, or goes away (gone), or the
// store fails. Without any, the login is good.
var faults = map[string]func(a *attempt) (say []byte, gone bool){
	"none":             func(*attempt) ([]byte, bool) { return nil, false },
	"a wrong response": func(*attempt) ([]byte, bool) { return []byte("something\x00else"), false },
	"cancelled":        func(*attempt) ([]byte, bool) { return nil, true },
	"the store opens nothing": func(a *attempt) ([]byte, bool) {
		a.store.onOpen = broken
		return nil, false
	},
	"the list fails": func(a *attempt) ([]byte, bool) {
		a.store.add("m1", letter)
		a.store.onEntry = func(ctx context.Context, _ int) error { return broken(ctx) }
		return nil, false
	},
	"the exchange fails": func(a *attempt) ([]byte, bool) {
		a.store.fails = a.step
		return nil, false
	},
}

func broken(context.Context) error { return backends.Fail(backends.Temporary, "down") }

// late says that a fault of the store's comes when it has nothing to do any more, or never has in
// this mechanism.
func (a *attempt) late(fault string) bool {
	relayed := a.mechanism == "NTLM"
	entered := strings.HasPrefix(a.mechanism, "SCRAM") && a.step == 3 // before the last word
	return fault == "the exchange fails" && !relayed || entered && fault != "a wrong response" && fault != "cancelled"
}

func (a *attempt) run(spoil func(*attempt) ([]byte, bool)) *pop3.Login {
	if a.mechanism == "PASS" {
		return a.single(spoil, "sesame", func(say string) (*pop3.Login, error) {
			return a.session.Password(a.t.Context(), "alice", []byte(say))
		})
	}
	e, err := a.session.Authenticate(a.t.Context(), a.mechanism)
	if err != nil {
		a.t.Fatal(err)
	}
	defer e.Close() //nolint:errcheck // the counts tell
	var challenge []byte
	for step := 1; ; step++ {
		response := a.say(challenge)
		if step == a.step {
			say, gone := spoil(a)
			if gone {
				return nil
			}
			if say != nil {
				response = say
			}
		}
		var drop *pop3.Login
		challenge, drop, err = e.Next(a.t.Context(), response)
		if err != nil || drop != nil || step > 5 {
			return drop
		}
	}
}

func (a *attempt) single(spoil func(*attempt) ([]byte, bool), right string, f func(string) (*pop3.Login, error)) *pop3.Login {
	say, gone := spoil(a)
	if gone {
		return nil
	}
	if say != nil {
		right = string(say)
	}
	drop, err := f(right)
	if err == nil && drop == nil {
		a.t.Error("neither a maildrop nor an error")
	}
	return drop
}

// TestLastWordAnsweredThroughTheEngine has SCRAM's last word answered with something, where an
// empty response is due, on a real connection: the maildrop is free for the next login.
func TestLastWordAnsweredThroughTheEngine(t *testing.T) {
	made, text, err := login.NewAppPassword([]byte("key"), login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, last := range map[string]string{"something": "eA==", "no base64": "!", "cancelled": "*"} {
		t.Run(name, func(t *testing.T) {
			var g *gateway
			g = newGateway(t, func(o *maildrop.Options) {
				o.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
					Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Floor: time.Millisecond}),
					Table: func() *stores.Table { return oneStore(g.store) }, Passwords: &onePassword{made},
				})
			})
			g.store.said.Credentials = []backends.CredentialKind{backends.CredentialImpersonation}
			g.store.words = true
			client := g.serve()()
			say := scramming(t, text, nil)()
			line, answer := "AUTH SCRAM-SHA-256", ""
			for challenge := []byte(nil); ; {
				if err := client.PrintfLine("%s", line); err != nil {
					t.Fatal(err)
				}
				if answer, err = client.ReadLine(); err != nil {
					t.Fatal(err)
				}
				encoded, more := strings.CutPrefix(answer, "+ ")
				if !more {
					break
				}
				if challenge, err = base64.StdEncoding.DecodeString(encoded); err != nil {
					t.Fatal(err)
				}
				if line = base64.StdEncoding.EncodeToString(say(challenge)); strings.HasPrefix(string(challenge), "v=") {
					line = last
				}
			}
			if !strings.HasPrefix(answer, "-ERR") {
				t.Errorf("got %q", answer)
			}
			g.idle()
		})
	}
}

// secured is a connection with TLS, for mechanisms that need it, and the client's side of it.
func secured(t *testing.T) (pop3.Conn, *tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mail.sakes.example"}, EmailAddresses: []string{"alice@sakes.example"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	server := tls.Server(left, &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	client := tls.Client(right, &tls.Config{Certificates: own, RootCAs: pool, ServerName: "mail.sakes.example"})
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(t.Context()) }()
	if err := errors.Join(server.HandshakeContext(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	ours, theirs := server.ConnectionState(), client.ConnectionState()
	return pop3.Conn{
		ID: "s1", Remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711},
		TLS: func() *tls.ConnectionState { return &ours }, Certificate: func() []byte { return der },
	}, &theirs
}
