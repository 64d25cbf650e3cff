package login_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

// TestDialogues has each mechanism's messages, challenge by challenge.
func TestDialogues(t *testing.T) {
	type turn struct {
		say  string // "-": no initial response
		want string // the challenge, "" at the end
	}
	bearer := "n,a=alice@sakes.example,\x01host=mail.sakes.example\x01port=995\x01auth=Bearer "
	for _, test := range []struct {
		name, mechanism string
		turns           []turn
		err             error
	}{
		{"PLAIN with an initial response", "PLAIN", []turn{{"\x00alice\x00sesame", ""}}, nil},
		{"PLAIN without", "PLAIN", []turn{{"-", "(empty)"}, {"\x00alice\x00sesame", ""}}, nil},
		{"PLAIN with an empty response", "PLAIN", []turn{{"", ""}}, login.ErrMalformed},
		{"PLAIN, wrong", "PLAIN", []turn{{"\x00alice\x00simsim", ""}}, &backends.Failure{Kind: backends.BadCredentials}},
		{"LOGIN", "LOGIN", []turn{{"-", "Username:"}, {"alice", "Password:"}, {"sesame", ""}}, nil},
		{"LOGIN with an initial response", "LOGIN", []turn{{"alice", "Password:"}, {"sesame", ""}}, nil},
		{"LOGIN without a user", "LOGIN", []turn{{"-", "Username:"}, {"", ""}}, login.ErrMalformed},
		{"LOGIN without a password", "LOGIN", []turn{{"alice", "Password:"}, {"", ""}}, login.ErrMalformed},
		{"LOGIN with a NUL", "LOGIN", []turn{{"alice", "Password:"}, {"a\x00b", ""}}, login.ErrMalformed},
		{"XOAUTH2", "XOAUTH2", []turn{{"user=alice\x01auth=Bearer t0ken\x01\x01", ""}}, nil},
		{"XOAUTH2 in two lines", "XOAUTH2", []turn{{"-", "(empty)"}, {"user=alice\x01auth=Bearer t0ken\x01\x01", ""}}, nil},
		{"XOAUTH2, wrong", "XOAUTH2", []turn{{"user=alice\x01auth=Bearer old\x01\x01", `{"status":"401","schemes":"bearer"}`}, {"", ""}}, &backends.Failure{Kind: backends.BadCredentials}},
		{"OAUTHBEARER", "OAUTHBEARER", []turn{{bearer + "t0ken\x01\x01", ""}}, nil},
		{"OAUTHBEARER, wrong", "OAUTHBEARER", []turn{{bearer + "old\x01\x01", `{"status":"invalid_token"}`}, {"\x01", ""}}, &backends.Failure{Kind: backends.BadCredentials}},
		{"OAUTHBEARER, the dummy is another try", "OAUTHBEARER", []turn{{bearer + "old\x01\x01", `{"status":"invalid_token"}`}, {bearer + "t0ken\x01\x01", ""}}, &backends.Failure{Kind: backends.BadCredentials}},
		{"no such mechanism", "X-NONE", nil, login.ErrMechanism},
		{"a mechanism that nobody checks", "EXTERNAL", nil, login.ErrMechanism},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, password, token)
			client := newClient()
			exchange, err := w.Begin(t.Context(), client, test.mechanism)
			done := false
			for i := 0; err == nil && i < len(test.turns); i++ {
				var challenge, response []byte
				if said := test.turns[i].say; said != "-" {
					response = []byte(said)
				}
				var accepted *sasl.Accepted
				challenge, accepted, err = exchange.Next(t.Context(), response)
				done = accepted != nil
				want := strings.TrimPrefix(test.turns[i].want, "(empty)")
				if err == nil && !done && (challenge == nil || string(challenge) != want || i == len(test.turns)-1) {
					t.Fatalf("turn %d: %q", i, challenge)
				}
			}
			if !errors.Is(err, test.err) || done != (test.err == nil) || (client.account == "alice-id") != (test.err == nil) {
				t.Errorf("%v, done: %v, account %q", err, done, client.account)
			}
		})
	}
}

// TestTokenOutage has an outage told at once: it is no bad token.
func TestTokenOutage(t *testing.T) {
	w := newWorld(t, token)
	w.store.fail = backends.Fail(backends.Temporary, "down")
	err := w.converse(newClient(), "XOAUTH2", script([]byte("user=alice\x01auth=Bearer t0ken\x01\x01")))
	if kindOf(err) != backends.Temporary {
		t.Errorf("got %v", err)
	}
}

// TestWhatTheStoreIsAsked has the names of all forms, as the store is given them.
func TestWhatTheStoreIsAsked(t *testing.T) {
	for _, test := range []struct{ name, user, identity, asked, mailbox, folder string }{
		{"address", "Alice@SAKES.example", "", "Alice@sakes.example", "", ""},
		{"folder", "alice+Lists/Go@sakes.example", "", "alice@sakes.example", "", "Lists/Go"},
		{"shared", "alice@sakes.example!info@sakes.example", "", "alice@sakes.example", "info@sakes.example", ""},
		{"by authorization identity", "alice", "info+Archive", "alice", "info", "Archive"},
		{"realm", `Sakes\alice\info`, "", "alice@sakes.example", "info", ""},
		{"nobody's", "alice@far.example", "", "", "", ""},
		{"two mailboxes", "alice!info", "sales", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, password)
			w.change(func(p *login.Policy) { p.Names.Realms = map[string]string{"sakes": "sakes.example"} })
			client := newClient()
			_ = w.converse(client, "PLAIN", script([]byte(test.identity+"\x00"+test.user+"\x00sesame")))
			if test.asked == "" {
				if len(client.entries) > 0 {
					t.Errorf("the store was asked: %+v", client.entries)
				}
				return
			}
			if len(client.entries) != 1 {
				t.Fatalf("asked %d times", len(client.entries))
			}
			e := client.entries[0]
			if c := e.Credential; c.User != test.asked || c.ActAs != test.mailbox || e.Folder != test.folder || c.Peer != client.peer {
				t.Errorf("asked for %+v, folder %q", c, e.Folder)
			}
		})
	}
}

// TestMetacharactersInNames: a name goes to the store octet by octet, as it is, or not at all (maddy,
// CVE-2026-40193: a filter's metacharacters in a user's name). Nothing in it is a pattern here.
func TestMetacharactersInNames(t *testing.T) {
	for name, passed := range map[string]bool{
		"*@sakes.example": true, "al*ce@sakes.example": true, "alice)(uid=*@sakes.example": true, "%@sakes.example": true,
		"a' OR '1'='1@sakes.example": true, `al"ice@sakes.example`: true, "$(id)@sakes.example": true, "`id`@sakes.example": true,
		"alice' or startswith(name,'a@sakes.example": true, "{5}@sakes.example": true, "[a-z]@sakes.example": true,
		"alice\r\na1 LOGOUT@sakes.example": false, "alice\n@sakes.example": false, "alice\x7f@sakes.example": false,
		"alice@*": false, "alice@sakes.example,*": false, "*": true,
	} {
		w := newWorld(t, password)
		client := newClient()
		err := w.Password(t.Context(), client, name, []byte("sesame"))
		if kindOf(err) != backends.BadCredentials || client.account != "" {
			t.Errorf("%q: %v, %q", name, err, client.account)
		}
		if asked := w.store.seen(); passed != (len(asked) == 1 && asked[0].User == name) || !passed && len(asked) > 0 {
			t.Errorf("%q: the store was asked for %+v", name, asked)
		}
	}
}

func kinds(all []backends.Credential) string {
	var names []string
	for _, c := range all {
		names = append(names, c.Kind.String())
	}
	return strings.Join(names, " ")
}

// TestRemembered has a good password asked for once, where the store lets the gateway act.
func TestRemembered(t *testing.T) {
	w := newWorld(t, password, impersonation)
	w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
	pass := func(secret string) error { return w.Password(t.Context(), newClient(), "alice", []byte(secret)) }
	for _, step := range []struct {
		name, secret string
		later        time.Duration
		before       func()
		want         string
		kind         backends.Kind
	}{
		{"the first time", "sesame", 0, nil, "password", 0},
		{"again", "sesame", time.Minute, nil, "impersonation", 0},
		{"remembering does not renew itself", "sesame", 4 * time.Minute, nil, "password", 0},
		{"another one", "simsim", 0, nil, "password", backends.BadCredentials},
		{"a failure has emptied it", "sesame", 0, nil, "password", 0},
		{"again, again", "sesame", 0, nil, "impersonation", 0},
		{"an outage empties nothing", "sesame", 0, func() { w.store.fail = backends.Fail(backends.Temporary, "down") }, "impersonation", backends.Temporary},
		{"and after it", "sesame", 0, func() { w.store.fail = nil }, "impersonation", 0},
		{"an account that may no longer", "sesame", 0, func() { w.store.fail = backends.Fail(backends.Permanent, "disabled") }, "impersonation password", backends.Permanent},
		{"off", "sesame", 0, func() {
			w.store.fail = nil
			w.change(func(p *login.Policy) { p.Remember = 0 })
		}, "password", 0},
		{"still off", "sesame", 0, nil, "password", 0},
	} {
		w.now = w.now.Add(step.later)
		if step.before != nil {
			step.before()
		}
		if err := pass(step.secret); kindOf(err) != step.kind {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := kinds(w.store.seen()); got != step.want {
			t.Errorf("%s: the store was asked by %q, want %q", step.name, got, step.want)
		}
	}
}

// TestNotRemembered has a store that has to see the password each time.
func TestNotRemembered(t *testing.T) {
	w := newWorld(t, password)
	w.change(func(p *login.Policy) { p.Remember = time.Minute })
	for range 2 {
		if err := w.Password(t.Context(), newClient(), "alice", []byte("sesame")); err != nil {
			t.Fatal(err)
		}
	}
	if got := kinds(w.store.seen()); got != "password password" {
		t.Errorf("the store was asked by %q", got)
	}
}

// TestOffers says for which stores which mechanisms are offered.
func TestOffers(t *testing.T) {
	for _, test := range []struct {
		name     string
		kinds    []backends.CredentialKind
		change   func(*world)
		want     string
		password bool
	}{
		{"passwords", []backends.CredentialKind{password}, nil, "PLAIN LOGIN", true},
		{"a store that says nothing", nil, nil, "PLAIN LOGIN", true},
		{"a store that is down, and never was up", []backends.CredentialKind{token}, func(w *world) { w.store.down = true }, "PLAIN LOGIN", true},
		{"tokens alone", []backends.CredentialKind{token}, nil, "OAUTHBEARER XOAUTH2", false},
		{"both", []backends.CredentialKind{password, token}, nil, "OAUTHBEARER XOAUTH2 PLAIN LOGIN", true},
		{"impersonation, beside passwords", []backends.CredentialKind{password, impersonation}, nil, "PLAIN LOGIN", true},
		{"impersonation alone", []backends.CredentialKind{impersonation}, nil, "SCRAM-SHA-256 PLAIN LOGIN", true},
		{"application passwords alone", []backends.CredentialKind{password, impersonation}, func(w *world) { w.table[0].Passwords = stores.ApplicationPassword }, "SCRAM-SHA-256 PLAIN LOGIN", true},
		{"application passwords alone, and no impersonation", []backends.CredentialKind{password}, func(w *world) { w.table[0].Passwords = stores.ApplicationPassword }, "", false},
		{"the store's passwords alone", []backends.CredentialKind{impersonation}, func(w *world) { w.table[0].Passwords = stores.StorePassword }, "", false},
		{"SCRAM by wish", []backends.CredentialKind{password, impersonation}, func(w *world) {
			w.change(func(p *login.Policy) { p.Mechanisms = []string{"SCRAM-SHA-256", "PLAIN"} })
		}, "SCRAM-SHA-256 PLAIN", true},
		{"a wish that nobody can grant", []backends.CredentialKind{password}, func(w *world) {
			w.change(func(p *login.Policy) { p.Mechanisms = []string{"SCRAM-SHA-256", "NTLM", "XOAUTH2", "LOGIN"} })
		}, "LOGIN", true},
		{"no passwords that are shown", []backends.CredentialKind{password, impersonation}, func(w *world) {
			w.change(func(p *login.Policy) { p.Mechanisms = []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"} })
		}, "SCRAM-SHA-256", false},
		{"two stores", []backends.CredentialKind{password}, func(w *world) {
			w.table = append(w.table, &place{stores.Config{Name: "tea"}, &fakeStore{description: backends.Description{Credentials: []backends.CredentialKind{token}}}})
		}, "OAUTHBEARER XOAUTH2 PLAIN LOGIN", true},
		{"SCRAM is not for one store where the other has passwords", []backends.CredentialKind{password}, func(w *world) {
			w.table = append(w.table, &place{stores.Config{Name: "tea"}, &fakeStore{description: backends.Description{Credentials: []backends.CredentialKind{impersonation}}}})
		}, "PLAIN LOGIN", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.kinds...)
			if test.change != nil {
				test.change(w)
			}
			client := newClient()
			if got := strings.Join(w.Mechanisms(client), " "); got != test.want {
				t.Errorf("offered: %q, want %q", got, test.want)
			}
			if got := w.TakesPasswords(client); got != test.password {
				t.Errorf("passwords: %v", got)
			}
			for _, m := range login.MechanismNames() {
				_, err := w.Begin(t.Context(), client, m)
				if offered := slices.Contains(w.Mechanisms(client), m); offered != (err == nil) {
					t.Errorf("%s: offered %v, and %v", m, offered, err)
				}
			}
		})
	}
}

// TestNotKnownYet: a password that a store might take that has never described itself is an outage,
// and no wrong password. An application password is not shown to it.
func TestNotKnownYet(t *testing.T) {
	text := newWorld(t).add(nil)
	temporary := &backends.Failure{Kind: backends.Temporary}
	for _, test := range []struct {
		name, secret string
		policy       stores.PasswordPolicy
		want         error
		asked        string
	}{
		{name: "a password", secret: "sesame", asked: "password"},
		{name: "an application password", secret: text, want: temporary},
		{name: "an application password, where the store's own alone are good", secret: text, policy: stores.StorePassword, want: &backends.Failure{Kind: backends.BadCredentials}, asked: "password"},
		{name: "a password, where application passwords alone are good", secret: "sesame", policy: stores.ApplicationPassword, want: temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, password, token, impersonation)
			w.store.down = true
			w.table[0].Passwords = test.policy
			err := w.Password(t.Context(), newClient(), "alice", []byte(test.secret))
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if got := kinds(w.store.seen()); got != test.asked {
				t.Errorf("the store was asked by %q", got)
			}
			if test.policy == stores.ApplicationPassword && !w.TakesPasswords(newClient()) {
				t.Error("passwords are not taken")
			}
		})
	}
}

// TestNotKnownBesideAKnownStore: SCRAM is offered by the one store, and its clients of the other one
// are told of an outage.
func TestNotKnownBesideAKnownStore(t *testing.T) {
	w := newWorld(t, impersonation)
	w.table = append(w.table, &place{stores.Config{Name: "tea", Domains: []string{"tea.example"}}, &fakeStore{down: true}})
	peer := scramClient{t, newScramClient(t, "alice@tea.example", "sesame", "").NewConversation()}
	err := w.converse(newClient(), "SCRAM-SHA-256", peer.say)
	if kindOf(err) != backends.Temporary {
		t.Errorf("got %v", err)
	}
}

// TestChangedPassword has a password changed in the store while the old one is remembered.
func TestChangedPassword(t *testing.T) {
	type step struct {
		name, user, secret string
		change             func(w *world, s *changing)
		asked              string
		good               bool
	}
	change := func(_ *world, s *changing) { s.password, s.generation = "new", s.generation+"'" }
	quietly := func(_ *world, s *changing) { s.password = "new" }
	for _, test := range []struct {
		name       string
		generation string // empty: the store does not tell of changes
		steps      []step
	}{
		{"a store that tells of changes", "1", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"again", "alice", "old", nil, "impersonation", true},
			{"the old one after the change", "alice", "old", change, "impersonation password", false},
			{"and again", "alice", "old", nil, "password", false},
			{"the new one", "alice", "new", nil, "password", true},
			{"the new one again", "alice", "new", nil, "impersonation", true},
		}},
		{"a store that does not, once the new one was used", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"the new one", "alice", "new", quietly, "password", true},
			{"the old one", "alice", "old", nil, "password", false},
		}},
		{"the new one by another name", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"by its address", "Alice@sakes.example", "old", nil, "password", true},
			{"the new one", "alice@sakes.example", "new", quietly, "password", true},
			{"the old one by the short name", "alice", "old", nil, "password", false},
			{"the new one by the short name", "alice", "new", nil, "password", true},
		}},
		{"the new one for somebody else's mailbox", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"the new one", "alice!info", "new", quietly, "password impersonation", true},
			{"the old one", "alice", "old", nil, "password", false},
		}},
		{"the new one for somebody else's mailbox, by another name", "", []step{
			{"the first time", "alice@sakes.example", "old", nil, "password", true},
			{"the new one", "alice!info", "new", quietly, "password impersonation", true},
			{"the old one", "alice@sakes.example", "old", nil, "password", false},
		}},
		{"somebody else's mailbox is not remembered", "1", []step{
			{"the first time", "alice!info", "old", nil, "password impersonation", true},
			{"again", "alice!info", "old", nil, "password impersonation", true},
		}},
		{"the new one in an exchange that the store conducts", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"the old one, after the exchange", "alice", "old", func(w *world, s *changing) {
				quietly(w, s)
				p := &played{account: &backends.Account{ID: "alice-id", Address: "alice@sakes.example"}}
				s.exchange, s.description.Mechanisms = func(string) sasl.Exchange[backends.Account] { return p }, []string{"NTLM"}
				w.change(func(p *login.Policy) { p.Mechanisms = []string{"NTLM", "PLAIN"} })
				if err := w.Password(w.t.Context(), newClient(), "alice", []byte("new")); err != nil {
					w.t.Fatal(err)
				}
				s.password = "newest"
				if err := w.converse(newClient(), "NTLM", script(login.NTLMResponse("alice"))); err != nil {
					w.t.Fatal(err)
				}
				w.store.seen()
			}, "password", false},
			{"the second one", "alice", "new", nil, "password", false},
		}},
		{"a reload", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"the old one after it", "alice", "old", func(w *world, s *changing) {
				quietly(w, s)
				w.change(func(*login.Policy) {})
			}, "password", false},
		}},
		{"the password expires", "", []step{
			{"the first time", "alice", "old", func(w *world, s *changing) { s.expires = w.now.Add(time.Second) }, "password", true},
			{"then", "alice", "old", func(w *world, _ *changing) { w.now = w.now.Add(time.Second) }, "password", true},
		}},
		{"using it does not make it last", "", []step{
			{"the first time", "alice", "old", nil, "password", true},
			{"four minutes later", "alice", "old", func(w *world, s *changing) { quietly(w, s); w.now = w.now.Add(4 * time.Minute) }, "impersonation", true},
			{"five minutes later", "alice", "old", func(w *world, _ *changing) { w.now = w.now.Add(time.Minute) }, "password", false},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, password, impersonation)
			s := &changing{fakeStore: w.store, password: "old", generation: test.generation}
			w.table[0].Backend = s
			w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
			for _, step := range test.steps {
				if step.change != nil {
					step.change(w, s)
				}
				err := w.Password(t.Context(), newClient(), step.user, []byte(step.secret))
				if (err == nil) != step.good || err != nil && kindOf(err) != backends.BadCredentials {
					t.Errorf("%s: %v", step.name, err)
				}
				if got := kinds(w.store.seen()); got != step.asked {
					t.Errorf("%s: the store was asked by %q, want %q", step.name, got, step.asked)
				}
			}
		})
	}
}

// TestChanged: a store's hint empties what is remembered of the account, and of no other.
func TestChanged(t *testing.T) {
	const owner = "alice-id"
	for name, test := range map[string]struct {
		store   string
		hint    backends.Hint
		forgets bool
	}{
		"the account's credentials": {"sakes", backends.Hint{Kind: backends.HintCredentials, Account: owner}, true},
		"the account":               {"sakes", backends.Hint{Kind: backends.HintAccount, Account: owner}, true},
		"anything":                  {"sakes", backends.Hint{}, true},
		"any account's credentials": {"sakes", backends.Hint{Kind: backends.HintCredentials}, true},
		"its mail":                  {"sakes", backends.Hint{Kind: backends.HintNewMail, Account: owner}, false},
		"another account":           {"sakes", backends.Hint{Kind: backends.HintCredentials, Account: "bob@sakes.example"}, false},
		"another store":             {"sake", backends.Hint{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, password, impersonation)
			s := &changing{fakeStore: w.store, password: "old"}
			w.table[0].Backend = s
			w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); err != nil {
				t.Fatal(err)
			}
			s.password = "new"
			w.Changed(test.store, test.hint)
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); (err != nil) != test.forgets {
				t.Errorf("the old password: %v", err)
			}
		})
	}
}

// TestChangedPasswordThatLetsNobodyIn: the store has taken the new password, and that is enough for
// the old one to be forgotten, whatever the login has come to behind it: the maildrop was in use, or
// the mailbox may not be used so.
func TestChangedPasswordThatLetsNobodyIn(t *testing.T) {
	for _, kind := range []backends.Kind{backends.InUse, backends.Temporary, backends.Permanent} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newWorld(t, password, impersonation)
			s := &changing{fakeStore: w.store, password: "old"}
			w.table[0].Backend = s
			w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); err != nil {
				t.Fatal(err)
			}
			s.password = "new"
			client := &lateClient{newClient(), func() error { return backends.Fail(kind, "behind the account") }}
			if err := w.Password(t.Context(), client, "alice@sakes.example", []byte("new")); kindOf(err) != kind {
				t.Fatal(err)
			}
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); kindOf(err) != backends.BadCredentials {
				t.Errorf("the old password: %v", err)
			}
		})
	}
}

// TestChangedPasswordDuringALogin: a login with the old password that takes long to open its maildrop
// does not make it good again, once the new one was used.
func TestChangedPasswordDuringALogin(t *testing.T) {
	w := newWorld(t, password, impersonation)
	s := &changing{fakeStore: w.store, password: "old"}
	w.table[0].Backend = s
	w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
	slow := &lateClient{newClient(), func() error {
		s.password = "new"
		return w.Password(t.Context(), newClient(), "alice", []byte("new"))
	}}
	if err := w.Password(t.Context(), slow, "alice", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); kindOf(err) != backends.BadCredentials {
		t.Errorf("the old password: %v", err)
	}
}

// TestChangedBeforeTheStoreHasAnswered: what a store says of a password before it tells of a change is
// not remembered after it; the login itself, and the next one, are as ever.
func TestChangedBeforeTheStoreHasAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(w *world)
		forgets bool
	}{
		"the account":    {func(w *world) { w.Changed("sakes", backends.Hint{Kind: backends.HintCredentials, Account: "alice-id"}) }, true},
		"anything":       {func(w *world) { w.Changed("sakes", backends.Hint{}) }, true},
		"a reload":       {func(w *world) { w.change(func(*login.Policy) {}) }, true},
		"new mail":       {func(w *world) { w.Changed("sakes", backends.Hint{Kind: backends.HintNewMail, Account: "alice-id"}) }, false},
		"another store":  {func(w *world) { w.Changed("tea", backends.Hint{}) }, false},
		"nothing at all": {func(*world) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, password, impersonation)
			s := &changing{fakeStore: w.store, password: "old"}
			w.table[0].Backend = s
			w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
			s.answering = func() { s.answering = nil; s.password = "new"; test.change(w) }
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); err != nil {
				t.Fatal(err)
			}
			if err := w.Password(t.Context(), newClient(), "alice", []byte("old")); (err != nil) != test.forgets {
				t.Errorf("the old password: %v", err)
			}
			w.store.seen()
			for range 2 {
				if err := w.Password(t.Context(), newClient(), "alice", []byte("new")); err != nil {
					t.Error(err)
				}
			}
			if got := kinds(w.store.seen()); got != "password impersonation" {
				t.Errorf("the store was asked by %q for the new one", got)
			}
		})
	}
}

// lateClient is a client whose login goes on after the store has said whose account it is.
type lateClient struct {
	*fakeClient
	late func() error
}

func (c *lateClient) Enter(ctx context.Context, e login.Entry) error {
	if err := c.fakeClient.Enter(ctx, e); err != nil {
		return err
	}
	return c.late()
}

// changing is a store with alice, whose password changes, and info, which she may open.
type changing struct {
	*fakeStore
	password, generation string
	expires              time.Time
	answering            func() // what happens between the verdict on a password and the answer; nil: nothing
}

func (c *changing) Authenticate(_ context.Context, mechanism string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	return c.exchange(mechanism), nil
}

func (c *changing) Login(_ context.Context, credential backends.Credential) (backends.Account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, credential)
	if credential.Kind == password && string(credential.Secret) != c.password {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "wrong")
	}
	if c.answering != nil {
		c.answering()
	}
	if credential.ActAs != "" {
		return backends.Account{ID: "info-id"}, nil
	}
	return backends.Account{ID: "alice-id", CredentialGeneration: c.generation, PasswordExpires: c.expires}, nil
}

// waitingClient is let in when as many are at the store's door as it waits for.
type waitingClient struct {
	*fakeClient
	all *sync.WaitGroup
}

func (c waitingClient) Enter(ctx context.Context, e login.Entry) error {
	c.all.Done()
	c.all.Wait()
	return c.fakeClient.Enter(ctx, e)
}

// TestFirstLoginsOfDevices: devices on one account, from one address, that come for the first time, and all at once, wait for each
// other's proof alone, and not for the store, by whichever mechanism they prove themselves.
func TestFirstLoginsOfDevices(t *testing.T) {
	w := newWorld(t, impersonation)
	// One at a time may be under way, and others would have to wait for a minute.
	throttle := login.NewMemoryThrottle(login.ThrottleLimits{Free: 1, Base: time.Minute, Most: time.Minute, Queue: time.Hour})
	w.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
		Log: w.quiet(), Guard: login.NewGuard(login.GuardOptions{Log: w.quiet(), Throttle: throttle}),
		Table: w.stores, Passwords: w.passwords, Devices: w.devices, Now: func() time.Time { return w.now },
	})
	const devices = 3
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	var inside sync.WaitGroup
	inside.Add(devices)
	outcome := make(chan error, devices)
	var texts []string
	for range devices {
		texts = append(texts, w.add(func(p *login.AppPassword) { p.Device, p.Legacy = "scanner", true }))
	}
	for i, text := range texts {
		client := waitingClient{newClient(), &inside}
		if i%2 == 0 {
			go func() { outcome <- w.Password(ctx, client, "alice", []byte(text)) }()
			continue
		}
		peer := scramClient{t, newScramClient(t, "alice", text, "").NewConversation()}
		go func() { outcome <- w.converse(client, "SCRAM-SHA-256", peer.say) }()
	}
	for range devices {
		select {
		case err := <-outcome:
			if err != nil {
				t.Error(err)
			}
		case <-ctx.Done():
			t.Fatal("devices wait for what the store takes for others")
		}
	}
}

// TestManyDevicesOfOneAccount: once their passwords are known to be good, devices on one account, from one address, come
// at once, and none of them waits for another one's turn; a wrong password and one that was revoked are refused as ever.
func TestManyDevicesOfOneAccount(t *testing.T) {
	w := newWorld(t, impersonation)
	w.change(func(p *login.Policy) { p.Remember = time.Hour })
	const devices = 60
	var texts []string
	for i := range devices {
		id := strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("a%04d", i))
		text := id + "-aaaaa-bbbbb-ccccc-" + strings.Repeat(string(rune('a'+i%20)), 5)
		cheap := argon2id.NewAt(argon2id.Costs{Memory: 64, Passes: 1, Threads: 1}, []byte(text))
		w.passwords.all = append(w.passwords.all, login.AppPassword{
			ID: id, Store: "sakes", Account: "alice@sakes.example", Hash: cheap.String(), Device: fmt.Sprint("scanner ", i), Legacy: true,
		})
		if texts = append(texts, text); w.Password(t.Context(), newClient(), "alice", []byte(text)) != nil {
			t.Fatalf("device %d may not log in", i)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var inside sync.WaitGroup
	inside.Add(devices)
	outcome := make(chan error, devices)
	for _, text := range texts {
		go func() { outcome <- w.Password(ctx, waitingClient{newClient(), &inside}, "alice", []byte(text)) }()
	}
	for range devices {
		select {
		case err := <-outcome:
			if err != nil {
				t.Error(err)
			}
		case <-ctx.Done():
			t.Fatal("devices wait for each other")
		}
	}
	wrong := texts[0][:len(texts[0])-1] + "z"
	if err := w.Password(t.Context(), newClient(), "alice", []byte(wrong)); kindOf(err) != backends.BadCredentials {
		t.Errorf("a wrong password: %v", err)
	}
	w.passwords.all = w.passwords.all[:devices-1]
	if err := w.Password(t.Context(), newClient(), "alice", []byte(texts[devices-1])); kindOf(err) != backends.BadCredentials {
		t.Errorf("a revoked password: %v", err)
	}
}
