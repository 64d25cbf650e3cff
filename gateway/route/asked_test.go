package route_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/route"
)

// TestAskedFor: all that waits for a domain is meant, by whichever way of a client's, and nothing of others'.
func TestAskedFor(t *testing.T) {
	office := route.Askers{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}, Accounts: []string{"office@sakes.example"}}
	askers := func(r route.Route, who route.Askers) route.Route {
		r.Asked, r.Askers = true, who
		return r
	}
	byHost, byMX, some := askers(host("office", "office.example", ".office.example"), office), askers(mx("branch", ".branch.example"), office), askers(mx("some", "office.example"), office)
	some.Senders = []string{"sakes.example"}
	others := askers(host("others", "others.example"), route.Askers{Accounts: []string{"others@sakes.example"}})
	routes := table(t, mx("internet", "*"), byHost, byMX, some, others)
	there, account := route.Asker{Address: netip.MustParseAddr("192.0.2.9")}, route.Asker{Address: netip.MustParseAddr("2001:db8::1"), Account: "Office@sakes.example"}
	destinations := []string{
		"route:office", "office.example", "route:some:office.example", "a.branch.example", "b.branch.example", "far.example", "route:others", "others.example", "store:sakes", "route:gone",
	}
	for _, c := range []struct {
		wanted route.Wanted
		who    route.Asker
		may    bool
		want   string
	}{
		{route.Wanted{Domain: "office.example"}, there, true, "route:office office.example route:some:office.example"},
		{route.Wanted{Domain: "office.example"}, account, true, "route:office office.example route:some:office.example"},
		{route.Wanted{Domain: "x.office.example"}, there, true, "route:office office.example"},
		{route.Wanted{Domain: "office.example", Below: true}, there, true, "route:office office.example route:some:office.example"},
		{route.Wanted{Domain: "a.branch.example"}, there, true, "a.branch.example"},
		{route.Wanted{Domain: "branch.example"}, there, false, ""},
		{route.Wanted{Domain: "branch.example", Below: true}, there, true, "a.branch.example b.branch.example"},
		{route.Wanted{Domain: "example", Below: true}, there, true, "route:office office.example route:some:office.example a.branch.example b.branch.example"},
		{route.Wanted{Route: "office"}, there, true, "route:office office.example"},
		{route.Wanted{Route: "branch"}, account, true, "a.branch.example b.branch.example"},
		{route.Wanted{Route: "others"}, there, false, ""},
		{route.Wanted{Route: "internet"}, there, false, ""},
		{route.Wanted{Route: "none"}, there, false, ""},
		{route.Wanted{Domain: "others.example"}, there, false, ""},
		{route.Wanted{Domain: "far.example"}, there, false, ""},
		{route.Wanted{Domain: "office.example"}, route.Asker{Address: netip.MustParseAddr("192.0.2.16")}, false, ""},
		{route.Wanted{Domain: "office.example"}, route.Asker{Account: "ada@sakes.example"}, false, ""},
		{route.Wanted{Domain: "office.example"}, route.Asker{}, false, ""},
	} {
		var got []string
		for _, d := range destinations {
			if routes.AskedFor(c.wanted, c.who, d) {
				got = append(got, d)
			}
		}
		if may := routes.MayAsk(c.wanted, c.who); may != c.may || strings.Join(got, " ") != c.want {
			t.Errorf("%+v by %+v: %t, %q, want %t, %q", c.wanted, c.who, may, got, c.may, c.want)
		}
	}
	every := table(t, askers(host("provider", "*"), office))
	for _, w := range []route.Wanted{{Route: "provider"}, {Domain: "sakes.example", Below: true}} {
		if every.AskedFor(w, there, route.StoreDestination("sakes")) || !every.AskedFor(w, there, "route:provider") {
			t.Errorf("%+v has mail for a store started, or not that of its route", w)
		}
	}
	if got := strings.Join(routes.DestinationsOf("office.example"), " "); !strings.Contains(got, "office.example") || !strings.Contains(got, "route:office ") || !strings.Contains(got, "route:some:office.example") {
		t.Errorf("it waits at %s", got)
	}
}

// TestAskedRoutes: mail of routes that send nothing, or as each sender, cannot be asked for.
func TestAskedRoutes(t *testing.T) {
	for _, r := range []route.Route{
		{Name: "a", Domains: []string{"*"}, Kind: route.Hold, Asked: true},
		{Name: "b", Domains: []string{"*"}, Kind: route.Transport, Store: "s", User: "a@b.example", Asked: true},
	} {
		if _, err := route.NewTable([]route.Route{r}); err == nil {
			t.Errorf("the route %s is taken", r.Name)
		}
	}
}
