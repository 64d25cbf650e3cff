package login

import (
	"net/netip"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Of says whether a count is of an account, an address or a network that somebody has named: of a
// network's addresses, too, and of the networks that an address is in.
func (c Count) Of(named string) bool {
	if address, err := netip.ParseAddr(named); err == nil {
		network, err := netip.ParsePrefix(c.Network)
		return err == nil && network.Contains(address) || c.Address == address.Unmap().String()
	}
	if network, err := netip.ParsePrefix(named); err == nil {
		address, err := netip.ParseAddr(c.Address)
		return c.Network == network.Masked().String() || err == nil && network.Contains(address)
	}
	return c.Account == fold.Lower(named) || c.Network == named
}
