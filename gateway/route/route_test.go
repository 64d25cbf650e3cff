package route_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/route"
)

func table(t *testing.T, routes ...route.Route) *route.Table {
	t.Helper()
	table, err := route.NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mx(name string, domains ...string) route.Route {
	return route.Route{Name: name, Domains: domains, Kind: route.MX}
}

func host(name string, domains ...string) route.Route {
	return route.Route{Name: name, Domains: domains, Kind: route.SMTP, Hosts: [][]string{{"mail.example:587"}}}
}

func TestFind(t *testing.T) {
	ours := host("ours", "*")
	ours.Senders = []string{"sakes.example", ".tea.example"}
	routes := table(t, mx("internet", "*"), ours, host("below", ".far.example"), host("far", "far.example"), mx("deep", ".deep.far.example"))
	for _, c := range []struct{ from, to, route, pattern, destination string }{
		{"", "x.example", "internet", "*", "x.example"},
		{"z.example", "x.example", "internet", "*", "x.example"},
		{"sakes.example", "x.example", "ours", "*", "route:ours"},
		{"a.tea.example", "x.example", "ours", "*", "route:ours"},
		{"tea.example", "x.example", "internet", "*", "x.example"},
		{"a.sakes.example", "x.example", "internet", "*", "x.example"},
		{"sakes.example", "far.example", "far", "far.example", "route:far"}, // the domain goes before the sender
		{"", "a.far.example", "below", ".far.example", "route:below"},
		{"", "a.b.far.example", "below", ".far.example", "route:below"},
		{"", "deep.far.example", "below", ".far.example", "route:below"},
		{"", "a.deep.far.example", "deep", ".deep.far.example", "a.deep.far.example"},
		{"", "notfar.example", "internet", "*", "notfar.example"}, // whole labels
		{"", "example", "internet", "*", "example"},
	} {
		d, ok := routes.Find(c.from, c.to)
		if !ok || d.Name != c.route || d.Pattern != c.pattern || d.Destination != c.destination {
			t.Errorf("from %q to %q: %v, %q by %q to %q; want %q by %q to %q", c.from, c.to, ok, d.Name, d.Pattern, d.Destination, c.route, c.pattern, c.destination)
		}
		if r, domain, ok := routes.Of(d.Destination); !ok || r.Name != c.route && c.from == "" || domain != "" && domain != c.to {
			t.Errorf("%s is of %v for %q, %v", d.Destination, r, domain, ok)
		}
	}
	// An MX of some senders' alone is found again.
	alone := mx("alone", "*")
	alone.Senders = []string{"sakes.example"}
	mixed := table(t, alone, host("provider", "*"))
	if d, ok := mixed.Find("sakes.example", "far.example"); !ok || d.Name != "alone" {
		t.Errorf("%+v", d)
	} else if r, domain, ok := mixed.Of(d.Destination); !ok || r.Name != "alone" || domain != "far.example" {
		t.Errorf("%s is of %v for %q, %v", d.Destination, r, domain, ok)
	}
	if _, ok := table(t, mx("far", "far.example")).Find("", "near.example"); ok {
		t.Error("a domain that no route has has a way")
	}
}

// TestOf has destinations of another configuration.
func TestOf(t *testing.T) {
	routes := table(t, host("far", "far.example"), mx("near", "near.example"))
	for destination, name := range map[string]string{
		"route:far": "far", "far.example": "far", "near.example": "near", "route:near": "", "route:gone": "", "gone.example": "",
	} {
		r, domain, ok := routes.Of(destination)
		if ok != (name != "") || ok && r.Name != name || ok && (domain == "") != (name == "far") {
			t.Errorf("%s: %v for %q, %v", destination, r, domain, ok)
		}
	}
}

func TestNewTableRefuses(t *testing.T) {
	open := host("open", "*")
	open.User, open.TLS.Policy = "ada", smtpclient.Opportunistic
	for want, routes := range map[string][]route.Route{
		"needs a name":             {mx("", "*")},
		"without blanks":           {mx("a:b", "*")},
		"has no kind":              {{Name: "a", Domains: []string{"*"}}},
		"for no domain":            {mx("a")},
		"need at least one":        {{Name: "a", Domains: []string{"*"}, Kind: route.SMTP}},
		"two routes have the name": {mx("a", "*"), mx("a", "x.example")},
		"not a pattern":            {mx("a", "*.example")},
		`"Far.Example" is not`:     {mx("a", "Far.Example")},
		"TLS that is required":     {open},
	} {
		if _, err := route.NewTable(routes); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if k, ok := route.ParseKind("smtp"); !ok || k != route.SMTP {
		t.Error(k, ok)
	}
	for _, name := range []string{"", "pigeon"} {
		if k, ok := route.ParseKind(name); ok {
			t.Error(k)
		}
	}
}
