package login_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

func TestNewAppPassword(t *testing.T) {
	draft := login.AppPassword{Store: "sakes", Account: "alice@sakes.example", Label: "phone"}
	made, text, err := login.NewAppPassword([]byte("key"), draft)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[a-z2-7]{5}(-[a-z2-7]{5}){4}$`).MatchString(text) || made.ID != text[:5] || made.Label != "phone" {
		t.Errorf("%q of %+v", text, made)
	}
	hash, err := argon2id.Parse(made.Hash)
	if err != nil || hash.Costs != argon2id.Usual {
		t.Errorf("the hash is %q, %v", made.Hash, err)
	}
	if right, _ := argon2id.NewVerifier(1).Verify(t.Context(), hash, []byte(text)); !right {
		t.Error("it is not the password's hash")
	}
	if secret := text[6:]; strings.Contains(made.Hash+string(made.StoredKey)+string(made.ServerKey)+made.Label, secret) {
		t.Error("the password is kept")
	}
	if _, other, _ := login.NewAppPassword([]byte("key"), draft); other == text {
		t.Error("two passwords are the same")
	}
}

// mistyped is a password whose last character is another one.
func mistyped(text string) string {
	last := "2"
	if strings.HasSuffix(text, last) {
		last = "3"
	}
	return text[:len(text)-1] + last
}

// TestAppPassword has passwords of the gateway's own, by PLAIN and USER and PASS.
func TestAppPassword(t *testing.T) {
	nets := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for _, test := range []struct {
		name   string
		user   string // alice
		change func(*login.AppPassword)
		spoil  func(*world, *string, *fakeClient)
		asked  string // by what the store was asked
		kind   backends.Kind
		cause  string // in the log
	}{
		{name: "right", asked: "impersonation"},
		{name: "by address", user: "alice@sakes.example", asked: "impersonation"},
		{name: "for a shared mailbox", user: "alice!info", asked: "impersonation impersonation"}, // whose password it is, first
		{name: "of another account", user: "bob", kind: backends.BadCredentials},
		{name: "mistyped", spoil: func(_ *world, text *string, _ *fakeClient) { *text = mistyped(*text) }, kind: backends.BadCredentials},
		{name: "of no id", spoil: func(_ *world, text *string, _ *fakeClient) { *text = "aaaaa" + (*text)[5:] }, kind: backends.BadCredentials},
		{name: "in capitals, it is the store's matter", spoil: func(_ *world, text *string, _ *fakeClient) { *text = strings.ToUpper(*text) }, asked: "password", kind: backends.BadCredentials},
		{name: "revoked", spoil: func(w *world, _ *string, _ *fakeClient) { w.passwords.all = nil }, kind: backends.BadCredentials},
		{name: "for this protocol", change: func(p *login.AppPassword) { p.Protocols = []string{"submission", "pop3"} }, asked: "impersonation"},
		{name: "for another protocol", change: func(p *login.AppPassword) { p.Protocols = []string{"submission"} }, kind: backends.BadCredentials, cause: "it is good for submission"},
		{name: "from this network", change: func(p *login.AppPassword) { p.Networks = nets("2001:db8::/32", "192.0.2.0/24") }, asked: "impersonation"},
		{name: "from this network, mapped into IPv6", change: func(p *login.AppPassword) { p.Networks = nets("192.0.2.0/24") }, spoil: func(_ *world, _ *string, c *fakeClient) { c.peer.Address = "[::ffff:192.0.2.7]:4711" }, asked: "impersonation"},
		{name: "from another network", change: func(p *login.AppPassword) { p.Networks = nets("198.51.100.0/24") }, kind: backends.BadCredentials, cause: "it is not good from this address"},
		{name: "from nowhere", change: func(p *login.AppPassword) { p.Networks = nets("0.0.0.0/0") }, spoil: func(_ *world, _ *string, c *fakeClient) { c.peer.Address = "@" }, kind: backends.BadCredentials},
		{name: "not expired", change: func(p *login.AppPassword) { p.Expires = p.Created.Add(time.Second) }, asked: "impersonation"},
		{name: "expired", change: func(p *login.AppPassword) { p.Expires = p.Created }, kind: backends.BadCredentials, cause: "it has expired on 2026-11-28"},
		{name: "where the store's own alone are good", spoil: func(w *world, _ *string, _ *fakeClient) { w.table[0].Passwords = stores.StorePassword }, asked: "password", kind: backends.BadCredentials},
		{name: "where the gateway may not act", spoil: func(w *world, _ *string, _ *fakeClient) {
			w.store.description.Credentials = []backends.CredentialKind{password}
		}, asked: "password", kind: backends.BadCredentials},
		{name: "the store's password, where application passwords alone are good", spoil: func(w *world, text *string, _ *fakeClient) {
			w.table[0].Passwords, *text = stores.ApplicationPassword, "sesame"
		}, kind: backends.BadCredentials},
		{name: "the store's password beside it", spoil: func(_ *world, text *string, _ *fakeClient) { *text = "sesame" }, asked: "password"},
		{name: "the database is down", spoil: func(w *world, _ *string, _ *fakeClient) { w.passwords.fail = errors.New("down") }, kind: backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, password, impersonation)
			client := newClient()
			w.add(nil)
			text := w.add(test.change)
			if test.spoil != nil {
				test.spoil(w, &text, client)
			}
			user := test.user
			if user == "" {
				user = "alice"
			}
			err := w.Password(t.Context(), client, user, []byte(text))
			if kindOf(err) != test.kind {
				t.Fatalf("got %v", err)
			}
			if got := kinds(w.store.seen()); got != test.asked {
				t.Errorf("the store was asked by %q, want %q", got, test.asked)
			}
			if !strings.Contains(w.log.String(), test.cause) || strings.Contains(w.log.String(), text) {
				t.Errorf("the log is %s", w.log)
			}
			if used := len(w.passwords.used) == 1; used != (test.kind == 0 && strings.HasPrefix(test.asked, "impersonation")) {
				t.Errorf("used: %q", w.passwords.used)
			}
		})
	}
}

// TestAppPasswordIsHashedOnce has one that is used often: the hash is the slow part. Whether it
// is good is asked each time all the same.
func TestAppPasswordIsHashedOnce(t *testing.T) {
	w := newWorld(t, impersonation)
	w.change(func(p *login.Policy) { p.Remember = 5 * time.Minute })
	text := w.add(nil)
	pass := func(text string) backends.Kind {
		return kindOf(w.Password(t.Context(), newClient(), "alice", []byte(text)))
	}
	if kind := pass(text); kind != 0 {
		t.Fatal(kind)
	}
	hash := w.passwords.all[0].Hash
	w.passwords.all[0].Hash = "not looked at"
	if kind := pass(text); kind != 0 {
		t.Errorf("hashed again: %v", kind)
	}
	w.passwords.all[0].Expires = w.now
	if kind := pass(text); kind != backends.BadCredentials {
		t.Errorf("an expired password is remembered: %v", kind)
	}
	w.passwords.all[0].Expires = time.Time{}
	w.passwords.all[0].Hash = hash
	if kind := pass(mistyped(text)); kind != backends.BadCredentials {
		t.Errorf("a wrong one: %v", kind)
	}
	w.passwords.all[0].Hash = "looked at"
	if kind := pass(text); kind != backends.Temporary {
		t.Errorf("remembered after a failure: %v", kind)
	}
	w.passwords.all = nil
	if kind := pass(text); kind != backends.BadCredentials {
		t.Errorf("a revoked password is remembered: %v", kind)
	}
}
