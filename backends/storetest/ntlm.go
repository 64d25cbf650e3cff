package storetest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it (MS-NLMP §3.3.2)
	"golang.org/x/crypto/md4"
)

// The flags of a client without a session key (MS-NLMP §2.2.2.5): Unicode, target, NTLM, extended
// session security.
const ntlmFlags = 0x00000001 | 0x00000004 | 0x00000200 | 0x00080000 | 0x00800000

// ntlmMessage begins a message (MS-NLMP §2.2.1).
func ntlmMessage(kind uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte("NTLMSSP\x00"), kind)
}

// ntlmClient is the client's side of NTLM in its version 2, as SASL carries it (MS-XLOGIN §2.2):
// NEGOTIATE_MESSAGE is the initial response, or the answer to an empty challenge, and
// AUTHENTICATE_MESSAGE the answer to CHALLENGE_MESSAGE.
func ntlmClient(user, password string) SASLClient {
	return func(challenge []byte) ([]byte, error) {
		if len(challenge) == 0 {
			m := binary.LittleEndian.AppendUint32(ntlmMessage(1), ntlmFlags)
			return append(m, make([]byte, 16)...), nil // no domain, no workstation
		}
		const nonceAt, infoAt, header = 24, 40, 48
		if len(challenge) < header || !slices.Equal(challenge[:12], ntlmMessage(2)) {
			return nil, errors.New("storetest: the challenge is none of NTLM (MS-NLMP 2.2.1.2)")
		}
		length := int(binary.LittleEndian.Uint16(challenge[infoAt:]))
		offset := int(binary.LittleEndian.Uint32(challenge[infoAt+4:]))
		if offset > len(challenge) || length > len(challenge)-offset {
			return nil, errors.New("storetest: the target information of NTLM's challenge is cut off")
		}
		proof := ntlmProof(user, password, challenge[nonceAt:nonceAt+8], challenge[offset:offset+length])
		return ntlmAuthenticate(user, proof), nil
	}
}

// ntlmProof is NTLMv2_RESPONSE (MS-NLMP §3.3.2, §2.2.2.7). Its time is zero, which a server that
// compares clocks refuses.
func ntlmProof(user, password string, nonce, info []byte) []byte {
	blob := slices.Concat([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 8), []byte(rand.Text()[:8]), make([]byte, 4), info, make([]byte, 4))
	hash := md4.New()
	hash.Write(utf16LE(password))
	key := hmacMD5(hash.Sum(nil), utf16LE(strings.ToUpper(user)))
	return append(hmacMD5(key, nonce, blob), blob...)
}

// ntlmAuthenticate is an AUTHENTICATE_MESSAGE (MS-NLMP §2.2.1.3) without domain, workstation, LM
// response and session key.
func ntlmAuthenticate(user string, proof []byte) []byte {
	const header = 64
	name := utf16LE(user)
	m := ntlmMessage(3)
	for _, field := range []struct{ length, offset int }{
		{0, header}, {len(proof), header}, {0, header}, {len(name), header + len(proof)}, {0, header}, {0, header},
	} {
		m = binary.LittleEndian.AppendUint16(m, uint16(field.length))
		m = binary.LittleEndian.AppendUint16(m, uint16(field.length))
		m = binary.LittleEndian.AppendUint32(m, uint32(field.offset))
	}
	m = binary.LittleEndian.AppendUint32(m, ntlmFlags)
	return slices.Concat(m, proof, name)
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

func utf16LE(text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}
