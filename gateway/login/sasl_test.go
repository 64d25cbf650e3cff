package login_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/login"
)

func TestParsePlain(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, test := range []struct{ name, in, actAs, user, password string }{
		{"as in RFC 4616 §4", "\x00tim\x00tanstaaftanstaaf", "", "tim", "tanstaaftanstaaf"},
		{"authorization identity", "Ursel\x00Kurt\x00xipj3plmq", "Ursel", "Kurt", "xipj3plmq"},
		{"oneself as authorization identity", "tim\x00tim\x00p", "", "tim", "p"},
		{"password with spaces and UTF-8", "\x00tim\x00 pä ss ", "", "tim", " pä ss "},
		{"password that is not UTF-8", "\x00tim\x00p\xe4ss", "", "tim", "p\xe4ss"},
		{"no NUL", "tim", "", "", ""},
		{"one NUL", "tim\x00pass", "", "", ""},
		{"three NULs", "\x00tim\x00pass\x00", "", "", ""},
		{"no user", "\x00\x00pass", "", "", ""},
		{"no password", "\x00tim\x00", "", "", ""},
		{"user is not UTF-8", "\x00t\xffm\x00pass", "", "", ""},
		{"authorization identity is not UTF-8", "\xff\x00tim\x00pass", "", "", ""},
		{"user too long", "\x00" + long + "\x00pass", "", "", ""},
		{"password too long", "\x00tim\x00" + long, "", "", ""},
		{"authorization identity too long", long + "\x00tim\x00pass", "", "", ""},
		{"nothing", "", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			proof, err := login.ParsePlain([]byte(test.in))
			if test.user == "" {
				if !errors.Is(err, login.ErrMalformed) {
					t.Fatalf("got %+v, %v", proof, err)
				}
				return
			}
			if err != nil || proof.ActAs != test.actAs || proof.User != test.user || string(proof.Secret) != test.password {
				t.Fatalf("got %+v, %v", proof, err)
			}
		})
	}
}

func TestProofDoesNotAliasTheResponse(t *testing.T) {
	line := []byte("\x00tim\x00secret")
	proof, err := login.ParsePlain(line)
	if err != nil {
		t.Fatal(err)
	}
	clear(line)
	if string(proof.Secret) != "secret" {
		t.Error("the engine's buffer is still the password")
	}
}

func FuzzPlain(f *testing.F) {
	for _, seed := range []string{"\x00tim\x00secret", "a\x00b\x00c", "\x00\x00", "\x00\x00\x00", "x", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		proof, err := login.ParsePlain(in)
		if err != nil {
			return
		}
		if proof.User == "" || len(proof.Secret) == 0 || bytes.IndexByte(proof.Secret, 0) >= 0 ||
			strings.ContainsRune(proof.User+proof.ActAs, 0) {
			t.Fatalf("%q was taken as %+v", in, proof)
		}
		if bytes.Count(in, []byte{0}) != 2 {
			t.Fatalf("%q has not two NULs", in)
		}
	})
}
