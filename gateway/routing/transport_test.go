package routing_test

import (
	"context"
	"testing"

	"github.com/dipylon/dipylon/backends"
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
