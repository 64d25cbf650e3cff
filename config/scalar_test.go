package config

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want Size
		bad  bool
	}{
		{"0", 0, false},
		{"512", 512, false},
		{"25MiB", 25 << 20, false},
		{"25 mib", 25 << 20, false},
		{"1.5GiB", 3 << 29, false},
		{"300kB", 300_000, false},
		{"1TiB", 1 << 40, false},
		{"9223372036854775807", 1<<63 - 1, false},
		{"9223372036854775808", 0, true},
		{"9999999TiB", 0, true},
		{"-1", 0, true},
		{"-1.5MiB", 0, true},
		{"MiB", 0, true},
		{"", 0, true},
		{"1e3", 0, true},
		{"0x10", 0, true},
		{"1.2.3kB", 0, true},
		{"NaN", 0, true},
		{"25M", 0, true},
	} {
		got, err := ParseSize(test.text)
		if (err != nil) != test.bad || !test.bad && got != test.want {
			t.Errorf("%q is %d, %v; want %d, bad %t", test.text, got, err, test.want, test.bad)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is shown as %q, which is %d, %v", test.text, got, again, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  time.Duration
		bad   bool
		shown string
	}{
		{"0", 0, false, "0s"},
		{"90s", 90 * time.Second, false, "1m30s"},
		{"10m", 10 * time.Minute, false, "10m"},
		{"2h", 2 * time.Hour, false, "2h"},
		{"14d", 14 * 24 * time.Hour, false, "14d"},
		{"48h", 48 * time.Hour, false, "2d"},
		{"1h0m5s", time.Hour + 5*time.Second, false, "1h0m5s"},
		{"10", 0, true, ""},
		{"-5s", 0, true, ""},
		{"d", 0, true, ""},
		{"1.5d", 0, true, ""},
		{"99999999d", 0, true, ""},
		{"soon", 0, true, ""},
		{"", 0, true, ""},
	} {
		got, err := ParseDuration(test.text)
		if (err != nil) != test.bad || !test.bad && (got.Std() != test.want || got.String() != test.shown) {
			t.Errorf("%q is %v, %v; want %v, bad %t, shown as %q", test.text, got, err, test.want, test.bad, test.shown)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	keys := []string{"connections", "per_address", "message_size", "recipients"}
	for _, test := range []struct{ got, want string }{
		{"conections", `did you mean "connections"?`},
		{"Recipients", `did you mean "recipients"?`},
		{"message-size", `did you mean "message_size"?`},
		{"recpiients", `did you mean "recipients"?`},
		{"xyz", "known: connections, per_address, message_size, recipients"},
	} {
		if got := didYouMean(test.got, keys); got != test.want {
			t.Errorf("for %q: %s, want %s", test.got, got, test.want)
		}
	}
}
