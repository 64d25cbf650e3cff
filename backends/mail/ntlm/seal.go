package ntlm

import (
	"context"
	"crypto/hmac"
	"errors"
)

// SignatureSize is how many octets a signature has (NTLMSSP_MESSAGE_SIGNATURE, MS-NLMP §2.2.2.9).
const SignatureSize = 16

// ErrSignature says that octets are not those that the other side has signed.
var ErrSignature = errors.New("NTLM: the signature is wrong: what came was changed on the way, or comes from somebody else")

// Sealing asks for a connection that is signed and sealed once the login is over. It comes before Next.
func (c *Client) Sealing() { c.config.Confidentiality = true }

// Seal seals, in place, what is at from to to in a message, and returns the signature of the message as it was. Messages are
// opened in the order that they were sealed in. MS-NLMP §3.4.4.2.
func (c *Client) Seal(message []byte, from, to int) ([]byte, error) {
	ctx := context.Background()
	checksum, err := c.auth.MakeOutboundChecksum(ctx, [][]byte{message})
	if err != nil {
		return nil, err
	}
	if err := c.auth.ApplyOutboundCipher(ctx, message[from:to]); err != nil {
		return nil, err
	}
	return c.auth.MakeOutboundSignature(ctx, checksum)
}

// Unseal is the way back. The signature is compared here: go-msrpc's UnwrapEx does not.
func (c *Client) Unseal(message []byte, from, to int, signature []byte) error {
	ctx := context.Background()
	if err := c.auth.ApplyInboundCipher(ctx, message[from:to]); err != nil {
		return err
	}
	checksum, err := c.auth.MakeInboundChecksum(ctx, [][]byte{message})
	if err != nil {
		return err
	}
	want, err := c.auth.MakeInboundSignature(ctx, checksum)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, signature) {
		return ErrSignature
	}
	return nil
}
