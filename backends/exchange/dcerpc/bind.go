package dcerpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// Security signs and seals what goes over a connection, which it belongs to. It is used by one goroutine at a time.
type Security interface {
	// Method is the auth_type: [MethodNTLM] or [MethodKerberos].
	Method() uint8
	// Next returns the next token, to the server's last, and nil if there is none. The first call has none of the server's.
	Next(token []byte) ([]byte, error)
	// SignHeaders says whether server and client sign headers: it is called once, before Seal and Unseal.
	SignHeaders(agreed bool)
	// SignatureSize is how many octets a signature has.
	SignatureSize() int
	// Seal seals what is at from to to in a PDU, in place, and returns the signature of all of the PDU as it was before.
	Seal(octets []byte, from, to int) ([]byte, error)
	// Unseal is the way back. It fails if the signature is not that of the PDU.
	Unseal(octets []byte, from, to int, signature []byte) error
}

// Methods of signing and sealing, MS-RPCE §2.2.1.1.7.
const (
	MethodNTLM     uint8 = 10
	MethodKerberos uint8 = 16
)

// levelPrivacy is RPC_C_AUTHN_LEVEL_PKT_PRIVACY, MS-RPCE §2.2.1.1.8: all is signed and sealed.
const levelPrivacy uint8 = 6

// securityContext is the number of the one security context that a connection has.
const securityContext = 1

// RefusedError says that a server does not take a bind. C706 §12.6.4.5, MS-RPCE §2.2.2.5.
type RefusedError struct {
	Interface string
	// Reason is a reason of a bind_nak, or of a result below it.
	Reason uint16
	// Result says that the connection is taken, and the interface on it is not.
	Result bool
}

func (e *RefusedError) Error() string {
	if e.Result {
		return fmt.Sprintf("dcerpc: the server does not offer %s (reason %d)", e.Interface, e.Reason)
	}
	reasons := map[uint16]string{
		1: "the server has no room for more connections", 2: "the server has no room for more connections", 4: "the protocol's version is not known",
		8: "the way of signing in is not known", 9: "the signature is wrong",
	}
	if text, ok := reasons[e.Reason]; ok {
		return fmt.Sprintf("dcerpc: %s was refused: %s (bind_nak %d)", e.Interface, text, e.Reason)
	}
	return fmt.Sprintf("dcerpc: %s was refused (bind_nak %d)", e.Interface, e.Reason)
}

// bind binds the connection to its interface. C706 §12.6.4.3, MS-RPCE §3.3.1.5.2.
func (c *Conn) bind(ctx context.Context) error {
	le := binary.LittleEndian
	body := le.AppendUint16(le.AppendUint16(nil, fragmentMost), fragmentMost)
	body = le.AppendUint32(body, 0)        // assoc_group_id
	body = append(body, 1, 0, 0, 0)        // n_context_elem
	body = append(body, 0, 0, 1, 0)        // p_cont_id, n_transfer_syn
	body = c.config.Interface.append(body) // abstract syntax
	body = ndr.append(body)                // transfer syntax
	request := &pdu{kind: kindBind, flags: flagFirst | flagLast, body: body}
	if c.config.Security != nil {
		token, err := c.config.Security.Next(nil)
		if err != nil {
			return err
		}
		request.flags |= flagSignHeaders
		request.auth = c.verifier(token, 0)
	}
	c.number++
	request.call = c.number
	answer, err := c.exchange(ctx, request)
	if err != nil {
		return err
	}
	if err := c.bound(answer); err != nil {
		return err
	}
	return c.authenticate(ctx, answer)
}

func (c *Conn) verifier(value []byte, pad uint8) *trailer {
	return &trailer{method: c.config.Security.Method(), level: levelPrivacy, pad: pad, context: securityContext, value: value}
}

// bound reads the answer to a bind: a bind_ack (C706 §12.6.4.4) or a bind_nak (§12.6.4.5).
func (c *Conn) bound(answer *pdu) error {
	r := NewReader(answer.body)
	switch answer.kind {
	case kindBindNak:
		return &RefusedError{Interface: c.config.Interface.Name, Reason: r.Uint16()}
	case kindFault:
		return c.fault(answer)
	case kindBindAck:
	default:
		return violation("a PDU of kind %d in answer to a bind", answer.kind)
	}
	r.Uint16() // max_xmit_frag of the server
	most := int(r.Uint16())
	r.Uint32()               // assoc_group_id
	r.Bytes(int(r.Uint16())) // sec_addr
	r.Align(4)
	results := r.Uint8()
	r.Align(4)
	result, reason := r.Uint16(), r.Uint16()
	switch {
	case r.Err() != nil:
		return fmt.Errorf("%w: the answer to a bind: %w", ErrProtocol, r.Err())
	case results != 1 || most < fragmentLeast:
		return violation("an answer to a bind with %d results and fragments of %d octets", results, most)
	case result != 0:
		return &RefusedError{Interface: c.config.Interface.Name, Reason: reason, Result: true}
	}
	c.fragment = min(most, fragmentMost)
	return nil
}

// authenticate finishes what the bind has begun: the third token goes without an answer. MS-RPCE §3.3.1.5.2.2.
func (c *Conn) authenticate(ctx context.Context, answer *pdu) error {
	if c.config.Security == nil {
		return nil
	}
	if err := c.checkVerifier(answer); err != nil {
		return err
	}
	token, err := c.config.Security.Next(answer.auth.value)
	if err != nil {
		return err
	}
	if token == nil {
		return errors.New("dcerpc: a method that has no third token")
	}
	c.config.Security.SignHeaders(answer.flags&flagSignHeaders != 0)
	last := &pdu{kind: kindAuth3, flags: flagFirst | flagLast, call: c.number, body: make([]byte, 4), auth: c.verifier(token, 0)}
	return c.send(ctx, last.encode())
}

// checkVerifier refuses a PDU that is not secured as was asked for.
func (c *Conn) checkVerifier(p *pdu) error {
	want := c.verifier(nil, 0)
	switch {
	case p.auth == nil:
		return violation("a PDU of kind %d that is not secured", p.kind)
	case p.auth.method != want.method || p.auth.level != want.level || p.auth.context != want.context:
		return violation("a PDU that is secured by method %d at level %d in context %d", p.auth.method, p.auth.level, p.auth.context)
	}
	return nil
}
