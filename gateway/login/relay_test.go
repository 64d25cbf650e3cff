package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

// played is an exchange of a store's that says these things.
type played struct {
	challenges []string
	account    *backends.Account
	fail       error
	heard      []string
	closed     int
}

func (p *played) Next(_ context.Context, response []byte) ([]byte, *backends.Account, error) {
	if response == nil {
		p.heard = append(p.heard, "-")
	} else {
		p.heard = append(p.heard, string(response))
	}
	if len(p.challenges) > 0 {
		challenge := p.challenges[0]
		p.challenges = p.challenges[1:]
		return []byte(challenge), nil, nil
	}
	return nil, p.account, p.fail
}

func (p *played) Close() error { p.closed++; return nil }

// conducting makes the store of a world one that conducts mechanisms.
func (w *world) conducting(p *played, mechanisms ...string) {
	w.store.description.Mechanisms = mechanisms
	w.store.exchange = func(string) sasl.Exchange[backends.Account] { return p }
	w.table[0].Backend = conductor{w.store}
	w.change(func(p *login.Policy) { p.Mechanisms = append(mechanisms, "PLAIN") })
}

func TestStoreConducts(t *testing.T) {
	for _, test := range []struct {
		name, mechanism string
		kinds           []backends.CredentialKind
		grant           string
		protocol        string
		sends           bool
		with            string // what the store is opened with
	}{
		{"a grant", "NTLM", []backends.CredentialKind{password, grant}, "grant", "pop3", false, "grant"},
		{"the gateway's word", "NTLM", []backends.CredentialKind{password, impersonation}, "", "pop3", false, "impersonation"},
		{"a grant before the gateway's word", "NTLM", []backends.CredentialKind{grant, impersonation}, "grant", "pop3", false, "grant"},
		{"neither", "NTLM", []backends.CredentialKind{password}, "", "pop3", false, ""},
		{"neither, to send", "NTLM", []backends.CredentialKind{password}, "", "submission", false, "impersonation"}, // the account is known: nothing is opened
		{"a grant to send any number of mails with", "NTLM", []backends.CredentialKind{grant}, "grant", "submission", true, ""},
		{"the gateway's word to send with", "NTLM", []backends.CredentialKind{grant, impersonation}, "grant", "submission", true, "impersonation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.kinds...)
			p := &played{challenges: []string{"challenge"}, account: &backends.Account{ID: "alice-id", Address: "alice@sakes.example", Grant: []byte(test.grant)}}
			w.conducting(p, test.mechanism)
			w.table[0].Sends = test.sends
			client := newClient()
			client.peer.Protocol = test.protocol
			err := w.converse(client, test.mechanism, script(nil, login.NTLMResponse("alice")))
			if test.with == "" {
				if !errors.Is(err, login.ErrMechanism) {
					t.Errorf("offered, and %v", err)
				}
				return
			}
			if err != nil || fmt.Sprint(p.heard) != "[- "+string(login.NTLMResponse("alice"))+"]" || p.closed != 1 {
				t.Fatalf("%v, heard %q, closed %d times", err, p.heard, p.closed)
			}
			e := client.entries[0]
			if e.Credential.Kind.String() != test.with || e.Credential.User != "alice@sakes.example" || e.Account != p.account && e.Account.ID != "alice-id" {
				t.Errorf("entered as %+v", e)
			}
		})
	}
}

// TestStoreConductsByWishAlone has the weak one named, or not offered.
func TestStoreConductsByWishAlone(t *testing.T) {
	w := newWorld(t, password, grant)
	w.conducting(&played{}, "NTLM")
	if got := strings.Join(w.Mechanisms(newClient()), " "); got != "PLAIN NTLM" {
		t.Errorf("offered: %s", got)
	}
	w.change(func(p *login.Policy) { p.Mechanisms = nil })
	if got := strings.Join(w.Mechanisms(newClient()), " "); got != "PLAIN LOGIN" {
		t.Errorf("offered without a wish: %s", got)
	}
	w.conducting(&played{}, "NTLM")
	w.table = append(w.table, &place{stores.Config{Name: "tea"}, w.table[0].Backend})
	if got := strings.Join(w.Mechanisms(newClient()), " "); got != "PLAIN NTLM" {
		t.Errorf("offered by two stores, one the default: %s", got)
	}
	w.table[0] = &place{stores.Config{Name: "sakes"}, w.table[0].Backend}
	if got := strings.Join(w.Mechanisms(newClient()), " "); got != "PLAIN" {
		t.Errorf("offered by two stores, with no telling which: %s", got)
	}
}

// TestStoreConductsSCRAM has the exchange go to the store of the name in its first message,
// unless the gateway has a password of that account's.
func TestStoreConductsSCRAM(t *testing.T) {
	w := newWorld(t, password, impersonation)
	p := &played{challenges: []string{"r=…", "v=…"}, account: &backends.Account{ID: "alice-id"}}
	w.conducting(p, "SCRAM-SHA-256")
	w.change(func(p *login.Policy) { p.Mechanisms = nil }) // sound without a wish
	client := newClient()
	if err := w.converse(client, "SCRAM-SHA-256", script([]byte("n,,n=alice,r=x"), []byte("c=biws,r=x,p=x"), []byte{})); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(p.heard) != "[n,,n=alice,r=x c=biws,r=x,p=x ]" || client.entries[0].Account.ID != "alice-id" {
		t.Errorf("heard %q, entered as %+v", p.heard, client.entries)
	}
	text := w.add(nil)
	peer := scramClient{t, newScramClient(t, "alice", text, "").NewConversation()}
	if err := w.converse(client, "SCRAM-SHA-256", peer.say); err != nil || len(p.heard) != 3 {
		t.Errorf("with an application password: %v, the store heard %q", err, p.heard)
	}
}

func TestStoreRefuses(t *testing.T) {
	w := newWorld(t, grant)
	p := &played{challenges: []string{"challenge"}, fail: backends.Fail(backends.BadCredentials, "wrong")}
	w.conducting(p, "NTLM")
	client := newClient()
	if err := w.converse(client, "NTLM", script(nil, login.NTLMResponse("alice"))); kindOf(err) != backends.BadCredentials || len(client.entries) > 0 || p.closed != 1 {
		t.Errorf("%v, %+v, closed %d times", err, client.entries, p.closed)
	}
	if n := strings.Count(w.log.String(), `"outcome":"refused"`); n != 1 || !strings.Contains(w.log.String(), `"user":"alice"`) {
		t.Errorf("%d refusals in the log: %s", n, w.log)
	}
}

// admitted notes the accounts that ask to be admitted.
type admitted struct {
	reports
	accounts []string
}

func (a *admitted) Begin(_ context.Context, _ netip.Addr, account string) (login.Turn, error) {
	a.accounts = append(a.accounts, account)
	return a, nil
}

// TestStoreConductedAttemptsCount has each exchange admitted once, under the name that it is for.
func TestStoreConductedAttemptsCount(t *testing.T) {
	counts := &admitted{}
	w := newWorld(t, grant)
	w.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Throttle: counts, Floor: 1}),
		Table: w.stores,
	})
	p := &played{challenges: []string{"challenge"}, fail: backends.Fail(backends.BadCredentials, "wrong")}
	w.conducting(p, "NTLM")
	_ = w.converse(newClient(), "NTLM", script(nil, login.NTLMResponse("alice")))
	if fmt.Sprint(counts.accounts) != "[alice]" || counts.bad != 1 || counts.good != 0 {
		t.Errorf("admitted %q, %+v", counts.accounts, counts.reports)
	}
}

// TestApplicationPasswordsAloneWithAStoreThatConducts has no exchange of the store's own offered,
// nor begun where a client asks for it all the same, by the policy that only application passwords
// are good.
func TestApplicationPasswordsAloneWithAStoreThatConducts(t *testing.T) {
	all := []string{"NTLM", "SCRAM-SHA-256"}
	for _, test := range []struct {
		name   string
		kinds  []backends.CredentialKind
		offers string
	}{
		{"where the gateway may act", []backends.CredentialKind{password, impersonation, grant}, "SCRAM-SHA-256 PLAIN"},
		{"where it may not", []backends.CredentialKind{password, grant}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.kinds...)
			p := &played{account: &backends.Account{ID: "alice-id", Grant: []byte("grant")}}
			w.conducting(p, all...)
			w.table[0].Passwords = stores.ApplicationPassword
			for _, other := range [][]string{append([]string{"PLAIN"}, all...), nil} {
				w.change(func(p *login.Policy) { p.Mechanisms = other })
				if got := strings.Join(w.Mechanisms(newClient()), " "); got != test.offers && got != test.offers+" LOGIN" {
					t.Errorf("offered: %q", got)
				}
				client := newClient()
				for _, mechanism := range all {
					err := w.converse(client, mechanism, script([]byte("n,,n=alice,r=x"), []byte("c=biws,r=x,p=x"), []byte{}))
					if err == nil || len(p.heard) > 0 || len(client.entries) > 0 {
						t.Errorf("%s: %v, the store heard %q", mechanism, err, p.heard)
					}
				}
				if err := w.Password(t.Context(), client, "alice", []byte("sesame")); kindOf(err) != backends.BadCredentials || len(client.entries) > 0 {
					t.Errorf("PASS: %v", err)
				}
			}
		})
	}
}

// TestApplicationPasswordsAloneBesideAnotherStore has two stores, of which one takes its own
// passwords: the exchanges go to that one alone, by whatever name they are begun.
func TestApplicationPasswordsAloneBesideAnotherStore(t *testing.T) {
	w := newWorld(t, password, impersonation)
	closed := &played{account: &backends.Account{ID: "alice-id"}}
	w.conducting(closed, "NTLM", "SCRAM-SHA-256")
	w.table[0].Passwords = stores.ApplicationPassword
	other := &fakeStore{description: backends.Description{Name: "fake", Credentials: []backends.CredentialKind{password, impersonation}, Mechanisms: []string{"NTLM", "SCRAM-SHA-256"}}}
	open := &played{challenges: []string{"challenge"}, account: &backends.Account{ID: "bob-id"}}
	other.exchange = func(string) sasl.Exchange[backends.Account] { return open }
	w.table = append(w.table, &place{stores.Config{Name: "tea", Domains: []string{"tea.example"}}, conductor{other}})
	_ = w.converse(newClient(), "NTLM", script(nil, login.NTLMResponse("alice@sakes.example")))
	if fmt.Sprint(open.heard) != "[- "+string(login.NTLMResponse("alice@sakes.example"))+"]" || len(closed.heard) > 0 {
		t.Errorf("NTLM: the open store heard %q, the closed one %q", open.heard, closed.heard)
	}
	err := w.converse(newClient(), "SCRAM-SHA-256", script([]byte("n,,n=alice@sakes.example,r=x"), []byte("c=biws,r=x,p=x")))
	if err == nil || len(closed.heard) > 0 {
		t.Errorf("SCRAM: %v, the closed store heard %q", err, closed.heard)
	}
}

// TestApplicationPasswordsAloneDuringAnOutage: a store that cannot say whether the gateway may act
// is no reason to call a password wrong.
func TestApplicationPasswordsAloneDuringAnOutage(t *testing.T) {
	w := newWorld(t, impersonation)
	text := w.add(nil)
	w.store.down = true
	w.table[0].Passwords = stores.ApplicationPassword
	if err := w.Password(t.Context(), newClient(), "alice", []byte(text)); kindOf(err) != backends.Temporary {
		t.Errorf("got %v", err)
	}
}
