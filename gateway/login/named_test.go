package login

import "testing"

func TestCountOf(t *testing.T) {
	network := Count{Network: "192.0.2.0/24"}
	local := Count{Network: "local"}
	account := Count{Account: "anna@sakes.example"}
	pair := Count{Address: "192.0.2.7", Account: "anna@sakes.example"}
	for _, test := range []struct {
		name  string
		count Count
		named string
		want  bool
	}{
		{"an address in the network", network, "192.0.2.9", true},
		{"an address outside", network, "192.0.3.9", false},
		{"the network", network, "192.0.2.0/24", true},
		{"the network, by one of its addresses", network, "192.0.2.9/24", true},
		{"a wider network", network, "192.0.0.0/16", false},
		{"a network without addresses", local, "local", true},
		{"the account", account, "Anna@Sakes.example", true},
		{"another account", account, "bert@sakes.example", false},
		{"an address, of an account's count", account, "192.0.2.7", false},
		{"the address of a pair", pair, "192.0.2.7", true},
		{"the address of a pair, as IPv6 has it", pair, "::ffff:192.0.2.7", true},
		{"another address", pair, "192.0.2.8", false},
		{"the network of a pair", pair, "192.0.2.0/24", true},
		{"the account of a pair", pair, "anna@sakes.example", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.count.Of(test.named); got != test.want {
				t.Errorf("%+v of %s: %v", test.count, test.named, got)
			}
		})
	}
}
