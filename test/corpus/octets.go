package corpus

import "strings"

// octetMessages have octets that are no printable ASCII.
func octetMessages() []Message {
	eight := "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: 8bit\r\n"
	return inspected(
		headed("all-but-nul", eight, everyOctet(1)),
		headed("all", eight, everyOctet(0)),
		text("nul", "before\x00after\r\n\x00\r\n"),
		text("many-nul", strings.Repeat("\x00", 500)+"\r\n"),
		text("controls", controls()),
		text("control-z", "before\r\n\x1a\r\nafter\r\n"),
		text("delete", "\x7f\x7f\x7f\r\n"),
		text("escape", "\x1b[31mred\x1b[0m\x07\x08\r\n"),
		text("form-feed", "page one\x0c\r\n\x0b\r\npage two\r\n"),
		headed("bom", eight, "\xef\xbb\xbftext after a byte order mark\r\n"),
		headed("invalid-utf8", strings.Replace(eight, "unknown-8bit", "utf-8", 1), "\xc3\x28 \xa0\xa1 \xe2\x28\xa1 \xf0\x28\x8c\xbc \xfe\xff \xed\xa0\x80\r\n"),
		headed("telnet-iac", eight, "\xff\xf4\xff\xfd\x06\xff\xff\r\n"),
		headed("next-line", eight, "C1 next line \x85 and \xc2\x85, line separator \xe2\x80\xa8 here\r\n"),
		headed("high-only", eight, strings.Repeat(strings.Repeat("\xff", 70)+"\r\n", 20)),
		headed("random", eight, randomLines("octets/random", 200)),
		headed("binary-declared", strings.Replace(eight, "8bit\r", "binary\r", 1), everyOctet(1)),
	)
}

// everyOctet has each value from first to 255, but CR and LF, in lines of 16.
func everyOctet(first int) string {
	var b strings.Builder
	for c := first; c < 256; c++ {
		if c != '\r' && c != '\n' {
			b.WriteByte(byte(c))
		}
		if c%16 == 15 {
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

func controls() string {
	var b strings.Builder
	for c := byte(1); c < 32; c++ {
		if c != '\r' && c != '\n' {
			b.WriteString("[" + string(rune(c)) + "]\r\n")
		}
	}
	return b.String()
}

// randomLines are lines of up to 200 random octets without NUL, CR and LF.
func randomLines(name string, lines int) string {
	r := source(name)
	var b strings.Builder
	for range lines {
		for range r.IntN(200) {
			c := byte(r.Uint32())
			if c == 0 || c == '\r' || c == '\n' {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteString("\r\n")
	}
	return b.String()
}
