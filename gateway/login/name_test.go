package login_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/login"
)

func TestParseName(t *testing.T) {
	for _, test := range []struct {
		name, in            string
		user, domain, realm string
		str                 string
		bad                 bool
	}{
		{name: "address", in: "alice@sakes.example", user: "alice", domain: "sakes.example", str: "alice@sakes.example"},
		{name: "domain is folded", in: "Alice@SAKES.example", user: "Alice", domain: "sakes.example", str: "Alice@sakes.example"},
		{name: "domain becomes A-labels", in: "alice@Bücher.example", user: "alice", domain: "xn--bcher-kva.example", str: "alice@xn--bcher-kva.example"},
		{name: "the last at parts", in: "a@b@sakes.example", user: "a@b", domain: "sakes.example", str: "a@b@sakes.example"},
		{name: "bare", in: "alice", user: "alice", str: "alice"},
		{name: "bare with spaces", in: "Alice Smith", user: "Alice Smith", str: "Alice Smith"},
		{name: "realm", in: `SAKES\alice`, user: "alice", realm: "SAKES", str: `SAKES\alice`},
		{name: "empty", in: "", bad: true},
		{name: "at alone", in: "@", bad: true},
		{name: "no user", in: "@sakes.example", bad: true},
		{name: "no domain", in: "alice@", bad: true},
		{name: "domain that is none", in: "alice@-x", bad: true},
		{name: "no realm", in: `\alice`, bad: true},
		{name: "realm alone", in: `SAKES\`, bad: true},
		{name: "NUL", in: "alice\x00", bad: true},
		{name: "line break", in: "alice\nbob", bad: true},
		{name: "not UTF-8", in: "\xff", bad: true},
		{name: "too long", in: strings.Repeat("a", 321), bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := login.ParseName(test.in)
			if ok == test.bad {
				t.Fatalf("ok is %v", ok)
			}
			if test.bad {
				return
			}
			want := login.Name{Raw: test.in, User: test.user, Domain: test.domain, Realm: test.realm}
			if got != want || got.String() != test.str {
				t.Errorf("got %+v (%s), want %+v", got, got, want)
			}
		})
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"alice", "a@b.example", `D\a`, "@", "a@@b", "\x00", "ä@ö"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, ok := login.ParseName(in)
		if !ok {
			return
		}
		if name.User == "" || strings.ContainsAny(name.String(), "\r\n\x00") || len(in) > 320 {
			t.Fatalf("%q was taken as %+v", in, name)
		}
		if again, ok := login.ParseName(name.String()); !ok || again.String() != name.String() {
			t.Fatalf("%q: %q does not read back", in, name)
		}
	})
}
