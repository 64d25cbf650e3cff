package smtp

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
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

		{in: "", err: errNoPath},
		{in: "a@b.example", err: errNoPath},
		{in: "<a@b.example", err: errNotClosed},
		{in: "<a", err: errLocal},
		{in: "<", err: errLocal},
		{in: "<@b.example>", err: errDomain},
		{in: "<a@>", err: errDomain},
		{in: "<a@b..example>", err: errDomain},
		{in: "<a@b.example.>", err: errDomain},
		{in: "<a@.b>", err: errDomain},
		{in: "<a@-b.example>", err: errDomain},
		{in: "<a@b-.example>", err: errDomain},
		{in: "<a@b@c>", err: errDomain},
		{in: "<a@b c>", err: errDomain},
		{in: "<a b@c>", err: errLocal},
		{in: "< a@b.example>", err: errLocal},
		{in: "<a@b.example >", err: errDomain},
		{in: "<.a@b>", err: errLocal},
		{in: "<a.@b>", want: "a.@b"}, // a quirk, see dotty
		{in: "<a..b@c>", want: "a..b@c"},
		{in: "<a..b...@c> X", want: "a..b...@c", rest: " X"},
		{in: `<"a..b."@c>`, want: `"a..b."@c`},
		{in: "<..a@b>", err: errLocal},
		{in: "<.@b>", err: errLocal},
		{in: "<..@b>", err: errLocal},
		{in: "<a..b c@d>", err: errLocal},
		{in: "<a..>", want: "a.."},
		{in: "<a,b@c>", err: errLocal},
		{in: "<a<b@c>", err: errLocal},
		{in: "<a\x00b@c>", err: errLocal},
		{in: "<a\rb@c>", err: errLocal},
		{in: "<a\nb@c>", err: errLocal},
		{in: "<a\x7fb@c>", err: errLocal},
		{in: "<a\u0085b@c>", err: errLocal},
		{in: "<a\xffb@c>", err: errLocal},
		{in: "<a@b\x00c>", err: errDomain},
		{in: `<"a`, err: errLocal},
		{in: `<"a\`, err: errLocal},
		{in: `<""@b>`, err: errLocal},
		{in: "<\"a\nb\"@c>", err: errLocal},
		{in: "<\"a\\\nb\"@c>", err: errLocal},
		{in: "<\"a\x00b\"@c>", err: errLocal},
		{in: "<\"a\u0085b\"@c>", err: errLocal},
		{in: `<"a"b@c>`, err: errLocal},
		{in: `<a"b"@c>`, err: errLocal},
		{in: "<a@[]>", err: errLiteral},
		{in: "<a@[192.0.2.1>", err: errLiteral},
		{in: "<a@[192.0.2]>", err: errLiteral},
		{in: "<a@[192.0.2.256]>", err: errLiteral},
		{in: "<a@[2001:db8::1]>", err: errLiteral},
		{in: "<a@[IPv6:192.0.2.1]>", err: errLiteral},
		{in: "<a@[IPv6:fe80::1%eth0]>", err: errLiteral},
		{in: "<a@[x:y]>", err: errLiteral},
		{in: "<a@[192.0.2.1]x>", err: errDomain},
		{in: "<@a.example>", err: errDomain},
		{in: "<@a.example,b.example:c@d.example>", err: errDomain},
		{in: "<@:c@d.example>", err: errDomain},
		{in: "<" + strings.Repeat("l", 300) + "@b.example>", err: errPathLong},
		{in: "<" + local + "@" + domain + ">", err: errPathLong},
		{in: "<a@" + strings.Repeat("d", 64) + ".example>", err: errDomain},
		{in: "<a@" + strings.Repeat("d.", 128) + "x>", err: errDomain},
	} {
		got, rest, err := parsePath(c.in)
		if err != c.err || err == nil && (got.String() != c.want || rest != c.rest) {
			t.Errorf("%q: got %q, %q, %v; want %q, %q, %v", c.in, got, rest, err, c.want, c.rest, c.err)
		}
	}
}

// A local part of 64 octets is the most a recipient may have; longer ones are in use as
// reverse-paths, where VERP puts a whole address in.
func TestLocalPartLimit(t *testing.T) {
	long := strings.Repeat("l", 65)
	conn := talk(t, testServer(&fake{}))
	conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<" + long + "@b.example>\n< 250\n> RCPT TO:<" + long + "@mx.example>\n< 501 5.1.3\n> RCPT TO:<" + long[1:] + "@mx.example>\n< 250")
}

func TestValidHelo(t *testing.T) {
	for in, want := range map[string]bool{
		"client.example": true, "[192.0.2.1]": true, "[IPv6:::1]": true, "MY_PC": true, "localhost": true, "bücher.example": true, "user's-mac": true,
		"": false, "a b": false, "a\tb": false, "a(b": false, "a<b>": false, "a\u0085": false, "a;b": false, `a"b`: false, `a\b`: false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if validHelo(in) != want {
			t.Errorf("%q: got %v", in, !want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"<>", "<a@b>", `<"a\"b"@c> X`, "<@a,@b:c@d>", "<a@[IPv6:::1]>", "<jürgen@bücher.example>", "<\"\x00\"@b>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, rest, err := parsePath(in)
		if err != nil {
			return
		}
		if !strings.HasSuffix(in, rest) {
			t.Fatalf("rest %q", rest)
		}
		s := m.String()
		if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) || len(s)+2 > mostPath || len(m.domain) > mostDomain {
			t.Fatalf("got %q", s)
		}
		again, rest, err := parsePath("<" + s + ">")
		if err != nil || again != m || rest != "" {
			t.Fatalf("%q: again %q, %q, %v", s, again, rest, err)
		}
	})
}

// What a store could not write into a command or a field is refused where the address is said, and
// not after the message.
func TestBracketsInAnAddress(t *testing.T) {
	for _, local := range []string{`"a>b"`, `"a<b"`, `"<a@b>"`, `"a\>b"`, `"a\" <b>"`} {
		conn := talk(t, testServer(&fake{}))
		conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<" + local + "@b.example>\n< 553 5.1.7\n> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<" + local + "@mx.example>\n< 553 5.1.3\n> RCPT TO:<\"a b\"@mx.example>\n< 250")
	}
}

// Addresses that large carriers have given out are taken, and come to the backend as they were.
func TestDotsInAnAddress(t *testing.T) {
	f := &fake{}
	conn := talk(t, testServer(f))
	conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<a..b.@carrier.example>\n< 250\n> RCPT TO:<c.@mx.example>\n< 250\n> DATA\n< 354\n> x\n> .\n< 250")
	m := f.taken()[0]
	if m.from != "a..b.@carrier.example" || m.to[0] != "c.@mx.example" || !strings.Contains(m.trace, "for <c.@mx.example>") {
		t.Errorf("got %+v", m)
	}
}
