package manage

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/login"
)

const twoStores = `
hostname: gate.example
state: state
stores:
  - {name: sakes, plugin: maildir, domains: [sakes.example], default: true, settings: {root: sakes}}
  - {name: own, plugin: maildir, domains: [own.example], passwords: store, settings: {root: own}}
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("gate.yaml", t.TempDir(), []byte(text), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestStoreOf(t *testing.T) {
	two := parse(t, twoStores)
	one := parse(t, twoStores[:strings.Index(twoStores, "  - {name: own")])
	for _, test := range []struct {
		name    string
		cfg     *config.Config
		mailbox string
		want    string // empty: none
	}{
		{"by its domain", two, "anna@OWN.example", "own"},
		{"a domain of nobody's", two, "anna@far.example", ""},
		{"no domain, and two stores", two, "anna", ""},
		{"no domain, and one store", one, "anna", "sakes"},
		{"another domain, and one store", one, "anna@own.example", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, err := StoreOf(test.cfg, test.mailbox)
			if store.Name != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q, %v", store.Name, err)
			}
		})
	}
	if _, err := StoreNamed(two, "far"); err == nil {
		t.Error("a store that there is not is found")
	}
}

func TestAccountIn(t *testing.T) {
	cfg := parse(t, twoStores)
	for _, test := range []struct{ name, store, account, wrong string }{
		{"Anna@sakes.example", "sakes", "anna@sakes.example", ""},
		{"anna", "sakes", "anna@sakes.example", ""}, // the default store
		{"anna@own.example", "", "", "takes no application passwords"},
		{"anna@far.example", "", "", "no store has login names"},
		{"", "", "", "is not the login name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, account, err := AccountIn(cfg, test.name)
			if store != test.store || account != test.account {
				t.Errorf("%q in %q, %v", account, store, err)
			}
			if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	draft := login.AppPassword{Protocols: []string{"pop3"}, Label: "scanner, 2nd floor"}
	if err := Limit(&draft, []string{"192.0.2.7", "2001:db8::1/32"}, "90d"); err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(draft.Networks, want) {
		t.Errorf("good from %v", draft.Networks)
	}
	if left := time.Until(draft.Expires); left < 89*24*time.Hour || left > 91*24*time.Hour {
		t.Errorf("good for %v", left)
	}
	for name, test := range map[string]struct {
		draft    login.AppPassword
		networks []string
		life     string
	}{
		"a protocol":           {draft: login.AppPassword{Protocols: []string{"smtp"}}},
		"a label of two lines": {draft: login.AppPassword{Label: "one\ntwo"}},
		"a long label":         {draft: login.AppPassword{Label: strings.Repeat("x", labelMost+1)}},
		"a network":            {networks: []string{"here"}},
		"a time":               {life: "soon"},
		"a day that is over":   {life: "2020-01-01"},
	} {
		if err := Limit(&test.draft, test.networks, test.life); err == nil {
			t.Errorf("%s that is wrong is taken", name)
		}
	}
}

func TestUIDLFileArguments(t *testing.T) {
	for argument, file := range map[string]UIDLFile{
		"uidvalidity": {Format: "cyrus"},
		"format":      {Format: "pine"},
		"form":        {Format: "cyrus", Validity: 1, Form: "none"},
	} {
		_, err := file.Read(t.TempDir())
		if wrong, is := errors.AsType[*ArgumentError](err); !is || wrong.Name != argument {
			t.Errorf("%s: %v", argument, err)
		}
	}
}
