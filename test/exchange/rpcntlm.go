package exchange

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it (MS-NLMP §3.3.2)
	"golang.org/x/crypto/md4"
)

// acceptor is the server's side of a login by NTLMv2 whose connection is sealed afterwards, MS-NLMP.
type acceptor struct {
	negotiate, challenge []byte
	user                 *Mailbox // nil: nobody yet, or refused
	target               string   // MsvAvTargetName

	in, out direction
}

// direction is what one side signs and seals.
type direction struct {
	sign   []byte
	cipher *rc4.Cipher
	number uint32
}

// domain is the Windows domain of all users.
const domain = "SAKES"

// challengeFlags are those of MS-NLMP §2.2.2.5: Unicode, target, sign, seal, NTLM, always sign, a domain, extended session security, target
// information, version, 128 bits, key exchange, 56 bits.
const challengeFlags = 0x00000001 | 0x4 | 0x10 | 0x20 | 0x200 | 0x8000 | 0x10000 | 0x80000 | 0x800000 | 0x2000000 | 0x20000000 | 0x40000000 | 0x80000000

func utf16le(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

// newAcceptor answers a NEGOTIATE_MESSAGE with a CHALLENGE_MESSAGE, MS-NLMP §2.2.1.2.
func newAcceptor(negotiate []byte) *acceptor {
	pair := func(id uint16, value []byte) []byte {
		return append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, id), uint16(len(value))), value...)
	}
	info := pair(2, utf16le(domain))
	info = append(info, pair(1, utf16le("DOUBLE"))...)
	info = append(info, pair(7, binary.LittleEndian.AppendUint64(nil, 134_088_624_000_000_000))...) // a time: the client sends a MIC
	info = append(info, 0, 0, 0, 0)
	name := utf16le(domain)
	field := func(size, at int) []byte {
		return append(words(uint32(size)<<16|uint32(size)), words(uint32(at))...)
	}
	out := append([]byte("NTLMSSP\x00\x02\x00\x00\x00"), field(len(name), 56)...)
	out = append(out, words(challengeFlags)...)
	out = append(out, "\x01\x23\x45\x67\x89\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x00"...)
	out = append(out, field(len(info), 56+len(name))...)
	out = append(out, 6, 1, 0xb1, 0x1d, 0, 0, 0, 15)
	return &acceptor{negotiate: bytes.Clone(negotiate), challenge: append(append(out, name...), info...)}
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// authenticate looks at an AUTHENTICATE_MESSAGE, MS-NLMP §3.2.5.1.2.
func (a *acceptor) authenticate(s *Server, message []byte) {
	field := func(at int) []byte {
		if at+8 > len(message) {
			return nil
		}
		size, start := int(binary.LittleEndian.Uint16(message[at:])), int(binary.LittleEndian.Uint32(message[at+4:]))
		if start+size > len(message) {
			s.wrong("send an AUTHENTICATE_MESSAGE whose offsets lie")
			return nil
		}
		return message[start:][:size]
	}
	response, in, name, key := field(20), field(28), field(36), field(52)
	if len(message) < 88 || len(response) < 16+28 || len(key) != 16 {
		s.wrong("send an AUTHENTICATE_MESSAGE that is not NTLMv2 with a key")
		return
	}
	user, windows := narrow(name), narrow(in)
	m := s.account(windows, user)
	if m == nil {
		return
	}
	hash := md4.New()
	hash.Write(utf16le(m.Password))
	owf := hmacMD5(hash.Sum(nil), utf16le(strings.ToUpper(user)+windows))
	proof, temp := response[:16], response[16:]
	if !hmac.Equal(proof, hmacMD5(owf, a.challenge[24:32], temp)) {
		s.refusals[strings.ToLower(m.User)]++
		return
	}
	exported := make([]byte, 16)
	base, _ := rc4.NewCipher(hmacMD5(owf, proof))
	base.XORKeyStream(exported, key)
	mic := bytes.Clone(message[72:88])
	clear(message[72:88])
	if !hmac.Equal(mic, hmacMD5(exported, a.negotiate, a.challenge, message)) {
		s.wrong("send a MIC that is wrong")
		return
	}
	a.user, a.target = m, targetOf(temp[28:])
	a.in = newDirection(exported, "client-to-server")
	a.out = newDirection(exported, "server-to-client")
}

// targetOf finds MsvAvTargetName in the pairs of a response, MS-NLMP §2.2.2.1.
func targetOf(pairs []byte) string {
	for in := (cursor{octets: pairs}); !in.short; {
		id, value := in.u16(), []byte(nil)
		if value = in.take(int(in.u16())); id == 9 {
			return narrow(value)
		}
		if id == 0 {
			break
		}
	}
	return ""
}

// account finds whose login name it is: DOMAIN\user, or user@domain without a domain.
func (s *Server) account(windows, user string) *Mailbox {
	for _, m := range s.mailboxes {
		local, _, _ := strings.Cut(m.User, "@")
		if windows == "" && strings.EqualFold(user, m.User) || strings.EqualFold(windows, domain) && strings.EqualFold(user, local) {
			return m
		}
	}
	return nil
}

// newDirection makes the keys of one side, MS-NLMP §3.4.5.2 and §3.4.5.3.
func newDirection(key []byte, which string) direction {
	of := func(use string) []byte {
		sum := md5.Sum(append(bytes.Clone(key), "session key to "+which+" "+use+" key magic constant\x00"...))
		return sum[:]
	}
	cipher, _ := rc4.NewCipher(of("sealing"))
	return direction{sign: of("signing"), cipher: cipher}
}

// signature is that of a message, MS-NLMP §3.4.4.2.
func (d *direction) signature(message []byte) []byte {
	sum := hmacMD5(d.sign, words(d.number), message)[:8]
	d.cipher.XORKeyStream(sum, sum)
	out := append(append(words(1), sum...), words(d.number)...)
	d.number++
	return out
}

func (a *acceptor) seal(message []byte, from, to int) []byte {
	plain := bytes.Clone(message)
	a.out.cipher.XORKeyStream(message[from:to], message[from:to])
	return a.out.signature(plain)
}

func (a *acceptor) unseal(message []byte, from, to int, signature []byte) bool {
	a.in.cipher.XORKeyStream(message[from:to], message[from:to])
	return hmac.Equal(a.in.signature(message), signature)
}
