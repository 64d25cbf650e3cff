package server

import (
	"net/netip"
	"testing"

	"github.com/dipylon/dipylon/config"
)

// TestRelays (I12): nobody relays where no network is named, and a network that never may goes before one that
// may, whichever form an address has.
func TestRelays(t *testing.T) {
	network := func(text string) config.Network { return config.Network(netip.MustParsePrefix(text)) }
	some := config.SMTP{RelayFor: []config.Network{network("10.0.0.0/8"), network("fd00::/8")}, RelayNever: []config.Network{network("10.1.0.0/16")}}
	for _, c := range []struct {
		settings config.SMTP
		from     string
		may      bool
	}{
		{config.SMTP{}, "127.0.0.1", false},
		{config.SMTP{}, "10.0.0.1", false},
		{some, "10.0.0.1", true},
		{some, "10.1.0.1", false},
		{some, "11.0.0.1", false},
		{some, "127.0.0.1", false},
		{some, "fd00::1", true},
		{some, "fe80::1", false},
		{some, "::1", false},
	} {
		if got := relays(c.settings)(netip.MustParseAddr(c.from)); got != c.may {
			t.Errorf("%s may relay: %v", c.from, got)
		}
	}
	if relays(some)(netip.Addr{}) || relays(config.SMTP{})(netip.Addr{}) {
		t.Error("a client without an address may relay")
	}
}
