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
			if err != nil || proof.ActAs != test.actAs || proof.User != test.user || string(proof.Password) != test.password {
				t.Fatalf("got %+v, %v", proof, err)
			}
		})
	}
}

func TestExchanges(t *testing.T) {
	type turn struct {
		response  []byte
		challenge string
		end       bool
	}
	for _, test := range []struct {
		name, mechanism string
		turns           []turn
		err             error
	}{
		{"PLAIN with an initial response", "PLAIN", []turn{{[]byte("\x00tim\x00secret"), "", true}}, nil},
		{"PLAIN without", "PLAIN", []turn{{nil, "", false}, {[]byte("\x00tim\x00secret"), "", true}}, nil},
		{"PLAIN with an empty response", "PLAIN", []turn{{[]byte{}, "", true}}, login.ErrMalformed},
		{"LOGIN", "LOGIN", []turn{{nil, "Username:", false}, {[]byte("tim"), "Password:", false}, {[]byte("secret"), "", true}}, nil},
		{"LOGIN with an initial response", "LOGIN", []turn{{[]byte("tim"), "Password:", false}, {[]byte("secret"), "", true}}, nil},
		{"LOGIN without a user", "LOGIN", []turn{{nil, "Username:", false}, {[]byte{}, "", true}}, login.ErrMalformed},
		{"LOGIN without a password", "LOGIN", []turn{{[]byte("tim"), "Password:", false}, {[]byte{}, "", true}}, login.ErrMalformed},
		{"LOGIN with a NUL", "LOGIN", []turn{{[]byte("tim"), "Password:", false}, {[]byte("a\x00b"), "", true}}, login.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			exchange, err := login.NewExchange(test.mechanism)
			if err != nil {
				t.Fatal(err)
			}
			for i, turn := range test.turns {
				challenge, proof, err := exchange.Next(turn.response)
				if !turn.end {
					if err != nil || proof != nil || challenge == nil || string(challenge) != turn.challenge {
						t.Fatalf("turn %d: %q, %+v, %v", i, challenge, proof, err)
					}
					continue
				}
				if !errors.Is(err, test.err) {
					t.Fatalf("got %v, want %v", err, test.err)
				}
				if err == nil && (proof.User != "tim" || string(proof.Password) != "secret") {
					t.Fatalf("got %+v", proof)
				}
			}
		})
	}
	if _, err := login.NewExchange("CRAM-MD5"); !errors.Is(err, login.ErrMechanism) {
		t.Errorf("unknown mechanism: %v", err)
	}
}

func TestProofDoesNotAliasTheResponse(t *testing.T) {
	line := []byte("\x00tim\x00secret")
	proof, err := login.ParsePlain(line)
	if err != nil {
		t.Fatal(err)
	}
	clear(line)
	if string(proof.Password) != "secret" {
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
		if proof.User == "" || len(proof.Password) == 0 || bytes.IndexByte(proof.Password, 0) >= 0 ||
			strings.ContainsRune(proof.User+proof.ActAs, 0) {
			t.Fatalf("%q was taken as %+v", in, proof)
		}
		if bytes.Count(in, []byte{0}) != 2 {
			t.Fatalf("%q has not two NULs", in)
		}
	})
}
