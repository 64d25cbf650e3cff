package address_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/address"
)

func TestParsePath(t *testing.T) {
	local, domain := strings.Repeat("l", 64), strings.Repeat("d", 63)+"."+strings.Repeat("d", 63)+"."+strings.Repeat("d", 63)+".x"
	for _, c := range []struct {
		in, want, rest string
		err            error
	}{
		{in: "<>", want: ""},
		{in: "<> X", want: "", rest: " X"},
		{in: "<a@b.example>", want: "a@b.example"},
		{in: "<a@b.example> SIZE=1", want: "a@b.example", rest: " SIZE=1"},
		{in: "<a@B.Example>", want: "a@B.Example"},
		{in: "<A.b+c=d/e!f%g{h}|i~@b.example>", want: "A.b+c=d/e!f%g{h}|i~@b.example"},
		{in: "<a@localhost>", want: "a@localhost"},
		{in: "<a@b_c.example>", want: "a@b_c.example"},
		{in: "<postmaster>", want: "postmaster"},
		{in: "<Postmaster> X", want: "postmaster", rest: " X"},
		{in: "<" + strings.Repeat("я", 40) + "@" + strings.Repeat("я", 40) + ".example>", want: strings.Repeat("я", 40) + "@" + strings.Repeat("я", 40) + ".example"},
		{in: "<a@💌.example>", want: "a@💌.example"},
		{in: "<@a.example:c@d.example>", want: "c@d.example"},
		{in: "<@a.example,@b.example:c@d.example>", want: "c@d.example"},
		{in: `<"a b"@c.example>`, want: `"a b"@c.example`},
		{in: `<"a\"b\\c"@c.example>`, want: `"a\"b\\c"@c.example`},
		{in: `<"a>b@c"@d.example>`, want: `"a>b@c"@d.example`},
		{in: `<"plain"@c.example>`, want: `plain@c.example`},
		{in: `<"\p\l\ain"@c.example>`, want: `plain@c.example`},
		{in: `<".a"@c.example>`, want: `".a"@c.example`},
		{in: "<a@[192.0.2.1]>", want: "a@[192.0.2.1]"},
		{in: "<a@[IPv6:2001:db8::1]>", want: "a@[IPv6:2001:db8::1]"},
		{in: "<a@[ipv6:::1]>", want: "a@[ipv6:::1]"},
		{in: "<jürgen@bücher.example>", want: "jürgen@bücher.example"},
		{in: `<"jürgen x"@b.example>`, want: `"jürgen x"@b.example`},
		{in: "<" + local + "@b.example>", want: local + "@b.example"},
		{in: "<a@" + domain + ">", want: "a@" + domain},

		{in: "", err: address.ErrNotBracketed},
		{in: "a@b.example", err: address.ErrNotBracketed},
		{in: "<a@b.example", err: address.ErrNotClosed},
		{in: "<a", err: address.ErrLocalPart},
		{in: "<", err: address.ErrLocalPart},
		{in: "<@b.example>", err: address.ErrDomain},
		{in: "<a@>", err: address.ErrDomain},
		{in: "<a@b..example>", err: address.ErrDomain},
		{in: "<a@b.example.>", err: address.ErrDomain},
		{in: "<a@.b>", err: address.ErrDomain},
		{in: "<a@-b.example>", err: address.ErrDomain},
		{in: "<a@b-.example>", err: address.ErrDomain},
		{in: "<a@b@c>", err: address.ErrDomain},
		{in: "<a@b c>", err: address.ErrDomain},
		{in: "<a b@c>", err: address.ErrLocalPart},
		{in: "< a@b.example>", err: address.ErrLocalPart},
		{in: "<a@b.example >", err: address.ErrDomain},
		{in: "<.a@b>", err: address.ErrLocalPart},
		{in: "<a.@b>", want: "a.@b"}, // a quirk, see Parse
		{in: "<a..b@c>", want: "a..b@c"},
		{in: "<a..b...@c> X", want: "a..b...@c", rest: " X"},
		{in: `<"a..b."@c>`, want: `"a..b."@c`},
		{in: "<..a@b>", err: address.ErrLocalPart},
		{in: "<.@b>", err: address.ErrLocalPart},
		{in: "<..@b>", err: address.ErrLocalPart},
		{in: "<a..b c@d>", err: address.ErrLocalPart},
		{in: "<a..>", err: address.ErrNoDomain},
		{in: "<a,b@c>", err: address.ErrLocalPart},
		{in: "<a<b@c>", err: address.ErrLocalPart},
		{in: "<a\x00b@c>", err: address.ErrLocalPart},
		{in: "<a\rb@c>", err: address.ErrLocalPart},
		{in: "<a\nb@c>", err: address.ErrLocalPart},
		{in: "<a\x7fb@c>", err: address.ErrLocalPart},
		{in: "<a\u0085b@c>", err: address.ErrLocalPart},
		{in: "<a\xffb@c>", err: address.ErrLocalPart},
		{in: "<a@b\x00c>", err: address.ErrDomain},
		{in: `<"a`, err: address.ErrLocalPart},
		{in: `<"a\`, err: address.ErrLocalPart},
		{in: `<""@b>`, err: address.ErrLocalPart},
		{in: "<\"a\nb\"@c>", err: address.ErrLocalPart},
		{in: "<\"a\\\nb\"@c>", err: address.ErrLocalPart},
		{in: "<\"a\x00b\"@c>", err: address.ErrLocalPart},
		{in: "<\"a\u0085b\"@c>", err: address.ErrLocalPart},
		{in: `<"a"b@c>`, err: address.ErrLocalPart},
		{in: `<a"b"@c>`, err: address.ErrLocalPart},
		{in: "<a@[]>", err: address.ErrLiteral},
		{in: "<a@[192.0.2.1>", err: address.ErrLiteral},
		{in: "<a@[192.0.2]>", err: address.ErrLiteral},
		{in: "<a@[192.0.2.256]>", err: address.ErrLiteral},
		{in: "<a@[2001:db8::1]>", err: address.ErrLiteral},
		{in: "<a@[IPv6:192.0.2.1]>", err: address.ErrLiteral},
		{in: "<a@[IPv6:fe80::1%eth0]>", err: address.ErrLiteral},
		{in: "<a@[x:y]>", err: address.ErrLiteral},
		{in: "<a@[192.0.2.1]x>", err: address.ErrDomain},
		{in: "<@a.example>", err: address.ErrDomain},
		{in: "<@a.example,b.example:c@d.example>", err: address.ErrDomain},
		{in: "<@:c@d.example>", err: address.ErrDomain},
		{in: "<" + strings.Repeat("l", 300) + "@b.example>", err: address.ErrTooLong},
		{in: "<" + local + "@" + domain + ">", err: address.ErrTooLong},
		{in: "<alice>", err: address.ErrNoDomain},
		{in: "<sakes.example!bob>", err: address.ErrNoDomain},
		{in: "<bob@far.example@sakes.example>", err: address.ErrDomain},
		{in: "<a@\u2488com.example>", err: address.ErrDomain}, // no U-label (RFC 6531 §3.3)
		{in: "<a@" + strings.Repeat("d", 64) + ".example>", err: address.ErrDomain},
		{in: "<a@" + strings.Repeat("d.", 128) + "x>", err: address.ErrDomain},
	} {
		got, rest, err := address.ParsePath(c.in)
		if err != c.err || err == nil && (got.String() != c.want || rest != c.rest) {
			t.Errorf("%q: got %q, %q, %v; want %q, %q, %v", c.in, got, rest, err, c.want, c.rest, c.err)
		}
	}
}

// TestPath: what a path is for comparing, and what it was written as.
func TestPath(t *testing.T) {
	for in, want := range map[string]struct {
		box        string
		null, post bool
	}{
		"<>":                                {box: "@", null: true},
		"<POSTMASTER>":                      {box: "postmaster@", post: true},
		"<Alice@Bücher.Example>":            {box: "Alice@xn--bcher-kva.example"},
		`<@relay.example:"bob"@[IPv6:::1]>`: {box: "bob@[ipv6:::1]"},
	} {
		p, _, err := address.ParsePath(in)
		if err != nil || p.Mailbox().String() != want.box || p.IsNull() != want.null || p.IsPostmaster() != want.post {
			t.Errorf("%s: %+v, %v", in, p, err)
		}
	}
	box, err := address.Parse("alice@Sakes.Example")
	if p := box.Path(); err != nil || p.Mailbox() != box || p.String() != "alice@sakes.example" {
		t.Errorf("%v as a path is %v (%v)", box, p, err)
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"<>", "<a@b>", `<"a\"b"@c> X`, "<@a,@b:c@d>", "<a@[IPv6:::1]>", "<jürgen@bücher.example>", "<\"\x00\"@b>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, rest, err := address.ParsePath(in)
		if err != nil {
			return
		}
		if !strings.HasSuffix(in, rest) {
			t.Fatalf("rest %q", rest)
		}
		s := p.String()
		if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) || len(s)+2 > 256 {
			t.Fatalf("got %q", s)
		}
		if box := p.Mailbox(); box.Domain != "" {
			if same, err := address.Parse(box.String()); err != nil || same != box {
				t.Fatalf("%q: its mailbox %q reads back as %q, %v", in, box, same, err)
			}
		}
		again, rest, err := address.ParsePath("<" + s + ">")
		if err != nil || again != p || rest != "" {
			t.Fatalf("%q: again %q, %q, %v", s, again, rest, err)
		}
	})
}
