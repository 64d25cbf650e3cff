package maildir

import (
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	const ours = "1764000000.M000042P7Q1_0123456789abcdefghijklmnop.host,S=10,W=12"
	for _, c := range []struct {
		name    string
		base    string
		flags   string
		arrived int64
		s, w    int64 // -1: not told
		ours    bool
	}{
		{ours, ours, "", 1764000000000042, 10, 12, true},
		{ours + ":2,FS", ours, "FS", 1764000000000042, 10, 12, true},
		{"1764000000.M5P7.host,S=10:2,", "1764000000.M5P7.host,S=10", "", 1764000000000005, 10, -1, false},
		{"1764000000.M5P7V0000000000000801I0000_0.mx,W=12,S=10:2,RS", "1764000000.M5P7V0000000000000801I0000_0.mx,W=12,S=10", "RS", 1764000000000005, 10, 12, false},
		{"1764000000.12345_0.host:2,S,abc", "1764000000.12345_0.host", "S", 1764000000000000, -1, -1, false},
		{"1764000000.host:1,S", "1764000000.host", "", 1764000000000000, -1, -1, false},
		{"1764000000.M9999999P1.host", "1764000000.M9999999P1.host", "", 1764000000000000, -1, -1, false},
		{"msg.eml", "msg.eml", "", 0, -1, -1, false},
		{"1764000000", "1764000000", "", 0, -1, -1, false},
		{"99999999999999999999.x", "99999999999999999999.x", "", 0, -1, -1, false},
		{"1.x,S=,W=-3", "1.x,S=,W=-3", "", 1000000, -1, -1, false},
		{"1.x,S=12abc,W=1e9", "1.x,S=12abc,W=1e9", "", 1000000, -1, -1, false},
		{"1.x,S=99999999999999999999", "1.x,S=99999999999999999999", "", 1000000, -1, -1, false},
		{"1.M5P7Q1_0123456789abcdefghijklmnoz.host,S=1,W=1", "1.M5P7Q1_0123456789abcdefghijklmnoz.host,S=1,W=1", "", 1000005, 1, 1, false},
	} {
		base := baseOf(c.name)
		s, ok := storedSize(base)
		if !ok {
			s = -1
		}
		w, ok := canonicalSize(base)
		if !ok {
			w = -1
		}
		if base != c.base || flagsOf(c.name) != c.flags || arrived(base) != c.arrived || s != c.s || w != c.w || isOurs(base) != c.ours {
			t.Errorf("%s: base %s, flags %q, arrived %d, S %d, W %d, ours %v", c.name, base, flagsOf(c.name), arrived(base), s, w, isOurs(base))
		}
	}
}

func TestWithFlag(t *testing.T) {
	for name, want := range map[string]string{
		"1.x":        "1.x:2,T",
		"1.x:2,":     "1.x:2,T",
		"1.x:2,FS":   "1.x:2,FST",
		"1.x:2,T":    "1.x:2,T",
		"1.x:2,ab":   "1.x:2,Tab",
		"1.x:1,what": "1.x:2,T",
	} {
		if got := withFlag(name, 'T'); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestUniqueNames(t *testing.T) {
	at := time.Unix(1764000000, 42000)
	n := newNamer("x/y:z", func() time.Time { return at })
	seen := map[string]bool{}
	for range 1000 {
		name := n.unique("a key with / and : in it")
		if seen[name] || strings.ContainsAny(name, "/:") || name[0] == '.' {
			t.Fatalf("name %s", name)
		}
		seen[name] = true
		full := sized(name, 10, 12)
		if !isOurs(full) || arrived(full) != at.UnixMicro() || !strings.Contains(full, keyMark("a key with / and : in it")) {
			t.Fatalf("%s is not known again", full)
		}
	}
	if keyMark("a") == keyMark("b") {
		t.Error("two keys have one mark")
	}
}

func FuzzName(f *testing.F) {
	f.Add("1764000000.M000042P7Q1_0123456789abcdefghijklmnop.host,S=10,W=12:2,FS")
	f.Add("1.x,S=1:2,")
	f.Add(":2,S")
	f.Fuzz(func(t *testing.T, name string) {
		base := baseOf(name)
		if strings.ContainsRune(base, infoSeparator) || !strings.HasPrefix(name, base) {
			t.Errorf("base of %q: %q", name, base)
		}
		if arrived(base) < 0 {
			t.Errorf("%q came in %d", base, arrived(base))
		}
		if s, ok := storedSize(base); ok && s < 0 {
			t.Errorf("S of %q: %d", base, s)
		}
		marked := withFlag(name, 'T')
		if baseOf(marked) != base || !hasFlag(marked, 'T') || withFlag(marked, 'T') != marked {
			t.Errorf("%q marked: %q", name, marked)
		}
		_ = isOurs(base)
	})
}

// TestFlagsElsewhere: flags behind a semicolon or an exclamation mark, as programs write them where
// no file name has a colon, are no part of a message's id, which stays as they change.
func TestFlagsElsewhere(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ base, flags, seen string }{
		"1.x:2,FR":    {"1.x", "FR", "1.x:2,FRS"},
		"1.x;2,F":     {"1.x", "F", "1.x;2,FS"},
		"1.x!2,":      {"1.x", "", "1.x!2,S"},
		"1.a;b!c":     {"1.a;b!c", "", "1.a;b!c:2,S"},
		"1.x;3,S":     {"1.x;3,S", "", "1.x;3,S:2,S"},
		"1.x,S=3;2,T": {"1.x,S=3", "T", "1.x,S=3;2,ST"},
	} {
		if got := baseOf(name); got != tt.base {
			t.Errorf("the base of %q is %q", name, got)
		}
		if got := flagsOf(name); got != tt.flags {
			t.Errorf("the flags of %q are %q", name, got)
		}
		if got := withFlag(name, 'S'); got != tt.seen {
			t.Errorf("%q with S is %q, not %q", name, got, tt.seen)
		}
	}
}
