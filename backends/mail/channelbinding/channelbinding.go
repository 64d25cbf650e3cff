// Package channelbinding makes the channel binding of a TLS connection as GSS-API hashes it: NTLM (MS-NLMP §2.2.2.1) and
// Kerberos (RFC 4121 §4.1.1.2) write the same MD5 of it.
package channelbinding

import (
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"fmt"

	"github.com/xdg-go/scram"
)

// EndPoint is tls-server-end-point (RFC 5929 §4): the hash of the certificate that the server has shown, by the hash of its own
// signature, and SHA-256 where that is MD5 or SHA-1. It stands in a gss_channel_bindings_struct (RFC 2744 §3.11) without
// addresses, whose integers are little-endian.
func EndPoint(state *tls.ConnectionState) ([]byte, error) {
	binding, err := scram.NewTLSServerEndpointBinding(state)
	if err != nil {
		return nil, fmt.Errorf("the channel binding: %w", err)
	}
	data := string(binding.Type) + ":" + string(binding.Data)
	const addresses = 16 // of the initiator and the acceptor, a type and a length each
	return append(binary.LittleEndian.AppendUint32(make([]byte, addresses), uint32(len(data))), data...), nil
}

// Hash is what stands in a login in the place of a gss_channel_bindings_struct. No binding is sixteen zeros.
func Hash(binding []byte) [16]byte {
	if binding == nil {
		return [16]byte{}
	}
	return md5.Sum(binding)
}
