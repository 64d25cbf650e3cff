package stores_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
)

// mark is a key of a context.
type mark struct{}

var errOfStore = errors.New("the store's")

// noting is a store that notes its calls, with what the middleware has put on their context.
type noting struct {
	*fakeStore
	calls []string
}

func (n *noting) note(ctx context.Context, name string) error {
	n.calls = append(n.calls, fmt.Sprint(name, " ", ctx.Value(mark{})))
	return errOfStore
}

func (n *noting) Health(ctx context.Context) error { return n.note(ctx, "Health") }

func (n *noting) Login(ctx context.Context, _ backends.Credential) (backends.Account, error) {
	return backends.Account{ID: "id"}, n.note(ctx, "Login")
}

func (n *noting) Open(ctx context.Context, _ backends.OpenRequest) (backends.Maildrop, error) {
	return nil, n.note(ctx, "Open")
}

func (n *noting) Resolve(ctx context.Context, _ backends.ResolveQuery) ([]backends.Verdict, error) {
	return []backends.Verdict{{}}, n.note(ctx, "Resolve")
}

func (n *noting) Deliver(ctx context.Context, _ backends.Delivery, _ io.Reader) ([]backends.Verdict, error) {
	return []backends.Verdict{{}}, n.note(ctx, "Deliver")
}

func (n *noting) Send(ctx context.Context, _ backends.Credential, _ backends.Delivery, _ io.Reader) ([]backends.Verdict, error) {
	return []backends.Verdict{{}}, n.note(ctx, "Send")
}

func (n *noting) OpenSending(ctx context.Context, _ backends.Credential) (backends.Sending, error) {
	return nil, n.note(ctx, "OpenSending")
}

func (n *noting) Collect(ctx context.Context, _ backends.CollectRequest, _ func(context.Context, backends.Outgoing, backends.Content) error) error {
	return n.note(ctx, "Collect")
}

func (n *noting) Settle(ctx context.Context, _ []backends.Settlement) error {
	return n.note(ctx, "Settle")
}

func (n *noting) Authenticate(ctx context.Context, _ string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	return nil, n.note(ctx, "Authenticate")
}

func (n *noting) MaySend(ctx context.Context, _ backends.MaySendQuery) (backends.SendRight, error) {
	return backends.SendAs, n.note(ctx, "MaySend")
}

// TestMiddleware: every call passes through each middleware, the first one outermost, with its
// session; its context reaches the store, and the store's answer and error come back.
func TestMiddleware(t *testing.T) {
	var told []string
	middleware := func(name string) stores.Middleware {
		return func(ctx context.Context, call stores.Call, next func(context.Context) error) error {
			told = append(told, fmt.Sprint(name, " ", call.Store, " ", call.Name, " ", call.Session))
			earlier, _ := ctx.Value(mark{}).(string)
			return next(context.WithValue(ctx, mark{}, earlier+name))
		}
	}
	n := &noting{fakeStore: &fakeStore{}}
	said := &backends.Description{Capabilities: backends.CapabilitiesOf(n)}
	s := stores.Config{Name: "sakes"}.In(stores.Plugin{Backend: n, Description: func() *backends.Description { return said }}, middleware("a"), middleware("b")).Store()

	ctx, peer := t.Context(), backends.Peer{Session: "s1"}
	credential := backends.Credential{Peer: peer}
	for _, call := range []struct {
		name, session string
		call          func() (bool, error) // whether the answer is the store's
	}{
		{"Health", "", func() (bool, error) { return true, s.Health(ctx) }},
		{"Login", "s1", func() (bool, error) { a, err := s.Login(ctx, credential); return a.ID == "id", err }},
		{"Open", "s1", func() (bool, error) {
			m, err := s.Reader.Open(ctx, backends.OpenRequest{Credential: credential})
			return m == nil, err
		}},
		{"Resolve", "s1", func() (bool, error) {
			v, err := s.Receiver.Resolve(ctx, backends.ResolveQuery{Peer: peer})
			return len(v) == 1, err
		}},
		{"Deliver", "s1", func() (bool, error) {
			v, err := s.Receiver.Deliver(ctx, backends.Delivery{Peer: peer}, nil)
			return len(v) == 1, err
		}},
		{"Send", "s1", func() (bool, error) {
			v, err := s.Sender.Send(ctx, credential, backends.Delivery{Peer: peer}, nil)
			return len(v) == 1, err
		}},
		{"OpenSending", "s1", func() (bool, error) {
			session, err := backends.OpenSending(ctx, s.Sender, credential)
			return session == nil, err
		}},
		{"Collect", "", func() (bool, error) { return true, s.Outbox.Collect(ctx, backends.CollectRequest{}, nil) }},
		{"Settle", "", func() (bool, error) { return true, s.Outbox.Settle(ctx, nil) }},
		{"Authenticate", "s1", func() (bool, error) {
			e, err := s.Authenticator.Authenticate(ctx, "NTLM", peer)
			return e == nil, err
		}},
		{"MaySend", "s1", func() (bool, error) {
			right, err := s.SendRights.MaySend(ctx, backends.MaySendQuery{Peer: peer})
			return right == backends.SendAs, err
		}},
	} {
		told, n.calls = nil, nil
		same, err := call.call()
		if !same || !errors.Is(err, errOfStore) {
			t.Errorf("%s: the store's answer: %v, %v", call.name, same, err)
		}
		if want := []string{call.name + " ab"}; !slices.Equal(n.calls, want) {
			t.Errorf("%s: the store got %q, want %q", call.name, n.calls, want)
		}
		want := fmt.Sprintf("a sakes %s %s,b sakes %[1]s %[2]s", call.name, call.session)
		if got := strings.Join(told, ","); got != want {
			t.Errorf("%s: told %q, want %q", call.name, got, want)
		}
	}
}

// TestMiddlewareOfSending: each message of a sending session passes through as a Send.
func TestMiddlewareOfSending(t *testing.T) {
	var told []string
	around := func(ctx context.Context, call stores.Call, next func(context.Context) error) error {
		told = append(told, call.Name+" "+call.Session)
		return next(ctx)
	}
	n := single{&fakeStore{}, &messages{}}
	said := &backends.Description{Capabilities: backends.CapabilitiesOf(n)}
	s := stores.Config{Name: "sakes"}.In(stores.Plugin{Backend: n, Description: func() *backends.Description { return said }}, around).Store()
	session, err := backends.OpenSending(t.Context(), s.Sender, backends.Credential{Peer: backends.Peer{Session: "s1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"s1", "s2"} {
		if v, err := session.Send(t.Context(), backends.Delivery{Peer: backends.Peer{Session: id}}, nil); len(v) != 1 || !errors.Is(err, errOfStore) {
			t.Errorf("the store's answer: %v, %v", v, err)
		}
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if _, err := session.Send(t.Context(), backends.Delivery{Peer: backends.Peer{Session: "s3"}}, nil); backends.KindOf(err) != backends.Temporary {
		t.Errorf("after Close: %v", err)
	}
	if want := []string{"OpenSending s1", "Send s1", "Send s2", "Send s3"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if want := []string{"Send", "Send"}; !slices.Equal(n.calls, want) {
		t.Errorf("the store got %q, want %q", n.calls, want)
	}
}

// single is a store that sends, and has no sessions.
type single struct {
	*fakeStore
	*messages
}

type messages struct{ calls []string }

func (m *messages) Send(context.Context, backends.Credential, backends.Delivery, io.Reader) ([]backends.Verdict, error) {
	m.calls = append(m.calls, "Send")
	return []backends.Verdict{{}}, errOfStore
}
