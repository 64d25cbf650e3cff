package stores_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// fakeStore has the methods of every capability, as a plugin's store at the gateway has.
type fakeStore struct {
	backends.Reader
	backends.Receiver
	backends.Sender
	backends.Outbox
	backends.Authenticator
	backends.SendRights
	described atomic.Int32
	said      backends.Description
}

func (f *fakeStore) Describe(context.Context) (backends.Description, error) {
	f.described.Add(1)
	return f.said, nil
}
func (f *fakeStore) Configure(context.Context, backends.Settings) error { return nil }
func (f *fakeStore) Health(context.Context) error                       { return nil }
func (f *fakeStore) Close() error                                       { return nil }

func (f *fakeStore) Login(context.Context, backends.Credential) (backends.Account, error) {
	return backends.Account{ID: "id"}, nil
}

// process is a plugin whose processes a test lets come.
type process struct {
	*fakeStore
	last *backends.Description
}

func (p *process) plugin() stores.Plugin {
	return stores.Plugin{Backend: p.fakeStore, Description: func() *backends.Description { return p.last }}
}

func (p *process) says(d backends.Description) { p.last = &d }

// capabilities are those whose interface is not nil. [backends.Watcher] is not among them: package host
// watches by itself.
func capabilities(s *stores.Store) backends.Capabilities {
	return backends.Capabilities{
		Reader: s.Reader != nil, Receiver: s.Receiver != nil, Sender: s.Sender != nil,
		Outbox: s.Outbox != nil, Authenticator: s.Authenticator != nil, SendRights: s.SendRights != nil,
	}
}

// TestCapabilities: what the plugin does not have is nil, each by itself, whatever methods the
// gateway's end of it has, and whatever middleware is around it.
func TestCapabilities(t *testing.T) {
	through := func(ctx context.Context, _ stores.Call, next func(context.Context) error) error { return next(ctx) }
	for i := range 1 << 6 {
		has := func(bit int) bool { return i&(1<<bit) != 0 }
		want := backends.Capabilities{Reader: has(0), Receiver: has(1), Sender: has(2), Outbox: has(3), Authenticator: has(4), SendRights: has(5)}
		p := &process{fakeStore: &fakeStore{}}
		p.says(backends.Description{Capabilities: want})
		for name, middleware := range map[string][]stores.Middleware{"bare": nil, "observed": {through}} {
			if got := capabilities(stores.Config{Name: "sakes"}.In(p.plugin(), middleware...).Store()); got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	}
}

// TestNotKnownIsNotNone: a store that has never described itself may have everything, and takes
// passwords; nothing is asked to find that out.
func TestNotKnownIsNotNone(t *testing.T) {
	p := &process{fakeStore: &fakeStore{}}
	s := stores.Config{Name: "sakes"}.In(p.plugin()).Store()
	every := backends.Capabilities{Reader: true, Receiver: true, Sender: true, Outbox: true, Authenticator: true, SendRights: true}
	if s.Known || capabilities(s) != every {
		t.Errorf("known: %v, %+v", s.Known, capabilities(s))
	}
	if !s.Takes(backends.CredentialPassword) || s.Takes(backends.CredentialImpersonation) || s.Conducts("NTLM") {
		t.Error("it takes what is not known of it")
	}
	if p.described.Load() > 0 {
		t.Errorf("it was asked %d times", p.described.Load())
	}
}

// TestReplacedTogether: a store and its description are those of one process, and a store that
// somebody holds does not change under him.
func TestReplacedTogether(t *testing.T) {
	p := &process{fakeStore: &fakeStore{}}
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(p.plugin()))
	if err != nil {
		t.Fatal(err)
	}
	unknown := table.StoreFor("sakes.example")
	p.says(backends.Description{Version: "1", Capabilities: backends.Capabilities{Reader: true}})
	one := table.StoreFor("sakes.example")
	if again := table.StoreFor("sakes.example"); again != one {
		t.Error("the same process is another store")
	}
	p.says(backends.Description{
		Version: "2", Capabilities: backends.Capabilities{Receiver: true, Authenticator: true},
		Credentials: []backends.CredentialKind{backends.CredentialToken}, Mechanisms: []string{"Ntlm"},
	})
	two := one.Now()
	if two != table.Default() || two != unknown.Now() || two != table.Stores()[0] {
		t.Error("there are several current stores")
	}
	if one.Description.Version != "1" || one.Reader == nil || one.Receiver != nil {
		t.Errorf("the first has changed: %+v", one)
	}
	if two.Description.Version != "2" || two.Reader != nil || two.Receiver == nil || !two.Known {
		t.Errorf("the second is %+v", two)
	}
	if two.Takes(backends.CredentialPassword) || !two.Takes(backends.CredentialToken) || !two.Conducts("NTLM") {
		t.Errorf("the second takes other credentials than it says: %+v", two.Description)
	}
}
