package login_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

func TestParseBearer(t *testing.T) {
	long := strings.Repeat("a", 400)
	for _, test := range []struct {
		name        string
		parse       func([]byte) (*login.Proof, error)
		in          string
		user, token string // no user: malformed
	}{
		{"XOAUTH2 as documented", login.ParseXOAUTH2, "user=a@b.example\x01auth=Bearer ya29.vF9dft4-_~+/x==\x01\x01", "a@b.example", "ya29.vF9dft4-_~+/x=="},
		{"scheme in other letters", login.ParseXOAUTH2, "user=a\x01auth=bearer x\x01\x01", "a", "x"},
		{"two blanks", login.ParseXOAUTH2, "user=a\x01auth=Bearer  x\x01\x01", "a", "x"},
		{"another scheme", login.ParseXOAUTH2, "user=a\x01auth=Basic x\x01\x01", "", ""},
		{"no token", login.ParseXOAUTH2, "user=a\x01auth=Bearer \x01\x01", "", ""},
		{"padding alone", login.ParseXOAUTH2, "user=a\x01auth=Bearer ==\x01\x01", "", ""},
		{"token with a blank", login.ParseXOAUTH2, "user=a\x01auth=Bearer x y\x01\x01", "", ""},
		{"token with a line break", login.ParseXOAUTH2, "user=a\x01auth=Bearer x\r\n\x01\x01", "", ""},
		{"no user", login.ParseXOAUTH2, "user=\x01auth=Bearer x\x01\x01", "", ""},
		{"user too long", login.ParseXOAUTH2, "user=" + long + "\x01auth=Bearer x\x01\x01", "", ""},
		{"fields the other way round", login.ParseXOAUTH2, "auth=Bearer x\x01user=a\x01\x01", "", ""},
		{"another field", login.ParseXOAUTH2, "user=a\x01auth=Bearer x\x01host=h\x01\x01", "", ""},
		{"cut off", login.ParseXOAUTH2, "user=a\x01auth=Bearer x\x01", "", ""},
		{"nothing", login.ParseXOAUTH2, "", "", ""},

		{"OAUTHBEARER as in RFC 7628 §4.1", login.ParseOAuthBearer, "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
		{"no host and port", login.ParseOAuthBearer, "n,a=a,\x01auth=Bearer x\x01\x01", "a", "x"},
		{"could bind the channel", login.ParseOAuthBearer, "y,a=a,\x01auth=Bearer x\x01\x01", "a", "x"},
		{"a key of tomorrow's", login.ParseOAuthBearer, "n,a=a,\x01mech=y\x01auth=Bearer x\x01\x01", "a", "x"},
		{"escapes", login.ParseOAuthBearer, "n,a=a=2Cb=3D,\x01auth=Bearer x\x01\x01", "a,b=", "x"},
		{"another escape", login.ParseOAuthBearer, "n,a=a=2Db,\x01auth=Bearer x\x01\x01", "", ""},
		{"no name", login.ParseOAuthBearer, "n,,\x01auth=Bearer x\x01\x01", "", ""},
		{"bound", login.ParseOAuthBearer, "p=tls-exporter,a=a,\x01auth=Bearer x\x01\x01", "", ""},
		{"no token", login.ParseOAuthBearer, "n,a=a,\x01host=h\x01\x01", "", ""},
		{"two tokens", login.ParseOAuthBearer, "n,a=a,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "", ""},
		{"a key that is none", login.ParseOAuthBearer, "n,a=a,\x01a b=c\x01auth=Bearer x\x01\x01", "", ""},
		{"a pair that is none", login.ParseOAuthBearer, "n,a=a,\x01host\x01auth=Bearer x\x01\x01", "", ""},
		{"cut off", login.ParseOAuthBearer, "n,a=a,\x01auth=Bearer x\x01", "", ""},
		{"the dummy", login.ParseOAuthBearer, "\x01", "", ""},
		{"nothing", login.ParseOAuthBearer, "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			proof, err := test.parse([]byte(test.in))
			if test.user == "" {
				if !errors.Is(err, login.ErrMalformed) {
					t.Fatalf("got %+v, %v", proof, err)
				}
				return
			}
			if err != nil || proof.Kind != backends.CredentialToken || proof.User != test.user || string(proof.Secret) != test.token {
				t.Errorf("got %+v, %v", proof, err)
			}
		})
	}
}

func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"user=a\x01auth=Bearer x\x01\x01", "n,a=a=2C,\x01host=h\x01auth=Bearer x\x01\x01", "\x01", "n,a=a,\x01\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, parse := range []func([]byte) (*login.Proof, error){login.ParseXOAUTH2, login.ParseOAuthBearer} {
			proof, err := parse(in)
			if err != nil {
				continue
			}
			if proof.User == "" || len(proof.Secret) == 0 || strings.ContainsAny(string(proof.Secret), " \x00\x01\r\n") {
				t.Fatalf("%q was taken as %+v", in, proof)
			}
		}
	})
}
