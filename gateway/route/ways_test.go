package route_test

import (
	"context"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
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
