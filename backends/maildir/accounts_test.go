package maildir

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

func TestAccountsFile(t *testing.T) {
	hash := cheapHash(secret)
	for _, c := range []struct {
		name, text string
		wrong      []string
	}{
		{"nothing", "", nil},
		{"comments alone", "# nobody yet\n", nil},
		{"an empty list", "accounts:\n", nil},
		{"the office", accountsText(), nil},
		{"everything", "accounts:\n- {address: Ä.b@Bücher.example, password: '" + hash + "', name: Ä, aliases: ['@b.example', c@d.example], send_as: ['@e.example'], opens: [f@e.example], quota: 1GiB, disabled: true}\n", nil},
		{"no password yet", "accounts:\n- address: a@b.example\n", nil},
		{"no YAML", "accounts: [", []string{"yaml:"}},
		{"no mapping", "- a@b.example\n", []string{"line 1"}},
		{"no list", "accounts: a@b.example\n", []string{"line 1: expected a list"}},
		{"an entry that is a text", "accounts:\n- a@b.example\n", []string{"line 2"}},
		{"unknown keys", "users: []\naccounts:\n- address: a@b.example\n  adress: x\n", []string{`line 1: unknown key "users"`, `line 4: unknown key "adress"`, "aliases"}},
		{"a key twice", "accounts:\n- address: a@b.example\n  address: b@b.example\n", []string{`line 3: "address" stands here twice`}},
		{"no address", "accounts:\n- name: x\n", []string{"line 2: an account needs an address"}},
		{"bad addresses", "accounts:\n- address: a\n- address: '@b.example'\n- address: a@b..c\n- address: [a]\n", []string{"line 2:", "line 3:", "line 4:", "line 5:"}},
		{"the same address twice", "accounts:\n- address: a@b.example\n- address: A@B.example\n", []string{"line 3: a@b.example belongs to the account in line 2"}},
		{"an alias that is taken", "accounts:\n- address: a@b.example\n- {address: c@b.example, aliases: [a@b.example]}\n", []string{"line 3: a@b.example belongs"}},
		{"two for one domain", "accounts:\n- {address: a@b.example, aliases: ['@b.example']}\n- {address: c@b.example, aliases: ['@b.example']}\n", []string{"line 3: @b.example belongs"}},
		{"a password in the clear", "accounts:\n- {address: a@b.example, password: hunter2}\n", []string{"line 2: password: expected a hash"}},
		{"a bad quota", "accounts:\n- {address: a@b.example, quota: lots}\n", []string{"line 2: quota"}},
		{"a bad flag", "accounts:\n- {address: a@b.example, disabled: perhaps}\n", []string{"line 2: disabled"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseAccounts([]byte(c.text))
			if (err == nil) != (len(c.wrong) == 0) {
				t.Fatalf("%v", err)
			}
			for _, want := range c.wrong {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not tell %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q tells the password", err)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	w := newWorld(t, map[string]any{"act_for": true})
	text, _ := os.ReadFile(filepath.Join(w.root, "accounts.yaml"))
	hash := cheapHash(secret)
	writeFile(t, filepath.Join(w.root, "accounts.yaml"), string(text)+
		"  - {address: anna@third.example, password: '"+hash+"'}\n"+
		"  - {address: gone@sakes.example, password: '"+hash+"', disabled: true}\n"+
		"  - {address: nopass@sakes.example}\n"+
		"  - {address: boss@sakes.example, password: '"+hash+"', opens: [nopass@sakes.example, info@sakes.example, later@sakes.example]}\n")
	const (
		pass          = backends.CredentialPassword
		impersonation = backends.CredentialImpersonation
	)
	for _, c := range []struct {
		name       string
		credential backends.Credential
		want       string // the account's id; empty: the failure
		failure    backends.Kind
	}{
		{"address", backends.Credential{Kind: pass, User: anna, Secret: []byte(secret)}, anna, 0},
		{"address in other letters", backends.Credential{Kind: pass, User: "Anna@SAKES.Example", Secret: []byte(secret)}, anna, 0},
		{"alias", backends.Credential{Kind: pass, User: "info@sakes.example", Secret: []byte(secret)}, anna, 0},
		{"bare name", backends.Credential{Kind: pass, User: "ben", Secret: []byte(secret)}, ben, 0},
		{"bare name of two", backends.Credential{Kind: pass, User: "anna", Secret: []byte(secret)}, "", backends.BadCredentials},
		{"a catch-all is no name", backends.Credential{Kind: pass, User: "x@other.example", Secret: []byte(secret)}, "", backends.BadCredentials},
		{"wrong password", backends.Credential{Kind: pass, User: anna, Secret: []byte("wrong")}, "", backends.BadCredentials},
		{"empty password", backends.Credential{Kind: pass, User: anna}, "", backends.BadCredentials},
		{"nobody", backends.Credential{Kind: pass, User: "nobody@sakes.example", Secret: []byte(secret)}, "", backends.BadCredentials},
		{"no name", backends.Credential{Kind: pass, Secret: []byte(secret)}, "", backends.BadCredentials},
		{"no password set", backends.Credential{Kind: pass, User: "nopass@sakes.example"}, "", backends.BadCredentials},
		{"disabled", backends.Credential{Kind: pass, User: "gone@sakes.example", Secret: []byte(secret)}, "", backends.Permanent},
		{"disabled and a wrong password", backends.Credential{Kind: pass, User: "gone@sakes.example", Secret: []byte("x")}, "", backends.BadCredentials},
		{"as oneself", backends.Credential{Kind: pass, User: ben, ActAs: "Ben@sakes.example", Secret: []byte(secret)}, ben, 0},
		{"as somebody else", backends.Credential{Kind: pass, User: ben, ActAs: anna, Secret: []byte(secret)}, "", backends.Permanent},
		{"as nobody", backends.Credential{Kind: pass, User: ben, ActAs: "nobody@sakes.example", Secret: []byte(secret)}, "", backends.Permanent},
		{"as somebody else, with a wrong password", backends.Credential{Kind: pass, User: "boss", ActAs: "nopass", Secret: []byte("x")}, "", backends.BadCredentials},
		{"a shared mailbox", backends.Credential{Kind: pass, User: "boss", ActAs: "nopass", Secret: []byte(secret)}, "nopass@sakes.example", 0},
		{"a shared mailbox, by its alias", backends.Credential{Kind: pass, User: "boss", ActAs: anna, Secret: []byte(secret)}, anna, 0},
		{"a shared mailbox that there is not", backends.Credential{Kind: pass, User: "boss", ActAs: "later@sakes.example", Secret: []byte(secret)}, "", backends.Permanent},
		{"a shared mailbox's owner is not let in by that", backends.Credential{Kind: pass, User: "nopass", ActAs: "boss", Secret: []byte(secret)}, "", backends.BadCredentials},
		{"the gateway's word", backends.Credential{Kind: impersonation, User: ben}, ben, 0},
		{"the gateway's word for another's mailbox", backends.Credential{Kind: impersonation, User: ben, ActAs: anna}, "", backends.Permanent},
		{"the gateway's word for a shared mailbox", backends.Credential{Kind: impersonation, User: "boss", ActAs: "nopass"}, "nopass@sakes.example", 0},
		{"the gateway's word for nobody", backends.Credential{Kind: impersonation, User: "nobody@sakes.example"}, "", backends.BadCredentials},
		{"the gateway's word for a disabled account", backends.Credential{Kind: impersonation, User: "gone@sakes.example"}, "", backends.Permanent},
		{"a token", backends.Credential{Kind: backends.CredentialToken, User: anna, Secret: []byte(secret)}, "", backends.Unsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := w.Login(t.Context(), c.credential)
			if a.ID != c.want || backends.KindOf(err) != c.failure {
				t.Errorf("%+v, %v", a, err)
			}
			m, err := w.Open(t.Context(), backends.OpenRequest{Credential: c.credential})
			if backends.KindOf(err) != c.failure {
				t.Fatalf("Open: %v", err)
			}
			if err == nil {
				if m.Opened().Account.ID != c.want {
					t.Errorf("Open gives %+v", m.Opened().Account)
				}
				_ = m.Close()
			}
		})
	}
}

func TestAccount(t *testing.T) {
	w := newWorld(t, nil)
	a, err := w.Login(t.Context(), password(anna))
	want := backends.Account{
		ID: anna, Address: anna, DisplayName: "Anna Sakes",
		Addresses: []string{anna, "info@sakes.example", "sales@sakes.example"},
	}
	if err != nil || a.ID != want.ID || a.Address != want.Address || a.DisplayName != want.DisplayName || !slices.Equal(a.Addresses, want.Addresses) {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = w.Login(t.Context(), password(cyrus)); err != nil || !slices.Equal(a.Addresses, []string{cyrus}) {
		t.Errorf("who gets the mail of a domain may send as %v, %v", a.Addresses, err)
	}
	if _, err := w.Login(t.Context(), backends.Credential{Kind: backends.CredentialImpersonation, User: anna}); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("the gateway's word without act_for: %v", err)
	}
	d, _ := w.Describe(t.Context())
	if !slices.Equal(d.Credentials, []backends.CredentialKind{backends.CredentialPassword}) {
		t.Errorf("credentials: %v", d.Credentials)
	}
	d, _ = newWorld(t, map[string]any{"act_for": true, "message_limit": 99}).Describe(t.Context())
	if !slices.Contains(d.Credentials, backends.CredentialImpersonation) || d.Limits.MessageSize != 99 {
		t.Errorf("%+v", d)
	}
}

// TestCredentialGeneration: it is another one once the password is, and the same one by whatever
// name and however the file has changed otherwise.
func TestCredentialGeneration(t *testing.T) {
	w := newWorld(t, map[string]any{"act_for": true})
	of := func(c backends.Credential) string {
		t.Helper()
		a, err := w.Login(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return a.CredentialGeneration
	}
	word := func(user string) backends.Credential {
		return backends.Credential{Kind: backends.CredentialImpersonation, User: user}
	}
	before := of(password(anna))
	if before == "" {
		t.Error("there is none")
	}
	for _, other := range []backends.Credential{word(anna), word("info@sakes.example")} {
		if got := of(other); got != before {
			t.Errorf("%s %s: %q, and %q by password", other.Kind, other.User, got, before)
		}
	}
	if err := (Users{Root: w.root}).SetPassword(t.Context(), anna, []byte("another one")); err != nil {
		t.Fatal(err)
	}
	if got := of(word(anna)); got == before {
		t.Errorf("the password has changed, and it is %q still", got)
	}
}

// TestAccountsAreReadAgain changes the file in all the ways in which files are changed.
func TestAccountsAreReadAgain(t *testing.T) {
	var logged bytes.Buffer
	w := newWorld(t, nil, WithLogger(zerolog.New(&logged)))
	path := filepath.Join(w.root, "accounts.yaml")
	canLogIn := func(user string) bool {
		t.Helper()
		_, err := w.Login(t.Context(), password(user))
		if err != nil && backends.KindOf(err) != backends.BadCredentials {
			t.Fatalf("Login: %v", err)
		}
		return err == nil
	}
	const dora = "dora@sakes.example"
	one := accountsText()
	two := strings.ReplaceAll(one, ben, dora)
	if !canLogIn(ben) || canLogIn(dora) {
		t.Fatal("the first file is not in force")
	}
	writeFile(t, path, two) // in place
	if canLogIn(ben) || !canLogIn(dora) {
		t.Error("a file written in place is not read again")
	}
	writeFile(t, path+".new", one) // by renaming
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if !canLogIn(ben) || canLogIn(dora) {
		t.Error("a file put in its place is not read again")
	}
	// The same length and the same time: another file when it is old, the same one when it is
	// young enough for its clock to stand still.
	const bea = "bea@sakes.example"
	other := strings.ReplaceAll(one, ben, bea)
	for when, place := range map[time.Time]func(text string) error{
		time.Now().Add(-time.Hour): func(text string) error {
			return errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path))
		},
		time.Now(): func(text string) error { return os.WriteFile(path, []byte(text), 0o600) },
	} {
		for _, c := range []struct{ text, in, out string }{{one, ben, bea}, {other, bea, ben}, {one, ben, bea}} {
			if err := errors.Join(place(c.text), os.Chtimes(path, when, when)); err != nil {
				t.Fatal(err)
			}
			if !canLogIn(c.in) || canLogIn(c.out) {
				t.Errorf("another content of the same time (%v ago) and length is not read", time.Since(when))
			}
		}
	}
	for name, breakIt := range map[string]func(){
		"bad":  func() { writeFile(t, path, "accounts: [") },
		"gone": func() { _ = os.Remove(path) },
	} {
		logged.Reset()
		breakIt()
		first := canLogIn(ben)
		if again := canLogIn(ben); !first || !again {
			t.Errorf("%s: the last good file is not in force", name)
		}
		if err := w.Health(t.Context()); backends.KindOf(err) != backends.Temporary {
			t.Errorf("%s: health: %v", name, err)
		}
		if n := strings.Count(logged.String(), "accounts file cannot be used"); n != 1 {
			t.Errorf("%s: logged %d times", name, n)
		}
		writeFile(t, path, one)
		if err := w.Health(t.Context()); err != nil {
			t.Errorf("%s: health after it was put right: %v", name, err)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add(accountsText())
	f.Add("accounts:\n- {address: a@b.example, aliases: ['@b.example'], quota: 1GiB, disabled: true}\n")
	f.Add("accounts: &a\n- *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseAccounts([]byte(text))
		if err != nil {
			return
		}
		for _, a := range d.accounts {
			if a.address.local == "" || a.address.domain == "" || d.mail[a.address] != a {
				t.Errorf("account %+v", a)
			}
			if again, err := parseAddress(a.address.String()); err != nil || again != a.address {
				t.Errorf("%v is read again as %v, %v", a.address, again, err)
			}
		}
		if _, _, err := editable([]byte(text)); err != nil {
			t.Errorf("a good file cannot be edited: %v", err)
		}
	})
}

// TestAccountsHalfWritten: a file that is written in place is empty, and then a part of itself, for an
// instant. Who logs in then is not told that the password is wrong. What stays so counts soon.
func TestAccountsHalfWritten(t *testing.T) {
	const all = "accounts:\n- address: a@x.example\n- address: b@x.example\n"
	half := all[:strings.LastIndex(all, "-")]
	for name, c := range map[string]struct {
		change func(path string) error
		age    time.Duration // of the change
		waits  bool
		left   int // accounts, when it counts
	}{
		"emptied":               {func(path string) error { return os.Truncate(path, 0) }, 0, true, 0},
		"emptied an hour ago":   {func(path string) error { return os.Truncate(path, 0) }, time.Hour, false, 0},
		"of a clock far ahead":  {func(path string) error { return os.Truncate(path, 0) }, -time.Hour, true, 0},
		"its first half":        {func(path string) error { return os.WriteFile(path, []byte(half), 0o600) }, 0, true, 1},
		"a comment of its head": {func(path string) error { return os.WriteFile(path, []byte("# people\n"), 0o600) }, 0, true, 0},
		"made anew": {func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600))
		}, 0, true, 0},
		"first wrong, then its half": {func(path string) error { return os.WriteFile(path, []byte("accounts: ["), 0o600) }, 0, true, 1},
		"another in its place": {func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte(half), 0o600), os.Rename(path+".new", path))
		}, 0, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "accounts.yaml")
			var logged bytes.Buffer
			now := time.Now()
			f := &accountsFile{path: path, log: zerolog.New(&logged), now: func() time.Time { return now }}
			writeFile(t, path, all)
			if err := f.load(); err != nil {
				t.Fatal(err)
			}
			has := func(want int, when string) {
				t.Helper()
				if got := len(f.directory().accounts); got != want {
					t.Errorf("%s: %d accounts, want %d", when, got, want)
				}
			}
			place := func(change func(path string) error) {
				t.Helper()
				if err := errors.Join(change(path), os.Chtimes(path, now.Add(-c.age), now.Add(-c.age))); err != nil {
					t.Fatal(err)
				}
			}
			place(c.change)
			if name == "first wrong, then its half" {
				has(2, "while it is wrong")
				logged.Reset()
				place(func(path string) error { return os.WriteFile(path, []byte(half), 0o600) })
			}
			if !c.waits {
				has(c.left, "at once")
				return
			}
			has(2, "for an instant")
			has(2, "when asked again")
			if err := f.health(); err != nil || strings.Count(logged.String(), "\n") != 1 {
				t.Errorf("health %v, and the log is %s", err, logged.String())
			}
			if c.left == 0 && c.age == 0 { // it was an instant
				place(func(path string) error { return os.WriteFile(path, []byte(all), 0o600) })
				has(2, "when it is whole again")
				logged.Reset()
				place(c.change)
				has(2, "for another instant")
			}
			now = now.Add(3 * time.Second)
			has(c.left, "later")
			if n := strings.Count(logged.String(), "\n"); n != 2 {
				t.Errorf("the log has %d lines: %s", n, logged.String())
			}
		})
	}
}
