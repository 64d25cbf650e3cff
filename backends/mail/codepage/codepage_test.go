package codepage

import "testing"

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		number int
		octets string
		want   string
	}{
		{1252, "caf\xe9 \x80", "café €"},
		{932, "\x82\xb1\x82\xf1", "こん"},
		{936, "\xc4\xe3", "你"},
		{949, "\xb0\xa1", "가"},
		{950, "\xa7\x41", "你"},
		{1251, "\xcf\xf0", "Пр"},
		{28605, "\xa4", "€"},
		{50221, "\x1b$B$3\x1b(B", "こ"},
		{65001, "é", "é"},
		{1200, "\xac\x20", "€"},
		{20127, "a\xe9b", "a\uFFFDb"},
		{850, "\x82", "é"},
	} {
		p, ok := Find(c.number)
		if !ok {
			t.Errorf("%d is not known", c.number)
			continue
		}
		if got, err := p.Decode([]byte(c.octets)); err != nil || got != c.want {
			t.Errorf("%d: %q, %v; want %q", c.number, got, err, c.want)
		}
	}
	if p, ok := Find(4711); ok {
		t.Errorf("4711 is %s", p.Charset)
	}
}

func TestHasASCII(t *testing.T) {
	without := map[int]bool{1200: true, 1201: true, 37: true, 1047: true, 1140: true}
	for _, p := range pages {
		if p.HasASCII() == without[p.Number] {
			t.Errorf("%d, %s: %t", p.Number, p.Charset, p.HasASCII())
		}
	}
}

func TestEncode(t *testing.T) {
	for number, text := range map[int]string{1252: "café €", 20127: "plain", 932: "こん", 65001: "💡", 1200: "💡"} {
		p, _ := Find(number)
		octets, err := p.Encode(text)
		if err != nil {
			t.Errorf("%d: %v", number, err)
			continue
		}
		if back, err := p.Decode(octets); err != nil || back != text {
			t.Errorf("%d: %q, %v; want %q", number, back, err, text)
		}
	}
	for r := rune('\uE000'); r <= '\uF8FF'; r++ { // characters of private use are none rather than others
		p, _ := Find(54936)
		octets, err := p.Encode("a" + string(r))
		if back, _ := p.Decode(octets); err == nil && back != "a"+string(r) {
			t.Fatalf("%U became %q", r, back)
		}
	}
	hz, _ := Find(52936)
	if octets, err := hz.Encode("a~中"); err == nil {
		t.Errorf("HZ was written: %q", octets)
	}
	for _, number := range []int{1252, 20127, 932} {
		p, _ := Find(number)
		if octets, err := p.Encode("💡"); err == nil {
			t.Errorf("%d has no such character, and gave %q", number, octets)
		}
	}
}

func TestOfCharset(t *testing.T) {
	for name, want := range map[string]int{
		"UTF-8": 65001, "us-ascii": 20127, "ISO-8859-1": 28591, "latin1": 28591, "Windows-1252": 1252, "cp1252": 1252,
		"Shift_JIS": 932, "iso-2022-jp": 50220, "euc-kr": 949, "gb2312": 51936, "GB18030": 54936, "big5": 950,
		"koi8-r": 20866, "utf-16": 1200, "ibm850": 850, "cp850": 850, "iso-8859-8-i": 38598,
	} {
		if p, ok := OfCharset(name); !ok || p.Number != want {
			t.Errorf("%s: %d %v, want %d", name, p.Number, ok, want)
		}
	}
	for _, name := range []string{"", "x-unheard-of", "utf-7"} {
		if p, ok := OfCharset(name); ok {
			t.Errorf("%q is %d", name, p.Number)
		}
	}
}
