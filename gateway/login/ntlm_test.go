package login

import (
	"encoding/binary"
	"strings"
	"testing"
)

// authenticateMessage has a user at an offset.
func authenticateMessage(kind, flags uint32, offset int, user []byte) []byte {
	m := make([]byte, 64)
	copy(m, "NTLMSSP\x00")
	binary.LittleEndian.PutUint32(m[8:], kind)
	binary.LittleEndian.PutUint16(m[36:], uint16(len(user)))
	binary.LittleEndian.PutUint32(m[40:], uint32(offset))
	binary.LittleEndian.PutUint32(m[60:], flags)
	return append(m, user...)
}

// NTLMResponse is a client's last response, of a user, for the tests outside.
func NTLMResponse(user string) []byte { return authenticateMessage(3, 0, 64, []byte(user)) }

// lying says that the user is longer than the message.
func lying(length uint16) []byte {
	m := authenticateMessage(3, 0, 64, []byte("alice"))
	binary.LittleEndian.PutUint16(m[36:], length)
	return m
}

func TestNTLMUser(t *testing.T) {
	for name, test := range map[string]struct {
		message []byte
		want    string
	}{
		"Unicode":                {authenticateMessage(3, 1, 64, []byte("a\x00\xe4\x00")), "aä"},
		"a code page":            {authenticateMessage(3, 0, 64, []byte("alice")), "alice"},
		"half a unit":            {authenticateMessage(3, 1, 64, []byte("a\x00b")), "a"},
		"behind the end":         {authenticateMessage(3, 0, 65, []byte("alice")), ""},
		"far behind the end":     {authenticateMessage(3, 0, 0xffffffff, []byte("alice")), ""},
		"longer than it is":      {append([]byte(nil), lying(0xffff)...), ""},
		"its end wraps around":   {authenticateMessage(3, 0, 0xfffffffe, []byte("alice")), ""},
		"the header itself":      {authenticateMessage(3, 0, 0, []byte("NTLMSSP\x00")), "NTLMSSP\x00"}, // no login name, see Names.Parse
		"too long":               {authenticateMessage(3, 0, 64, []byte(strings.Repeat("a", 700))), ""},
		"the first message":      {authenticateMessage(1, 0, 64, []byte("alice")), ""},
		"another signature":      {append([]byte("X"), authenticateMessage(3, 0, 64, []byte("alice"))...), ""},
		"a header that is short": {authenticateMessage(3, 0, 64, nil)[:63], ""},
		"nothing":                {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nameIn("NTLM", test.message); got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func FuzzNameIn(f *testing.F) {
	f.Add("NTLM", authenticateMessage(3, 1, 64, []byte("a\x00")))
	f.Add("PLAIN", []byte("alice 00"))
	f.Fuzz(func(t *testing.T, mechanism string, response []byte) {
		if got := nameIn(mechanism, response); len(got) > 2*len(response) {
			t.Fatalf("%q of %q", got, response)
		}
	})
}
