package uidl_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/uidl"
)

func TestOf(t *testing.T) {
	for rule, want := range map[string]string{
		"":               "",
		"none":           "",
		"dovecot":        "0000002b653a1f0c",
		"cyrus":          "1698307852.43",
		"uid":            "43",
		"%u":             "43",
		"UID%u-%v":       "UID43-1698307852",
		"%v.%u":          "1698307852.43",
		"%Xv%04u":        "653a1f0c0043",
		"header:X-UIDL":  "",
		"header:X_Uid-2": "",
	} {
		r, err := uidl.Parse(rule)
		if err != nil {
			t.Errorf("%q: %v", rule, err)
		}
		if got := r.Of(43, 0x653a1f0c); got != want {
			t.Errorf("%q makes %q, not %q", rule, got, want)
		}
	}
}

func TestNoRule(t *testing.T) {
	for _, rule := range []string{"dovcot", "%v", "%f", "%g.%u", "%", "%08X", "%u%", "%99u", "header:", "header:a b", "header:X:"} {
		if r, err := uidl.Parse(rule); err == nil {
			t.Errorf("%q is taken for the rule %+v", rule, r)
		}
	}
}

func TestFromHeader(t *testing.T) {
	r, err := uidl.Parse("header:X-UIDL")
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"X-UIDL: 0000002b653a1f0c\r\n\r\n":            "0000002b653a1f0c",
		"x-uidl :abc\r\n":                             "abc",
		"Subject: X-UIDL: no\r\nX-Uidl:\tyes\r\n\r\n": "yes",
		"X-UIDL:\r\n folded\r\nSubject: x\r\n":        "folded",
		"X-UIDL: first\r\nX-UIDL: second\r\n":         "first",
		"X-UIDL: two words\r\n":                       "",
		"X-UIDL: \xff\r\n":                            "",
		"X-UIDL: " + strings.Repeat("a", 71) + "\r\n": "",
		"X-UIDL: " + strings.Repeat("a", 70) + "\n":   strings.Repeat("a", 70),
		"X-UIDL-Old: old\r\n\r\n":                     "",
		"":                                            "",
	} {
		if got := r.FromHeader([]byte(header)); got != want {
			t.Errorf("%q tells %q, not %q", header, got, want)
		}
	}
}

func TestValid(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a": true, "!~": true, strings.Repeat("x", 70): true, strings.Repeat("x", 71): false,
		"a b": false, "a\x7f": false, "\x20": false, "a\n": false, "ü": false, "\xff": false,
	} {
		if uidl.Valid(text) != want {
			t.Errorf("%q is one: %v", text, !want)
		}
	}
}
