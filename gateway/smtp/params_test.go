package smtp

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/xtext"
)

func TestParseParameters(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []parameter
		err  error
	}{
		{"", nil, nil},
		{"   ", nil, nil},
		{" size=1", []parameter{{"SIZE", "1", true}}, nil},
		{"  A=b  C ", []parameter{{"A", "b", true}, {"C", "", false}}, nil},
		{" X-1=jürgen", []parameter{{"X-1", "jürgen", true}}, nil},
		{"A=b", nil, errParameter},
		{" =b", nil, errParameter},
		{" A=", nil, errParameter},
		{" A=b=c", nil, errParameter},
		{" -A", nil, errParameter},
		{" A_B", nil, errParameter},
		{" A=b\x00", nil, errParameter},
		{" A=b\r", nil, errParameter},
		{" A=\xff", nil, errParameter},
		{" A=\u0085", nil, errParameter},
		{" A=1 a=2", nil, errTwice},
	} {
		got, err := parseParameters(c.in)
		if err != c.err || !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, %v; want %v, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "4294967296": 1 << 32, "9223372036854775807": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		"": -1, "-1": -1, "+1": -1, "1 ": -1, "0x1": -1, "100000000000000000000": -1,
	} {
		got, err := parseSize(in)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"", " SIZE=1 BODY=8BITMIME", " AUTH=a+3Db", " A=1 A=2", " X=\x00", " AUTH=+00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		parameters, err := parseParameters(in)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range parameters {
			if seen[p.keyword] || p.keyword == "" || strings.ContainsFunc(p.keyword+p.value, unicode.IsControl) {
				t.Fatalf("got %+v", parameters)
			}
			seen[p.keyword] = true
			if s, err := xtext.Decode(p.value); err == nil && (!utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n")) {
				t.Fatalf("xtext %q", s)
			}
			if n, err := parseSize(p.value); err == nil && n < 0 {
				t.Fatalf("size %d", n)
			}
		}
	})
}
