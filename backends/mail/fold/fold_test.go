package fold_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// TestEqual: names that differ in case are one, and names that only look so are two.
func TestEqual(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		a, b string
		want bool
	}{
		"ASCII":             {"Smith@SAKES.example", "smith@sakes.example", true},
		"umlauts":           {"Jürgen", "JÜRGEN", true},
		"Greek":             {"ΣΟΦΙΑ", "σοφια", true},
		"long s":            {"ſmith", "smith", false},
		"kelvin":            {"\u212Aate", "kate", false},
		"dotted I":          {"\u0130nfo", "info", false},
		"dotless i":         {"\u0131nfo", "INFO", false},
		"final sigma":       {"σοφος", "σοφοσ", false},
		"sharp s":           {"stra\u1E9Ee", "straße", true},
		"no UTF-8, another": {"\xff", "\xfe", false},
		"no UTF-8, case":    {"A\xff", "a\xff", true},
		"no UTF-8, equal":   {"\xff", "\xff", true},
		"another character": {"a", "b", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fold.Equal(tt.a, tt.b); got != tt.want {
				t.Errorf("%q and %q: %v", tt.a, tt.b, got)
			}
		})
	}
}

// TestASCII: no character of all is folded to one of ASCII but the letters A to Z.
func TestASCII(t *testing.T) {
	t.Parallel()
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		if got, _ := utf8.DecodeRuneInString(fold.Lower(string(r))); got < utf8.RuneSelf {
			t.Errorf("%U is folded to %q", r, got)
		}
	}
}
