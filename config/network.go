package config

import (
	"net/netip"

	"gopkg.in/yaml.v3"
)

// Network is a range of addresses, written as 10.0.0.0/8 or fd00::/8, or as one address.
type Network netip.Prefix

// Prefix is the network as the standard library has it, without host bits.
func (n Network) Prefix() netip.Prefix { return netip.Prefix(n) }

func (n Network) String() string { return n.Prefix().String() }

// MarshalYAML writes the network as a text.
func (n Network) MarshalYAML() (any, error) { return n.String(), nil }

func (n *Network) decodeNode(d *decoder, path string, node *yaml.Node) {
	text := node.Value
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		var one netip.Addr
		if one, err = netip.ParseAddr(text); err == nil {
			prefix = netip.PrefixFrom(one, one.BitLen())
		}
	}
	if node.Kind != yaml.ScalarNode || err != nil || prefix.Addr().Zone() != "" {
		d.fail(path, node, "write it as 10.0.0.0/8 or 192.0.2.1", "expected a network, found %s", describe(node))
		return
	}
	if prefix.Addr().Is4In6() { // clients with IPv4 are seen under their own address, also by a listener for IPv6
		const mapped = 96 // bits that say so (RFC 4291 §2.5.5.2)
		plain := netip.PrefixFrom(prefix.Addr().Unmap(), max(0, prefix.Bits()-mapped)).Masked()
		d.fail(path, node, "write "+plain.String(), "%s is of IPv4-mapped addresses, under which no client is seen", clip(text))
		return
	}
	if masked := prefix.Masked(); masked != prefix {
		d.fail(path, node, "write "+masked.String(), "%s is an address within a network", clip(text))
		return
	}
	*n = Network(prefix)
}
