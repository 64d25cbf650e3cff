package ntlm_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/emersion/go-sasl"
	//lint:ignore SA1019 NTLM is made of it (MS-NLMP §3.3.2)
	"golang.org/x/crypto/md4"

	"github.com/dipylon/dipylon/backends/mail/ntlm"
)

func text(s string) (octets []byte) {
	for _, unit := range utf16.Encode([]rune(s)) {
		octets = binary.LittleEndian.AppendUint16(octets, unit)
	}
	return octets
}

// pair is an AV_PAIR (MS-NLMP §2.2.2.1).
func pair(id uint16, value []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, id), uint16(len(value))), value...)
}

var (
	end     = pair(0, nil)
	names   = slices.Concat(pair(1, text("SERVER")), pair(2, text("SAKES")))
	time    = pair(7, []byte{1, 2, 3, 4, 5, 6, 7, 1})
	goodInf = slices.Concat(names, time, end)
)

// good are the flags that a server has with NTLMv2.
const good = 0xa28a8215

// challenge is a CHALLENGE_MESSAGE (MS-NLMP §2.2.1.2).
func challenge(flags uint32, info []byte) []byte {
	name := text("SAKES")
	b := []byte("NTLMSSP\x00\x02\x00\x00\x00")
	field := func(size, at int) {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(size)), uint16(size))
		b = binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	field(len(name), 56)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = append(b, "12345678\x00\x00\x00\x00\x00\x00\x00\x00"...)
	field(len(info), 56+len(name))
	b = append(b, 10, 0, 0, 0, 0, 0, 0, 15)
	return slices.Concat(b, name, info)
}

// begin is a login that waits for its challenge.
func begin(t testing.TB) (client *ntlm.Client, negotiate []byte) {
	t.Helper()
	client = ntlm.New(`SAKES\gate`, "sesame")
	if err := client.Bind(nil, "SMTPSVC/mail.sakes.example"); err != nil {
		t.Fatal(err)
	}
	name, initial, err := client.Start()
	if name != "NTLM" || initial != nil || err != nil || !client.Prompted() {
		t.Fatalf("it begins with %s, %q, %v", name, initial, err)
	}
	negotiate, err = client.Next([]byte("NTLM supported"))
	if err != nil || !bytes.HasPrefix(negotiate, []byte("NTLMSSP\x00\x01\x00\x00\x00")) || client.Prompted() {
		t.Fatalf("it negotiates %q, %v", negotiate, err)
	}
	return client, negotiate
}

// field is what a message has where its header says, at so many octets.
func field(message []byte, at int) []byte {
	size, start := binary.LittleEndian.Uint16(message[at:]), binary.LittleEndian.Uint32(message[at+4:])
	return message[start:][:size]
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// TestResponse: the response is NTLMv2's (MS-NLMP §3.3.2), and names the service.
func TestResponse(t *testing.T) {
	client, _ := begin(t)
	message, err := client.Next(challenge(good, goodInf))
	if err != nil {
		t.Fatal(err)
	}
	hash := md4.New()
	hash.Write(text("sesame"))
	key := hmacMD5(hash.Sum(nil), text("GATESAKES"))
	response := field(message, 20)
	if !bytes.Equal(response[:16], hmacMD5(key, []byte("12345678"), response[16:])) {
		t.Error("the proof is another one")
	}
	if !bytes.Contains(response, pair(9, text("SMTPSVC/mail.sakes.example"))) || !bytes.Contains(response, pair(10, make([]byte, 16))) {
		t.Errorf("it names no service, or is bound without TLS: %q", response)
	}
	if domain, user := field(message, 28), field(message, 36); !bytes.Equal(domain, text("SAKES")) || !bytes.Equal(user, text("gate")) {
		t.Errorf("it is %q, %q", domain, user)
	}
	if lm := field(message, 12); len(bytes.Trim(lm, "\x00")) > 0 {
		t.Errorf("there is an LM response where the server has a clock (MS-NLMP §3.1.5.1.2): %q", lm)
	}
	if bytes.Contains(message, text("sesame")) || bytes.Contains(message, []byte("sesame")) {
		t.Error("the password is in it")
	}
	if _, err := client.Next(nil); !errors.Is(err, sasl.ErrUnexpectedServerChallenge) {
		t.Errorf("a further challenge: %v", err)
	}
}

// TestUser: a name without a domain is the server's to find.
func TestUser(t *testing.T) {
	client := ntlm.New("gate@sakes.example", "sesame")
	for _, said := range [][]byte{nil, challenge(good, goodInf)} {
		message, err := client.Next(said)
		if err != nil {
			t.Fatal(err)
		}
		if said != nil && (len(field(message, 28)) > 0 || !bytes.Equal(field(message, 36), text("gate@sakes.example"))) {
			t.Errorf("it is %q, %q", field(message, 28), field(message, 36))
		}
	}
}

// hostile are challenges that are refused, and why.
func hostile() map[string]struct {
	challenge []byte
	why       string
} {
	change := func(at int, octets ...byte) []byte {
		b := challenge(good, goodInf)
		copy(b[at:], octets)
		return b
	}
	without := func(flag uint32) []byte { return challenge(good&^flag, goodInf) }
	return map[string]struct {
		challenge []byte
		why       string
	}{
		"nothing":                   {nil, "no CHALLENGE_MESSAGE"},
		"a text":                    {[]byte(strings.Repeat("x", 100)), "no CHALLENGE_MESSAGE"},
		"cut off":                   {challenge(good, nil)[:55], "no CHALLENGE_MESSAGE"},
		"another message":           {change(8, 3), "no CHALLENGE_MESSAGE"},
		"huge":                      {challenge(good, bytes.Repeat(pair(20, make([]byte, 8)), 1000)), "larger"},
		"a target far away":         {change(44, 0xff, 0xff, 0xff, 0xff), "leads out"},
		"a target in the header":    {change(44, 8, 0, 0, 0), "leads out"},
		"a target that is too long": {change(40, 0xff, 0xff), "leads out"},
		"a name far away":           {change(16, 0xff, 0xff, 0xff, 0x7f), "leads out"},
		"half a letter":             {change(12, 9, 0), "leads out"},
		"no target":                 {challenge(good, nil), "damaged"},
		"no end":                    {challenge(good, names), "damaged"},
		"a value that is too long":  {challenge(good, []byte{1, 0, 0xff, 0, 'x', 0}), "damaged"},
		"flags of one octet":        {challenge(good, slices.Concat(names, pair(6, []byte{1}), end)), "damaged"},
		"a time of three octets":    {challenge(good, slices.Concat(names, pair(7, []byte{1, 2, 3}), end)), "damaged"},
		"the same twice":            {challenge(good, slices.Concat(names, names, end)), "damaged"},
		"an end with a value":       {challenge(good, slices.Concat(names, pair(0, []byte("xx")))), "damaged"},
		"NTLM version 1":            {without(0x00080000), "less than NTLMv2"},
		"no target information":     {without(0x00800000), "less than NTLMv2"},
		"40 bits":                   {without(0x20000000), "less than NTLMv2"},
		"an OEM code page":          {without(0x00000001), "less than NTLMv2"},
		"another signature":         {change(0, 'n'), "no CHALLENGE_MESSAGE"},
	}
}

// TestHostileChallenges: nothing is said to who lies about lengths, or asks for less than NTLMv2.
func TestHostileChallenges(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			client, _ := begin(t)
			if message, err := client.Next(c.challenge); message != nil || err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%d octets, %v", len(message), err)
			}
		})
	}
}

// FuzzChallenge: whatever a server says, an answer has NTLMv2's proof or is none.
func FuzzChallenge(f *testing.F) {
	f.Add(challenge(good, goodInf))
	f.Add(challenge(good, slices.Concat(names, end)))
	f.Add(challenge(good, slices.Concat(names, pair(6, make([]byte, 4)), pair(8, make([]byte, 48)), pair(10, make([]byte, 16)), pair(77, []byte("xx")), end)))
	for _, c := range hostile() {
		f.Add(c.challenge)
	}
	f.Fuzz(func(t *testing.T, challenge []byte) {
		client, _ := begin(t)
		message, err := client.Next(challenge)
		if err == nil && len(field(message, 20)) < 16+28 {
			t.Errorf("an answer without a proof: %q", message)
		}
	})
}
