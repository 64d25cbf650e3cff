package stores_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// of is a store of the test's table.
func of(name string, domains ...string) stores.Source {
	return stores.Config{Name: name, Domains: domains}.In(storestest.In(&fakeStore{}))
}

// twoStores is a table of two, of which sakes is the default one.
func twoStores() *stores.Table {
	return storestest.Table(
		stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Default: true}.In(storestest.In(&fakeStore{})),
		of("tea", "tea.example"),
	)
}

func TestTable(t *testing.T) {
	marked := func(name string, domains ...string) stores.Source {
		return stores.Config{Name: name, Domains: domains, Default: true}.In(storestest.In(&fakeStore{}))
	}
	bare := func(name string, domains ...string) stores.Source {
		return stores.Config{Name: name, Domains: domains}.In(stores.Plugin{})
	}
	for _, test := range []struct {
		name     string
		sources  []stores.Source
		problems []string
		fallback string
	}{
		{"none", nil, nil, ""},
		{"one is the default", []stores.Source{of("a", "a.example")}, nil, "a"},
		{"of two none is", []stores.Source{of("a", "a.example"), of("b", "b.example")}, nil, ""},
		{"of two one is marked", []stores.Source{of("a", "a.example"), marked("b", "b.example")}, nil, "b"},
		{"two are marked", []stores.Source{marked("a"), marked("b")}, []string{"both the default"}, ""},
		{"domain twice", []stores.Source{of("a", "x.example"), of("b", "X.Example")}, []string{`"b": the domain x.example belongs to store "a"`}, ""},
		{"domain twice, as U-label and A-label", []stores.Source{of("a", "bücher.example"), of("b", "xn--bcher-kva.example")}, []string{"xn--bcher-kva.example"}, ""},
		{"domain that is none", []stores.Source{of("a", "a..example")}, []string{`"a..example" is not a domain name`}, ""},
		{"name twice", []stores.Source{of("a"), of("a")}, []string{`"a"`}, ""},
		{"no name", []stores.Source{of("")}, []string{"no name"}, ""},
		{"no backend", []stores.Source{bare("a")}, []string{"no backend"}, ""},
		{"all problems at once", []stores.Source{of("", "-"), bare("b", "")}, []string{"no name", `"-"`, "no backend", `""`}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := stores.NewTable(test.sources...)
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
	table := twoStores()
	for user, want := range map[string]string{
		"alice@sakes.example": "sakes", "ALICE@Tea.Example": "tea", "alice": "sakes", `SAKES\alice`: "sakes",
		"alice@far.example": "", "alice@sub.sakes.example": "", "alice!info@tea.example": "tea",
		"alice@sakes.example!info@tea.example": "", "alice@tea.example!info": "tea",
	} {
		name, ok := stores.ParseName(user)
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

func TestSwapConcurrently(t *testing.T) {
	var router stores.Router
	if router.Table().StoreFor("sakes.example") != nil || router.Table().Default() != nil || len(router.Table().Stores()) != 0 {
		t.Error("a router without a table routes")
	}
	router.Swap(twoStores())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				router.Swap(twoStores())
				if router.Table().StoreFor("sakes.example") == nil {
					t.Error("a domain is missing")
				}
			}
		})
	}
	wg.Wait()
}
