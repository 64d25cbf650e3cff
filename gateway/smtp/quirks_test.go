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
		"as it should be":       {`EHLO c`, `MAIL FROM:<a@b.example> BODY=8BITMIME`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", ""},
		"no brackets":           {`EHLO c`, `MAIL FROM:a@b.example`, `RCPT TO: c@d.example`, "a@b.example", "c@d.example", "MAIL"},
		"and a parameter":       {`EHLO c`, `MAIL FROM:a@b.example SIZE=100`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"blanks within":         {`EHLO c`, `MAIL FROM:< a@b.example >`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "MAIL"},
		"doubled blanks":        {`EHLO  c`, `MAIL  FROM:<a@b.example>`, `RCPT   TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a tab at the end":      {`EHLO c`, `MAIL FROM:<a@b.example>\t`, `RCPT TO:<c@d.example> \t`, "a@b.example", "c@d.example", "MAIL"},
		"no name":               {`HELO`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a name in a code page": {`EHLO b\xfcro-pc`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
		"a name with blanks":    {`EHLO Bill's PC`, `MAIL FROM:<a@b.example>`, `RCPT TO:<c@d.example>`, "a@b.example", "c@d.example", "EHLO"},
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
						want[verb] = "50"
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

// TestBracketed: what is not an address stays what it was, and is refused as such.
func TestBracketed(t *testing.T) {
	for in, want := range map[string]string{
		"a@b": "<a@b>", "a@b SIZE=1": "<a@b> SIZE=1", "< a@b > X": "<a@b> X", "<>": "<>", "": "", "a": "a", "a@b>": "a@b>", "<a@b": "<a@b",
		`<"a b"@c>`: `<"a b"@c>`, `"a b"@c`: `"a b"@c`, "a@b><c@d": "a@b><c@d", "SIZE=1": "SIZE=1", "< >": "<>",
	} {
		if got := bracketed(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
