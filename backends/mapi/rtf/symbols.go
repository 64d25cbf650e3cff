package rtf

import "strings"

// symbolIn is the character for an octet of a font of symbols, or 0.
func symbolIn(font string, c byte) rune {
	switch {
	case strings.EqualFold(font, "Symbol") && c >= 0x20:
		return symbolFont[c]
	case len(font) >= len("Wingdings") && strings.EqualFold(font[:len("Wingdings")], "Wingdings"):
		return wingdings[c]
	}
	return 0
}

// symbolFont is the encoding of the font named Symbol, as Adobe published it for Unicode.
var symbolFont = func() (table [256]rune) {
	put := func(from int, characters string) {
		for i, r := range []rune(characters) {
			if r != '�' {
				table[from+i] = r
			}
		}
	}
	put(0x20, ` !∀#∃%&∋()∗+,−./0123456789:;<=>?`)
	put(0x40, `≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_`)
	put(0x60, "\u203eαβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼")
	put(0xa0, `€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…�—↵`)
	put(0xc0, `ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓`)
	put(0xe0, `◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪�〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭`)
	return table
}()

// wingdings are those of the font's characters that mail has: bullets, arrows, check marks, and the faces that
// Outlook makes of :-).
var wingdings = map[byte]rune{
	0x20: ' ', 0x22: '✂', 0x28: '☎', 0x29: '✆', 0x2a: '✉', 0x4a: '☺', 0x4b: '😐', 0x4c: '☹', 0x6c: '●', 0x6e: '■', 0x6f: '□',
	0x71: '❑', 0x72: '❒', 0x73: '⬧', 0x75: '◆', 0x76: '❖', 0x77: '⬥', 0x9f: '•', 0xa1: '○', 0xa7: '▪', 0xa8: '◻',
	0xab: '★', 0xd8: '➢', 0xdf: '←', 0xe0: '→', 0xe1: '↑', 0xe2: '↓', 0xe8: '➔', 0xfb: '✗', 0xfc: '✓', 0xfd: '☒', 0xfe: '☑',
}
