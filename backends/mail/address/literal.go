package address

import "net/netip"

// Literal is an IP address as it stands in mail in the place of a domain (RFC 5321 §4.1.3).
func Literal(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}
