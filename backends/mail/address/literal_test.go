package address

import (
	"net/netip"
	"testing"
)

func TestLiteral(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "[192.0.2.7]", "::ffff:192.0.2.7": "[192.0.2.7]", "2001:db8::7": "[IPv6:2001:db8::7]", "fe80::7%eth0": "[IPv6:fe80::7]",
	} {
		if got := Literal(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
