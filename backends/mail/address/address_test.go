package address_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
)

func TestParse(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "alice@sakes.example", "alice@sakes.example"},
		{"domain is folded, local part is not", "Alice@SAKES.Example", "Alice@sakes.example"},
		{"quotes that are not needed go", `"alice"@sakes.example`, "alice@sakes.example"},
		{"backslashes that are not needed go", `"al\ice"@sakes.example`, "alice@sakes.example"},
		{"quotes that are needed stay", `"a b\"\\@c"@sakes.example`, `"a b\"\\@c"@sakes.example`},
		{"at in quotes does not part", `"bob@far.example"@sakes.example`, `"bob@far.example"@sakes.example`},
		{"percent is a character", "bob%far.example@sakes.example", "bob%far.example@sakes.example"},
		{"bang is a character", "far.example!bob@sakes.example", "far.example!bob@sakes.example"},
		{"encapsulated", "IMCEASMTP-bob+40far+2Eexample@sakes.example", "IMCEASMTP-bob+40far+2Eexample@sakes.example"},
		{"U-label", "alice@Bücher.example", "alice@xn--bcher-kva.example"},
		{"UTF-8 local part", "пётр@sakes.example", "пётр@sakes.example"},
		{"IPv4 literal", "alice@[192.0.2.1]", "alice@[192.0.2.1]"},
		{"IPv6 literal", "alice@[IPv6:2001:DB8::1]", "alice@[ipv6:2001:db8::1]"},
		{"underscore in domain", "alice@a_b.example", "alice@a_b.example"},
		{"empty quotes", `""@sakes.example`, `""@sakes.example`},
		{"source route", "@relay.example:bob@far.example", ""},
		{"two ats", "bob@far.example@sakes.example", ""},
		{"no at", "alice", ""},
		{"no local part", "@sakes.example", ""},
		{"no domain", "alice@", ""},
		{"trailing dot", "alice@sakes.example.", ""},
		{"dots together", "a..b@sakes.example", "a..b@sakes.example"},
		{"dots before the at sign", "a.b..@sakes.example", "a.b..@sakes.example"},
		{"the same in quotes", `"a..b"@sakes.example`, `"a..b"@sakes.example`},
		{"a dot at the start", ".a@sakes.example", ""},
		{"dots alone", "..@sakes.example", ""},
		{"dots together in the domain", "a@sakes..example", ""},
		{"space", "a b@sakes.example", ""},
		{"line break", "alice@sakes.example\r\n", ""},
		{"control in quotes", "\"a\x00b\"@sakes.example", ""},
		{"open quotes", `"alice@sakes.example`, ""},
		{"open literal", "alice@[192.0.2.1", ""},
		{"literal of the wrong kind", "alice@[2001:db8::1]", ""},
		{"literal with a zone", "alice@[IPv6:fe80::1%eth0]", ""},
		{"invalid UTF-8", "\xff@sakes.example", ""},
		{"hyphen at the start", "a@-b.example", ""},
		{"too long", strings.Repeat("a", 400) + "@sakes.example", ""},
		{"label too long", "a@" + strings.Repeat("b", 64) + ".example", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			box, err := address.Parse(test.in)
			switch {
			case test.want == "" && err == nil:
				t.Errorf("%q was taken as %q", test.in, box)
			case test.want != "" && err != nil:
				t.Errorf("%q: %v", test.in, err)
			case test.want != "" && box.String() != test.want:
				t.Errorf("%q: got %q, want %q", test.in, box, test.want)
			}
		})
	}
}

func TestEqualFold(t *testing.T) {
	a, _ := address.Parse("Alice@Sakes.example")
	b, _ := address.Parse(`"aLICE"@sakes.EXAMPLE`)
	c, _ := address.Parse("alice@other.example")
	if !a.EqualFold(b) || a.EqualFold(c) {
		t.Error("EqualFold compares wrongly")
	}
	for _, pair := range []struct {
		a, b string
		same bool
	}{
		{"a..b@c.example", `"A..B"@c.example`, true},
		{"a.@c.example", `"a."@c.example`, true},
		{"a..b@c.example", "a.b@c.example", false},
		{"a.@c.example", "a@c.example", false},
		{"smith@c.example", "\u017fmith@c.example", false},
		{`"a\"b"@c.example`, `"a\\\"b"@c.example`, false},
	} {
		a, err := address.Parse(pair.a)
		b, e := address.Parse(pair.b)
		if err != nil || e != nil || a.EqualFold(b) != pair.same || b.EqualFold(a) != pair.same {
			t.Errorf("%s and %s: %v, %v", pair.a, pair.b, err, e)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, test := range []struct{ local, domain, want string }{
		{"alice", "Sakes.example", "alice@sakes.example"},
		{"a b", "sakes.example", `"a b"@sakes.example`},
		{"bob@far.example", "sakes.example", `"bob@far.example"@sakes.example`},
		{"a\nb", "sakes.example", ""},
		{"alice", "", ""},
	} {
		box, err := address.Join(test.local, test.domain)
		if (err == nil) != (test.want != "") || (err == nil && box.String() != test.want) {
			t.Errorf("%q, %q: %q, %v", test.local, test.domain, box, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"alice@sakes.example", `"a\"b"@x.example`, "@a:b@c", "a@[1.2.3.4]", "ä@ö.example", "a@b@c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		box, err := address.Parse(in)
		if err != nil {
			return
		}
		again, err := address.Parse(box.String())
		if err != nil || again != box {
			t.Fatalf("%q: canonical form %q reads back as %q, %v", in, box, again, err)
		}
		if strings.ContainsAny(box.String(), "\r\n\x00") {
			t.Fatalf("%q: control character kept", in)
		}
	})
}

// TestLookalikes: a character that only looks like a letter is another one: smith does not send as
// ſmith, which somebody else may have.
func TestLookalikes(t *testing.T) {
	for a, b := range map[string]string{"smith@sakes.example": "ſmith@sakes.example", "kate@sakes.example": "\u212Aate@sakes.example", "info@sakes.example": "\u0130nfo@sakes.example"} {
		one, err := address.Parse(a)
		other, e := address.Parse(b)
		if err != nil || e != nil || one.EqualFold(other) {
			t.Errorf("%s and %s are one (%v, %v)", a, b, err, e)
		}
	}
}

func TestDetailOf(t *testing.T) {
	for _, c := range []struct {
		box, of string
		want    bool
	}{
		{"ann+x@a.example", "ann@a.example", true},
		{"ANN+x@A.example", "ann@a.example", true},
		{"ann-x@a.example", "ann@a.example", true},
		{"ann+@a.example", "ann@a.example", true},
		{`"ann+x y"@a.example`, "ann@a.example", true},
		{`ann+x@a.example`, `"ann"@a.example`, true},
		{"ann@a.example", "ann@a.example", false},
		{"anna@a.example", "ann@a.example", false},
		{"ann+x@b.example", "ann@a.example", false},
		{"x+ann@a.example", "ann@a.example", false},
		{"ann@a.example", "ann+x@a.example", false},
		{`"ann x"@a.example`, "ann@a.example", false},
	} {
		box, err := address.Parse(c.box)
		of, e := address.Parse(c.of)
		if err != nil || e != nil || box.DetailOf(of) != c.want {
			t.Errorf("%s of %s: %v %v", c.box, c.of, err, e)
		}
	}
}
