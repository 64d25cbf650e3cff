package remote_test

import (
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestHopThatIsOurselves: the administrator has named the gateway as its own store's server.
func TestHopThatIsOurselves(t *testing.T) {
	server := (&fakesmtp.Server{Name: "gate.example"}).Start(t)
	hop := remote.Hop{SMTP: true, Address: server.Address, Hello: "gate.example", Timeout: 5 * time.Second}
	_, err := hop.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("a@s")})
	if f := backends.AsFailure(err); f == nil || f.Temporary() || f.Reply().Code != "5.4.6" {
		t.Errorf("got %v", err)
	}
}
