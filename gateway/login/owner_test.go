package login_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

// naming is a store whose login names and aliases come to mean accounts as a test says. Each
// account's own password is "own".
type naming struct {
	*fakeStore
	names map[string]backends.Account // by login name
}

func (n *naming) Login(_ context.Context, c backends.Credential) (backends.Account, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.logins = append(n.logins, c)
	a, ok := n.names[strings.ToLower(c.User)]
	if !ok || c.Kind == password && string(c.Secret) != "own" {
		return backends.Account{}, backends.Fail(backends.BadCredentials, "no such user")
	}
	if c.ActAs != "" {
		return n.names[strings.ToLower(c.ActAs)], nil
	}
	return a, nil
}

func accountOf(addresses ...string) backends.Account {
	return backends.Account{ID: addresses[0], Address: addresses[0], Addresses: addresses}
}

var (
	sales  = accountOf("sales@a.example", "info@a.example")
	infoA  = accountOf("info@a.example")
	infoB  = accountOf("info@b.example")
	shared = accountOf("team@a.example")
)

// TestPasswordOpensItsOwnAccount has application passwords whose name means, or has come to mean,
// somebody else's account. None of them opens that.
func TestPasswordOpensItsOwnAccount(t *testing.T) {
	type names = map[string]backends.Account
	for _, test := range []struct {
		name, user string
		owner      string // as the password has it
		names      names
		opens      string // the account's id; empty: refused
	}{
		{
			name: "an alias in the first domain, an account in another one", user: "info",
			names: names{"info@a.example": sales, "info@b.example": infoB, "info": infoB}, opens: sales.ID,
		},
		{name: "in capitals", user: "INFO", names: names{"info@a.example": sales, "info": infoB}, opens: sales.ID},
		{name: "the whole name", user: "info@a.example", names: names{"info@a.example": sales, "info": infoB}, opens: sales.ID},
		{name: "the same local part in another domain", user: "info@b.example", names: names{"info@a.example": sales, "info@b.example": infoB}},
		{name: "the account was removed, and the short name means another one", user: "info", names: names{"info@b.example": infoB, "info": infoB}},
		{name: "the alias has moved", user: "info", owner: "sales@a.example", names: names{"info@a.example": accountOf("boss@a.example", "info@a.example")}},
		{name: "the account was removed, and its name is an alias now", user: "info@a.example", owner: "info@a.example", names: names{"info@a.example": sales}},
		{name: "the same, for somebody else's mailbox", user: "info@a.example!team@a.example", owner: "info@a.example", names: names{"info@a.example": sales, "team@a.example": shared}},
		{name: "a store that opens another account, whose owner is not known yet", user: "info", names: names{"info@a.example": infoB}},
		{name: "a store that opens another account", user: "info", owner: "info@a.example", names: names{"info@a.example": infoB}},
		{name: "the account has another id now", user: "info", owner: "17", names: names{"info@a.example": {ID: "18", FormerIDs: []string{"17"}, Address: "info@a.example"}}, opens: "18"},
		{name: "its own", user: "info", owner: "info@a.example", names: names{"info@a.example": infoA, "info": infoA}, opens: infoA.ID},
		{name: "somebody else's mailbox", user: "info!team@a.example", owner: "info@a.example", names: names{"info@a.example": infoA, "team@a.example": shared}, opens: shared.ID},
		{name: "a store without addresses", user: "info", names: names{"info@a.example": {ID: "17"}}, opens: "17"},
	} {
		for _, mechanism := range []string{"PASS", "PLAIN", "SCRAM-SHA-256"} {
			t.Run(test.name+" by "+mechanism, func(t *testing.T) {
				w := newWorld(t, password, impersonation)
				store := &naming{w.store, test.names}
				w.table[0] = &place{stores.Config{Name: "sakes", Domains: []string{"a.example", "b.example"}}, store}
				w.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
					Log: w.quiet(), Guard: login.NewGuard(login.GuardOptions{Log: w.quiet(), Floor: time.Millisecond}),
					Table: w.stores, Passwords: w.passwords,
					Policy: login.Policy{Mechanisms: []string{"PLAIN", "SCRAM-SHA-256"}},
				})
				made, text := infoPassword()
				made.Owner = test.owner
				w.passwords.all = []login.AppPassword{made}
				client := newClient()
				var err error
				switch mechanism {
				case "PASS":
					err = w.Password(t.Context(), client, test.user, []byte(text))
				case "PLAIN":
					err = w.converse(client, mechanism, script([]byte("\x00"+test.user+"\x00"+text)))
				default:
					peer := scramClient{t, newScramClient(t, test.user, text, "").NewConversation()}
					err = w.converse(client, mechanism, peer.say)
				}
				if client.account != test.opens || (err == nil) != (test.opens != "") {
					t.Fatalf("opens %q, %v; want %q", client.account, err, test.opens)
				}
				if test.opens == "" && kindOf(err) != backends.BadCredentials {
					t.Errorf("refused by %v", err)
				}
			})
		}
	}
}

// infoPassword is an application password that was made for info@a.example.
var infoPassword = sync.OnceValues(func() (login.AppPassword, string) {
	made, text, err := login.NewAppPassword([]byte("salt key"), login.AppPassword{Store: "sakes", Account: "info@a.example"})
	if err != nil {
		panic(err)
	}
	return made, text
})

// TestPasswordFindsItsOwner has the first good use of a password note whose it is.
func TestPasswordFindsItsOwner(t *testing.T) {
	w := newWorld(t, impersonation)
	text := w.add(nil)
	if err := w.Password(t.Context(), newClient(), "alice", []byte(text)); err != nil {
		t.Fatal(err)
	}
	if len(w.passwords.owners) != 1 || w.passwords.owners[0] != "alice-id" {
		t.Errorf("the owner is noted as %q", w.passwords.owners)
	}
}

// TestRememberedPasswordOpensTheSameAccount has a name come to mean another account while a
// password is remembered.
func TestRememberedPasswordOpensTheSameAccount(t *testing.T) {
	w := newWorld(t, password, impersonation)
	store := &naming{w.store, map[string]backends.Account{"info": infoA}}
	w.table[0] = &place{stores.Config{Name: "sakes"}, store}
	w.change(func(p *login.Policy) { p.Remember = time.Hour })
	if err := w.Password(t.Context(), newClient(), "info", []byte("own")); err != nil {
		t.Fatal(err)
	}
	store.names["info"] = infoB
	client := newClient()
	_ = w.Password(t.Context(), client, "info", []byte("own"))
	if got := kinds(w.store.seen()); got != "password impersonation password" {
		t.Errorf("the store was asked by %q: the second password was not verified", got)
	}
}
