package kerberos

import (
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/dipylon/dipylon/backends/mail/channelbinding"
)

// Login is one login at a service, with a ticket for it.
type Login struct {
	key           types.EncryptionKey
	authenticator types.Authenticator
}

// Object identifiers, RFC 4178 §3.2 and RFC 4121 §4.1.
var (
	oidSPNEGO   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oidKerberos = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
)

// Identifiers of tokens, RFC 4121 §4.1.
const (
	tokenRequest = "\x01\x00"
	tokenReply   = "\x02\x00"
	tokenError   = "\x03\x00"
)

// Begin makes the token that signs in: a NegTokenInit with the AP-REQ. The binding is a gss_channel_bindings_struct
// (channelbinding.EndPoint); nil: it is bound to nothing.
func (t *Ticket) Begin(binding []byte) (*Login, []byte, error) {
	authenticator, err := types.NewAuthenticator(t.realm, t.client)
	if err != nil {
		return nil, nil, err
	}
	authenticator.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: checksum(binding)}
	request, err := messages.NewAPReq(t.ticket, t.key, authenticator)
	if err != nil {
		return nil, nil, err
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	octets, err := request.Marshal()
	if err != nil {
		return nil, nil, err
	}
	token, err := wrap(oidKerberos, append([]byte(tokenRequest), octets...))
	if err != nil {
		return nil, nil, err
	}
	token, err = initial(token)
	return &Login{t.key, authenticator}, token, err
}

// Flags of a context, RFC 4121 §4.1.1.1: the server proves itself, nothing is replayed, what is signed is told from what is not.
const contextFlags = 0x02 | 0x04 | 0x08 | 0x20

// checksum is that of an authenticator, RFC 4121 §4.1.1: the channel binding's hash, and flags.
func checksum(binding []byte) []byte {
	hash := channelbinding.Hash(binding)
	return binary.LittleEndian.AppendUint32(append(binary.LittleEndian.AppendUint32(nil, uint32(len(hash))), hash[:]...), contextFlags)
}

// wrap makes an InitialContextToken, RFC 2743 §3.1.
func wrap(mechanism asn1.ObjectIdentifier, inner []byte) ([]byte, error) {
	oid, err := asn1.Marshal(mechanism)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, IsCompound: true, Bytes: append(oid, inner...)})
}

// initial makes a NegTokenInit that offers Kerberos alone, RFC 4178 §4.2.1.
func initial(token []byte) ([]byte, error) {
	type negTokenInit struct {
		MechTypes []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		MechToken []byte                  `asn1:"explicit,tag:2"`
	}
	body, err := asn1.Marshal(negTokenInit{[]asn1.ObjectIdentifier{oidKerberos}, token})
	if err != nil {
		return nil, err
	}
	choice, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: body})
	if err != nil {
		return nil, err
	}
	return wrap(oidSPNEGO, choice)
}

// negTokenResp is RFC 4178 §4.2.2.
type negTokenResp struct {
	State asn1.Enumerated       `asn1:"explicit,optional,tag:0,default:0"`
	Mech  asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token []byte                `asn1:"explicit,optional,tag:2"`
	MIC   []byte                `asn1:"explicit,optional,tag:3"`
}

// ErrNotProved says that a server has taken a login and not proved that it is the service.
var ErrNotProved = errors.New("the server has not proved that it is the service that the ticket is for")

// Finish reads what the server answers with when it has taken the login: its AP-REP, RFC 4120 §3.2.5.
func (l *Login) Finish(answer []byte) error {
	token, err := unwrap(answer)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotProved, err)
	}
	var reply messages.APRep
	if err := reply.Unmarshal(token); err != nil {
		return fmt.Errorf("%w: %w", ErrNotProved, err)
	}
	octets, err := decrypt(reply.EncPart, l.key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotProved, err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(octets); err != nil {
		return fmt.Errorf("%w: %w", ErrNotProved, err)
	}
	if part.CTime.Unix() != l.authenticator.CTime.Unix() || part.Cusec != l.authenticator.Cusec {
		return fmt.Errorf("%w: its answer is to another login", ErrNotProved)
	}
	return nil
}

// unwrap finds the message in an answer: in a NegTokenResp, and in the token of Kerberos there.
func unwrap(answer []byte) ([]byte, error) {
	id, message, err := parse(answer)
	if err == nil && id != tokenReply {
		err = errors.New("its answer is none of Kerberos")
	}
	return message, err
}

// parse takes an answer apart: the identifier of the token of Kerberos, and the message.
func parse(answer []byte) (id string, message []byte, err error) {
	if len(answer) == 0 {
		return "", nil, errors.New("it has answered nothing")
	}
	const response = 0xa1 // [1], RFC 4178 §4.2
	if answer[0] == response {
		var choice asn1.RawValue
		var r negTokenResp
		if _, err := asn1.Unmarshal(answer, &choice); err != nil {
			return "", nil, err
		}
		if _, err := asn1.Unmarshal(choice.Bytes, &r); err != nil {
			return "", nil, err
		}
		answer = r.Token
	}
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(answer, &outer); err != nil {
		return "", nil, err
	}
	var oid asn1.ObjectIdentifier
	inner, err := asn1.Unmarshal(outer.Bytes, &oid)
	if err != nil {
		return "", nil, err
	}
	if outer.Class != asn1.ClassApplication || outer.Tag != 0 || !oid.Equal(oidKerberos) || len(inner) < 2 {
		return "", nil, errors.New("its answer is none of Kerberos")
	}
	return string(inner[:2]), inner[2:], nil
}

// Refusal is what a server that has refused a login says in its answer, or nil: a KRB-ERROR, RFC 4121 §4.1.
func Refusal(answer []byte) error {
	id, message, err := parse(answer)
	if err != nil || id != tokenError {
		return nil
	}
	var e messages.KRBError
	if e.Unmarshal(message) != nil {
		return nil
	}
	return newError("the service", e)
}
