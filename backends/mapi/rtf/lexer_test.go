package rtf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// tokens writes what the lexer makes of a text.
func tokens(t *testing.T, text string) string {
	t.Helper()
	l := lexer{r: bufio.NewReaderSize(strings.NewReader(text), 16)}
	var b strings.Builder
	for {
		tok, err := l.next()
		if tok.kind == tokenEnd {
			if !errors.Is(err, io.EOF) {
				t.Errorf("%q ends with %v", text, err)
			}
			return b.String()
		}
		switch tok.kind {
		case tokenOpen:
			b.WriteString("{")
		case tokenClose:
			b.WriteString("}")
		case tokenWord:
			fmt.Fprintf(&b, "<%s %d %v>", tok.word, tok.number, tok.given)
		case tokenSymbol:
			fmt.Fprintf(&b, "<%c>", tok.symbol)
		case tokenHex:
			fmt.Fprintf(&b, "<%x>", tok.text)
		case tokenText:
			fmt.Fprintf(&b, "%s", tok.text)
		case tokenBinary:
			var data strings.Builder
			_ = l.binary(&data, tok.number)
			fmt.Fprintf(&b, "<bin %q>", data.String())
		}
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{``, ``},
		{`{\rtf1\ansi a}`, `{<rtf 1 true><ansi 0 false>a}`},
		{`\b  x`, `<b 0 false> x`},
		{`\b0x`, `<b 0 true>x`},
		{`\li-360 x`, `<li -360 true>x`},
		{`\li-x`, `<li 0 false>x`}, // the hyphen is the delimiter
		{`\fs99999999999999999999`, `<fs 2147483647 true>`},
		{`\fs-99999999999999999999`, `<fs -2147483647 true>`},
		{"a\r\nb\nc", "abc"},
		{"a\\\nb\\\r\nc", `a<par 0 false>b<par 0 false>c`},
		{`\'e4\'E4\'zz\'`, `<e4><e4>zz`},
		{`\{\}\\\~\*`, `<{><}><\><~><*>`},
		{`\bin3 {}\\par`, `<bin "{}\\"><par 0 false>`},
		{`\bin-3 x`, `<bin "">x`},
		{`\bin2147483647 x`, `<bin "x">`},
		{`\` + strings.Repeat("a", 40) + `1 x`, `<` + strings.Repeat("a", 32) + ` 1 true>x`},
		{`\`, ``},
		{`\b`, `<b 0 false>`},
		{`a text that is longer than the buffer`, `a text that is longer than the buffer`},
	} {
		if got := tokens(t, c.text); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}
