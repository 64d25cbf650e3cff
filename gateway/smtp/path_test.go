package smtp

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
)

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

// TestPathTexts: each error of a path has a text for the client.
func TestPathTexts(t *testing.T) {
	for _, path := range []string{"a@b.example", "<a@b.example", "<a b@c>", "<a@b..example>", "<a@[x]>", "<a>", "<@:a@b.example>", "<" + strings.Repeat("l", 300) + "@b.example>"} {
		if _, _, err := address.ParsePath(path); pathTexts[err] == "" {
			t.Errorf("%s: %v has no text", path, err)
		}
	}
}
