package route_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/route"
)

func TestUnreachable(t *testing.T) {
	from := func(r route.Route, senders ...string) route.Route {
		r.Senders = senders
		return r
	}
	for name, c := range map[string]struct {
		routes []route.Route
		want   string
	}{
		"one":                        {[]route.Route{mx("a", "*")}, ""},
		"the same pattern":           {[]route.Route{mx("a", "*"), mx("b", "*")}, "b"},
		"another one as well":        {[]route.Route{mx("a", "*"), mx("b", "*", ".far.example")}, ""},
		"by the sender, behind":      {[]route.Route{mx("a", "*"), from(mx("b", "*"), "x.example")}, ""},
		"by each of its senders":     {[]route.Route{from(mx("a", "*"), ".example"), from(mx("b", "*"), "x.example", ".y.example")}, "b"},
		"not by each of its senders": {[]route.Route{from(mx("a", "*"), ".example"), from(mx("b", "*"), "x.example", "y.test")}, ""},
		"by every sender":            {[]route.Route{from(mx("a", "*"), "*"), from(mx("b", "*"), "x.example")}, "b"},
		"the null sender is left":    {[]route.Route{from(mx("a", "*"), "*"), mx("b", "*")}, ""},
		"a store's domain":           {[]route.Route{mx("a", "ours.example")}, "a"},
		"below a store's domain":     {[]route.Route{mx("a", ".ours.example")}, ""},
	} {
		var got []string
		for _, r := range table(t, c.routes...).Unreachable(func(domain string) bool { return domain == "ours.example" }) {
			got = append(got, r.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v cannot be reached, want %q", name, got, c.want)
		}
	}
}
