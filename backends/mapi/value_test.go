package mapi

import (
	"math"
	"testing"
	"time"
)

func TestTime(t *testing.T) {
	for _, c := range []struct {
		filetime Time
		want     string
	}{
		{0, "1601-01-01T00:00:00Z"},
		{134389479070000000, "2026-11-12T09:05:07Z"},
		{1, "1601-01-01T00:00:00.0000001Z"},
		{0x0CB34557A3DD4000, "4501-01-01T00:00:00Z"}, // "never", MS-OXOCAL
		{math.MaxUint64, "60056-05-28T05:36:10.9551615Z"},
	} {
		if got := c.filetime.Time().Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%d is %s, want %s", uint64(c.filetime), got, c.want)
		}
		if back := NewTime(c.filetime.Time()); back != c.filetime {
			t.Errorf("%d came back as %d", uint64(c.filetime), uint64(back))
		}
	}
	if got := NewTime(time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)); got != 0 {
		t.Errorf("the year 1000 is %d", got)
	}
	if got := NewTime(time.Date(90000, 1, 1, 0, 0, 0, 0, time.UTC)); got != math.MaxUint64 {
		t.Errorf("the year 90000 is %d", got)
	}
}

func TestFloatingTime(t *testing.T) {
	for f, want := range map[FloatingTime]string{
		0:       "1899-12-30T00:00:00Z",
		5.25:    "1900-01-04T06:00:00Z", // the example of MS-OXCDATA §2.11.1
		-1.25:   "1899-12-29T06:00:00Z",
		46356.5: "2026-11-30T12:00:00Z",
	} {
		if got := f.Time().Format(time.RFC3339Nano); got != want {
			t.Errorf("%v is %s, want %s", f, got, want)
		}
		if back := NewFloatingTime(f.Time()); math.Abs(float64(back-f)) > 1e-9 {
			t.Errorf("%v came back as %v", f, back)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
		FloatingTime(f).Time() // does not panic, nor take long
	}
}

func TestGUID(t *testing.T) {
	g, err := ParseGUID("{00020329-0000-0000-C000-000000000046}")
	if err != nil || g != PSPublicStrings || g.String() != "{00020329-0000-0000-c000-000000000046}" {
		t.Errorf("%v, %v", g, err)
	}
	if want := (GUID{0x90, 0xda, 0xd8, 0x6e, 0x0b, 0x45, 0x1b, 0x10, 0x98, 0xda, 0x00, 0xaa, 0x00, 0x3f, 0x13, 0x05}); PSETIDMeeting != want {
		t.Errorf("the octets are %x, want %x", PSETIDMeeting[:], want[:])
	}
	for _, s := range []string{"", "{}", "00020329-0000-0000-C000-0000000000466", "00020329x0000-0000-C000-000000000046", "0002032g-0000-0000-c000-000000000046", "------------------------------------"} {
		if g, err := ParseGUID(s); err == nil {
			t.Errorf("%q is %v", s, g)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, text := range []string{"", "plain", "Grüße 💡 №1", "\uFFFD"} {
		if back := textOfUTF16(utf16Octets(text)); back != text {
			t.Errorf("%q came back as %q", text, back)
		}
	}
	for octets, want := range map[string]string{"\x3d\xd8a\x00": "\uFFFDa", "\x3d\xd8": "\uFFFD", "a\x00b": "a\uFFFD", "\x3d\xd8\x3d\xd8\xa1\xdc": "\uFFFD💡"} {
		if got := textOfUTF16([]byte(octets)); got != want {
			t.Errorf("%x is %q, want %q", octets, got, want)
		}
	}
	if got := (String8{"\xe9", 0}).Text(); got != "\uFFFD" {
		t.Errorf("an octet of an unknown code page is %q", got)
	}
	if _, err := NewString8("💡", 1252); err == nil {
		t.Error("code page 1252 has 💡")
	}
	if _, err := NewString8("a", 4711); err == nil {
		t.Error("code page 4711 is known")
	}
}

func TestCurrency(t *testing.T) {
	for c, want := range map[Currency]string{0: "0.0000", 12345: "1.2345", -5: "-0.0005", math.MinInt64: "-922337203685477.5808"} {
		if got := c.String(); got != want {
			t.Errorf("%d is %s, want %s", int64(c), got, want)
		}
	}
}
