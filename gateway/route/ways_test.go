package route_test

import (
	"context"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// backend is a store that does nothing but be there.
type backend struct{ limit int64 }

func (b backend) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Limits: backends.Limits{MessageSize: b.limit}}, nil
}
func (backend) Configure(context.Context, backends.Settings) error { return nil }
func (backend) Health(context.Context) error                       { return nil }
func (backend) Close() error                                       { return nil }

func (backend) Login(context.Context, backends.Credential) (backends.Account, error) {
	return backends.Account{}, backends.Fail(backends.BadCredentials, "nobody logs in here")
}

// receives is one that takes mail.
type receives struct {
	backend
	backends.Receiver
}

// TestBack: where reports go, and why some have no way.
func TestBack(t *testing.T) {
	held, rejected, small := mx("held", "held.example"), mx("rejected", "rejected.example"), host("small", "small.example")
	held.Kind, rejected.Kind, small.MessageSize = route.Hold, route.Reject, 1000
	routes := table(t, mx("far", ".far.example"), held, rejected, small)
	ways := route.Ways{
		Routes: func() *route.Table { return routes },
		Stores: stores.NewRouter(storestest.Table(
			stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(receives{backend: backend{limit: 5000}})),
			stores.Config{Name: "reads", Domains: []string{"reads.example"}}.In(storestest.In(backend{})),
		)),
	}
	for sender, want := range map[string]route.Way{
		"ada@sakes.example": {Destination: "store:sakes", SizeMost: 5000},
		"ada@a.far.example": {Destination: "a.far.example"},
		"ada@HELD.example":  {Destination: "route:held", Held: true},
		"ada@small.example": {Destination: "route:small", SizeMost: 1000},
	} {
		if got, err := ways.Back(sender); got != want || err != nil {
			t.Errorf("%s: %+v, %v", sender, got, err)
		}
	}
	for sender, want := range map[string]string{
		"ada@reads.example": "takes no mail", "ada@rejected.example": "rejects", "ada@far.example": "no route leads", "ada": "", "": "",
	} {
		if got, err := ways.Back(sender); err == nil || !strings.Contains(err.Error(), want) || got != (route.Way{}) {
			t.Errorf("%s: %+v, %v", sender, got, err)
		}
	}
}

// TestTransport: what goes through a store's transport waits for each mailbox of the store's by itself, and what is from
// none of them together.
func TestTransport(t *testing.T) {
	routes := table(t, route.Route{Name: "m365", Domains: []string{"*"}, Kind: route.Transport, Store: "office", User: "postmaster@office.example"})
	ways := route.Ways{Routes: func() *route.Table { return routes }, Stores: stores.NewRouter(storestest.Table(
		stores.Config{Name: "office", Domains: []string{"office.example"}}.In(storestest.In(backend{})),
		stores.Config{Name: "other", Domains: []string{"other.example"}}.In(storestest.In(backend{})),
	))}
	to := address.Mailbox{Local: "far", Domain: "far.example"}
	for from, want := range map[string]string{
		"ada@Office.example":      "route:m365:ada@office.example",
		"ada+scan@office.example": "route:m365:ada@office.example",
		`"a:b"@office.example`:    `route:m365:"a:b"@office.example`,
		"bob@other.example":       "route:m365",
		"bob@far.example":         "route:m365",
		"":                        "route:m365",
	} {
		destination, by, ok := ways.To(from, to)
		if destination != want || !ok {
			t.Errorf("from %q: %q, %v", from, destination, ok)
			continue
		}
		r, as, found := routes.Of(destination)
		if _, mailbox, _ := strings.Cut(strings.TrimPrefix(want, "route:"), ":"); !found || r != by || as != mailbox {
			t.Errorf("%q leads to %v as %q, %v", destination, r, as, found)
		}
		if leads, err := ways.Leads(destination); err != nil || leads != by {
			t.Errorf("%q: %v", destination, err)
		}
	}
	for name, wrong := range map[string]route.Route{
		"no user":  {Name: "a", Domains: []string{"*"}, Kind: route.Transport, Store: "office"},
		"no store": {Name: "a", Domains: []string{"*"}, Kind: route.Transport, User: "a@office.example"},
		"by MX":    {Name: "a", Domains: []string{"*"}, Kind: route.MX, Store: "office"},
	} {
		if _, err := route.NewTable([]route.Route{wrong}); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// TestAsSender: a host that is logged in at as the sender has mail of each mailbox of a store wait by itself.
func TestAsSender(t *testing.T) {
	r := host("provider", "*")
	r.User, r.TLS, r.AsSender = "postmaster@office.example", smtpclient.TLS{Policy: smtpclient.Verified}, true
	routes := table(t, r)
	ways := route.Ways{Routes: func() *route.Table { return routes }, Stores: stores.NewRouter(storestest.Table(
		stores.Config{Name: "office", Domains: []string{"office.example"}}.In(storestest.In(backend{})),
	))}
	for from, want := range map[string]string{"ada@office.example": "route:provider:ada@office.example", "bob@far.example": "route:provider", "": "route:provider"} {
		destination, by, _ := ways.To(from, address.Mailbox{Local: "far", Domain: "far.example"})
		if found, _, ok := routes.Of(destination); destination != want || !ok || found != by {
			t.Errorf("from %q: %q, %v", from, destination, ok)
		}
	}
	plain := table(t, host("plain", "*"))
	if _, _, ok := plain.Of("route:plain:ada@office.example"); ok {
		t.Error("a route that is one for all has one for a mailbox")
	}
}
