package smtp

import (
	"strings"
	"testing"
)

// TestQuirks: what old devices and scripts send is taken from who logs in, means what it means in
// the standard's form, and is refused by a server for everybody.
func TestQuirks(t *testing.T) {
	for name, c := range map[string]struct {
		hello, mail, rcpt string
		from, to          string
		refused           string // by a server without quirks: in which command
	}{
		"as it should be":        {`EHLO c`, `MAIL FROM:<a@b.example> BODY=8BITMIME`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", ""},
		"no brackets":            {`EHLO c`, `MAIL FROM:a@b.example`, `RCPT TO: c@d.example`, "a@b.example", "c@d.example", "MAIL"},
		"and a parameter":        {`EHLO c`, `MAIL FROM:a@b.example SIZE=100`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"blanks within":          {`EHLO c`, `MAIL FROM:< a@b.example >`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"doubled blanks":         {`EHLO  c`, `MAIL  FROM:<a@b.example>`, `RCPT   TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a tab at the end":       {`EHLO c`, `MAIL FROM:<a@b.example>\t`, `RCPT TO:<c@d.example> \t`, "a@b.example", "c@d.example", "MAIL"},
		"no name":                {`HELO`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a name in a code page":  {`EHLO b\xfcro-pc`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a name with blanks":     {`EHLO Bill's PC`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"tabs between words":     {`EHLO\tc`, `MAIL\tFROM:\t<a@b.example>\tSIZE=1`, `RCPT \tTO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a blank and a colon":    {`EHLO c`, `MAIL FROM : <a@b.example>`, `RCPT To :c@d.example`, "a@b.example", "c@d.example", "MAIL"},
		"a blank and an address": {`EHLO c`, `MAIL FROM: <a@b.example>`, `RCPT TO: <c@d.example>`, "a@b.example", "c@d.example", ""},
		"a quoted name":          {`EHLO c`, `MAIL FROM:"Bob" <a@b.example> SIZE=1`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"a name":                 {`EHLO c`, `MAIL FROM:Scanner 2 <a@b.example>`, `RCPT TO:The Boss<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"a name in brackets":     {`EHLO c`, `MAIL FROM:<Bobby P <a@b.example>>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"doubled brackets":       {`EHLO c`, `MAIL FROM:<<a@b.example>> SIZE=1`, `RCPT TO:<<c@d.example>>`, "a@b.example", "c@d.example", "MAIL"},
		"no notices":             {`EHLO c`, `MAIL FROM:<a@b.example>`, `RCPT TO:c@d.example NOTIFY=NEVER`, "a@b.example", "c@d.example", "RCPT"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, quirks := range []Quirks{DefaultQuirks, 0} {
				b := plainBackend()
				s := testServer(b)
				s.Quirks = quirks // an MX
				conn := talk(t, s)
				conn.play("< 220")
				want := map[string]string{"EHLO": "250", "MAIL": "250", "RCPT": "250"}
				for i, line := range []string{c.hello, c.mail, c.rcpt} {
					verb := []string{"EHLO", "MAIL", "RCPT"}[i]
					if quirks == 0 && verb == c.refused {
						want[verb] = "5"
					}
					conn.play("~ " + line + `\r\n` + "\n< " + want[verb])
					if want[verb] != "250" {
						return
					}
				}
				conn.play("> DATA\n< 354\n> .\n< 250")
				m := b.messages[0]
				if m.from != c.from || strings.Join(m.to, " ") != c.to || !strings.HasPrefix(m.trace, "Received: ") {
					t.Errorf("taken was a message from %q to %q with %q", m.from, m.to, m.trace)
				}
			}
		})
	}
}

// TestRefusedInWords: what cannot be taken from a device is refused with what its owner can change.
func TestRefusedInWords(t *testing.T) {
	s := testServer(plainBackend())
	s.Role, s.Quirks, s.AllowInsecureAuth = Submission, DefaultQuirks, true
	c := talk(t, s)
	c.play("< 220\n> EHLO c\n< 250")
	for _, x := range []struct{ line, code, text string }{
		{"AUTH X-NONE", "504 5.5.4", "offered are PLAIN"},
		{"AUTH PLAIN AHVzZXIAc2VzYW1l", "235", ""},
		{"MAIL FROM:<a@b.example", "501 5.1.7", "no > at its end"},
		{"MAIL FROM:<a@b.example SIZE=1", "501 5.1.7", "no > at its end"},
		{`MAIL FROM:"ceo@b.example" <a@b.example>`, "501 5.1.7", ""},
		{"MAIL FROM:\"a\tb\"@b.example", "500 5.5.2", ""},
		{"MAIL FROM:<\"a\\\"\tb\"@b.example>", "500 5.5.2", ""},
		{"MAIL FROM:<\"a\\\tb\"@b.example>", "500 5.5.2", ""},
		{"MAIL FROM:<a@b.example>", "250", ""},
		{"RCPT TO:<c@d.example> NOTIFY=NEVER,FAILURE", "555 5.5.4", "switch them off"},
		{"RCPT TO:<c@d.example> NOTIFY=SUCCESS", "555 5.5.4", "switch them off"},
		{"RCPT TO:<c@d.example> NOTIFY", "555 5.5.4", "switch them off"},
		{"RCPT TO:<c@d.example> ORCPT=rfc822;x", "555 5.5.4", "ORCPT"},
		{"RCPT TO:<c@d.example>", "250", ""},
	} {
		c.send(x.line + "\r\n")
		if got := c.expect(x.code); !strings.Contains(got[0], x.text) {
			t.Errorf("%s: %s", x.line, got)
		}
	}
	mx := talk(t, testServer(&fake{}))
	mx.play("< 220\n> EHLO c\n< 250")
	mx.send("AUTH PLAIN AHVzZXIAc2VzYW1l\r\n")
	if got := mx.expect("502 5.5.1"); !strings.Contains(got[0], "submission port") {
		t.Errorf("AUTH at an MX: %s", got)
	}
}

// TestBracketed: what is not an address stays what it was, and is refused as such.
func TestBracketed(t *testing.T) {
	for in, want := range map[string]string{
		"a@b": "<a@b>", "a@b SIZE=1": "<a@b> SIZE=1", "< a@b > X": "<a@b> X", "<>": "<>", "": "", "a": "a", "a@b>": "a@b>",
		"<<a@b>> X": "<a@b> X", "<A <a@b>>": "<a@b>", `"A" <a@b> X`: "<a@b> X", "A B <a@b>": "<a@b>", "A<>": "<>",
		// These can be read in two ways, or have been cut.
		`"x@y" <a@b>`: `"x@y" <a@b>`, "x@y <a@b>": "x@y <a@b>", "<x@y <a@b>>": "<x@y <a@b>>", `"A" B <a@b>`: `"A" B <a@b>`, `"A <a@b>`: `"A <a@b>`,
		"<a@b> <c@d>": "<a@b> <c@d>", "<<a@b>": "<<a@b>", "<a@b>>": "<a@b>>", "A <a@b>>": "A <a@b>>", "A <<a@b>>": "A <<a@b>>", "<a@b": "<a@b", "<a@b SIZE=1": "<a@b SIZE=1",
		`"\" <a@b>`: `"\" <a@b>`, `A "<x@y>" <a@b>`: `A "<x@y>" <a@b>`, "<<<a@b>>>": "<<<a@b>>>", "@x:<a@b>": "@x:<a@b>", "a, b <a@b>": "a, b <a@b>",
		`<"a b"@c>`: `<"a b"@c>`, `"a b"@c`: `"a b"@c`, "a@b><c@d": "a@b><c@d", "SIZE=1": "SIZE=1", "< >": "<>",
	} {
		if got := bracketed(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
