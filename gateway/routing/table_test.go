package routing_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/routing"
)

func TestTable(t *testing.T) {
	backend := receiver{newFakeStore()}
	store := func(name string, domains ...string) routing.Store {
		return routing.Store{Name: name, Domains: domains, Backend: backend}
	}
	marked := func(s routing.Store) routing.Store { s.Default = true; return s }
	for _, test := range []struct {
		name     string
		stores   []routing.Store
		problems []string
		fallback string
	}{
		{"none", nil, nil, ""},
		{"one is the default", []routing.Store{store("a", "a.example")}, nil, "a"},
		{"of two none is", []routing.Store{store("a", "a.example"), store("b", "b.example")}, nil, ""},
		{"of two one is marked", []routing.Store{store("a", "a.example"), marked(store("b", "b.example"))}, nil, "b"},
		{"two are marked", []routing.Store{marked(store("a")), marked(store("b"))}, []string{"both the default"}, ""},
		{"domain twice", []routing.Store{store("a", "x.example"), store("b", "X.Example")}, []string{`"b": the domain x.example belongs to store "a"`}, ""},
		{"domain twice, as U-label and A-label", []routing.Store{store("a", "bücher.example"), store("b", "xn--bcher-kva.example")}, []string{"xn--bcher-kva.example"}, ""},
		{"domain that is none", []routing.Store{store("a", "a..example")}, []string{`"a..example" is not a domain name`}, ""},
		{"name twice", []routing.Store{store("a"), store("a")}, []string{`"a"`}, ""},
		{"no name", []routing.Store{store("")}, []string{"no name"}, ""},
		{"no backend", []routing.Store{{Name: "a"}}, []string{"no backend"}, ""},
		{"all problems at once", []routing.Store{store("", "-"), {Name: "b", Domains: []string{""}}}, []string{"no name", `"-"`, "no backend", `""`}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := routing.New(test.stores...)
			if (err != nil) != (test.problems != nil) {
				t.Fatalf("got %v", err)
			}
			for _, p := range test.problems {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("%q is missing in %v", p, err)
				}
			}
			if err != nil {
				return
			}
			if got := table.Default(); (got == nil) != (test.fallback == "") || got != nil && got.Name != test.fallback {
				t.Errorf("default is %+v", got)
			}
		})
	}
}

func TestStoreForLogin(t *testing.T) {
	g := newGateway(t)
	table := g.table()
	for user, want := range map[string]string{
		"alice@sakes.example": "sakes", "ALICE@Tea.Example": "tea", "alice": "sakes", `SAKES\alice`: "sakes",
		"alice@far.example": "", "alice@sub.sakes.example": "",
	} {
		name, ok := login.ParseName(user)
		if !ok {
			t.Fatal(user)
		}
		got := ""
		if store := table.StoreForLogin(name); store != nil {
			got = store.Name
		}
		if got != want {
			t.Errorf("%s belongs to %q, want %q", user, got, want)
		}
	}
	if got := table.DefaultDomain(); got != "sakes.example" {
		t.Errorf("default domain is %q", got)
	}
}

func TestSwap(t *testing.T) {
	g := newGateway(t)
	session := g.mx()
	if err := session.Mail(t.Context(), address.Path{}, mailOptions()); err != nil {
		t.Fatal(err)
	}
	g.options.Router.Swap(g.table(routing.Store{Name: "new", Domains: []string{"new.example"}, Backend: receiver{g.sakes}}))
	if err := session.Rcpt(t.Context(), path(t, "bob@sakes.example"), rcptOptions()); err != nil {
		t.Errorf("the transaction lost its table: %v", err)
	}
	session.Reset()
	if got := send(t, session, "", []string{"bob@sakes.example"}, letter); got != "550 5.7.1" {
		t.Errorf("the next transaction: %s", got)
	}
	if got := send(t, session, "", []string{"bob@new.example"}, letter); got != "250" {
		t.Errorf("the next transaction: %s", got)
	}
}

func TestSwapConcurrently(t *testing.T) {
	g := newGateway(t)
	var zero routing.Router
	if zero.Table().StoreFor("sakes.example") != nil {
		t.Error("a router without a table routes")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				g.options.Router.Swap(g.table())
				if g.options.Router.Table().StoreFor("sakes.example") == nil {
					t.Error("a domain is missing")
				}
			}
		})
	}
	wg.Wait()
}
