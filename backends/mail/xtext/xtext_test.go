package xtext_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends/mail/xtext"
)

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "e+3Dmc2@example.com": "e=mc2@example.com", "+2B": "+", "a+20b": "a b", "j+C3+BCrgen": "jürgen",
	} {
		if got, err := xtext.Decode(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
		if got := xtext.Encode(want); got != in {
			t.Errorf("%q is written as %q", want, got)
		}
	}
	for _, in := range []string{"+00", "a+0D", "a+0A", "+7F", "+1F", "+", "+4", "+4g", "+4a", "a=b", "a b", "\x00", "+FF", "ü"} {
		if got, err := xtext.Decode(in); err == nil {
			t.Errorf("%q: got %q", in, got)
		}
	}
}
