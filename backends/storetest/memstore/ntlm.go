package memstore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it (MS-NLMP §3.3.2)
	"golang.org/x/crypto/md4"

	"github.com/dipylon/dipylon/backends"
)

// ntlmV2 is the mechanism here: NTLM in its version 2 (MS-NLMP), as SASL carries it (MS-XLOGIN
// §2.2). It is an example of an exchange of several steps, whose first challenge is empty and which
// says whose it is in its last response. Do not build anything new on it.
const ntlmV2 = "NTLM"

var ntlmSignature = []byte("NTLMSSP\x00")

// The flags of the challenge (MS-NLMP §2.2.2.5): Unicode, target name and information, extended
// session security.
const ntlmFlags = 0x00000001 | 0x00000004 | 0x00000200 | 0x00010000 | 0x00080000 | 0x00800000

// ntlmExchange is one exchange: negotiate, challenge, authenticate.
type ntlmExchange struct {
	store     *Store
	step      int
	challenge []byte
}

func (e *ntlmExchange) Next(ctx context.Context, response []byte) ([]byte, *backends.Account, error) {
	e.step++
	switch {
	case ctx.Err() != nil || e.store.alive.Err() != nil:
		return nil, nil, backends.Fail(backends.Temporary, "the exchange is over")
	case e.step == 1 && response == nil:
		e.step = 0
		return []byte{}, nil, nil
	case e.step == 1 && ntlmType(response) == 1:
		e.challenge = []byte(random(13))[:8]
		return ntlmChallenge(e.challenge), nil, nil
	case e.step == 2 && ntlmType(response) == 3:
		return e.store.admit(e.store.proveNTLM(e.challenge, response))
	}
	e.step = 3
	return nil, nil, backends.Fail(backends.BadCredentials, "a response that is not of NTLM")
}

func (e *ntlmExchange) Close() error {
	e.step = 3
	return nil
}

// ntlmType is the type of a message; 0: it is none.
func ntlmType(message []byte) uint32 {
	if len(message) < 12 || !bytes.HasPrefix(message, ntlmSignature) {
		return 0
	}
	return binary.LittleEndian.Uint32(message[8:])
}

// ntlmChallenge is a CHALLENGE_MESSAGE (MS-NLMP §2.2.1.2).
func ntlmChallenge(challenge []byte) []byte {
	target := utf16LE("MEMSTORE")
	info := slices.Concat(pair(2, target), pair(0, nil)) // MsvAvNbDomainName, MsvAvEOL
	const header = 48
	m := bytes.Clone(ntlmSignature)
	m = binary.LittleEndian.AppendUint32(m, 2)
	m = appendField(m, len(target), header)
	m = binary.LittleEndian.AppendUint32(m, ntlmFlags)
	m = append(m, challenge...)
	m = append(m, make([]byte, 8)...) // reserved
	m = appendField(m, len(info), header+len(target))
	return slices.Concat(m, target, info)
}

func pair(id uint16, value []byte) []byte {
	p := binary.LittleEndian.AppendUint16(nil, id)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(value)))
	return append(p, value...)
}

// appendField appends where in a message something stands: length, room, offset.
func appendField(m []byte, length, offset int) []byte {
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	return binary.LittleEndian.AppendUint32(m, uint32(offset))
}

// field is what a message has at one of its fields; nil: it is cut off.
func field(message []byte, at int) []byte {
	if len(message) < at+8 {
		return nil
	}
	length, offset := int(binary.LittleEndian.Uint16(message[at:])), int(binary.LittleEndian.Uint32(message[at+4:]))
	if offset < 0 || offset > len(message) || length > len(message)-offset {
		return nil
	}
	return message[offset : offset+length]
}

func utf16LE(text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

func fromUTF16LE(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// proveNTLM checks an AUTHENTICATE_MESSAGE (MS-NLMP §2.2.1.3, §3.3.2). Version 1, whose response
// has 24 octets, is not taken.
func (s *Store) proveNTLM(challenge, message []byte) (*account, error) {
	response, domain, user := field(message, 20), field(message, 28), fromUTF16LE(field(message, 36))
	s.mu.Lock()
	a := s.accounts[strings.ToLower(user)]
	s.mu.Unlock()
	password := ""
	if a != nil {
		password = a.Password
	}
	if len(response) <= 24 {
		return nil, backends.Fail(backends.BadCredentials, "user %q has no response of NTLM's version 2", user)
	}
	hash := md4.New()
	hash.Write(utf16LE(password))
	key := hmacOf(hash.Sum(nil), utf16LE(strings.ToUpper(user)), domain)
	right := hmac.Equal(hmacOf(key, challenge, response[md5.Size:]), response[:md5.Size])
	switch {
	case !right || a == nil:
		return nil, backends.Fail(backends.BadCredentials, "user %q", user)
	case a.Disabled:
		return nil, disabled(a)
	}
	return a, nil
}

func hmacOf(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}
