package routing_test

import (
	"context"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

// TestTransportRefusesTheLogin: a client's own password that is good for the login and not for
// sending is refused for good. What passes, or is not the client's to mend, stays temporary.
func TestTransportRefusesTheLogin(t *testing.T) {
	for name, tt := range map[string]struct {
		failure *backends.Failure
		want    string
	}{
		"the password":       {backends.Fail(backends.BadCredentials, "x"), "554 5.7.8"},
		"sending is off":     {backends.Fail(backends.Permanent, "x").WithCode("5.7.139"), "554 5.7.139"},
		"an outage":          {backends.Fail(backends.Temporary, "x"), "451 4.3.0"},
		"too many at a time": {backends.Fail(backends.Throttled, "x"), "451 4.7.0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, session, from, store := numbered(t, true)
			store.before = func(context.Context, backends.Delivery) error { return tt.failure }
			if got := send(t, session, from, []string{"bob@far.example"}, letter); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestLoginIsUsedUp: a token that has expired since the login, or a grant of the store's that was good once,
// does not become good again: the client is to log in once more, and the message goes then.
func TestLoginIsUsedUp(t *testing.T) {
	for kind, want := range map[backends.CredentialKind]string{
		backends.CredentialToken: "421 4.7.0", backends.CredentialGrant: "421 4.7.0", backends.CredentialImpersonation: "451 4.3.5",
	} {
		t.Run(kind.String(), func(t *testing.T) {
			g, session, from, store := numbered(t, true)
			account := backends.Account{ID: "alice", Address: from, Addresses: []string{from}}
			err := session.(login.Client).Enter(t.Context(), login.Entry{
				Store: g.options.Router.Table().Default(), Credential: backends.Credential{Kind: kind, User: from, Secret: []byte("sesame")}, Account: &account,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := send(t, session, from, []string{"bob@far.example"}, letter); got != "250" {
				t.Errorf("the first message: %s", got)
			}
			store.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.BadCredentials, "x") }
			if got := send(t, session, from, []string{"bob@far.example", "ben@far.example"}, letter+"another"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
