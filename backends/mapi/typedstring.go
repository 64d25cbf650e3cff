package mapi

import "fmt"

// Kinds of a TypedString, MS-OXCDATA §2.11.7.
const (
	typedNone    uint8 = 0x00
	typedEmpty   uint8 = 0x01
	typed8       uint8 = 0x02
	typedReduced uint8 = 0x03 // UTF-16 of which each upper octet is 0, without that octet
	typedUnicode uint8 = 0x04
)

// TypedString takes a TypedString, MS-OXCDATA §2.11.7. It says whether there is a string.
func (d *Decoder) TypedString() (string, bool) {
	switch kind := d.Uint8(); kind {
	case typedNone:
		return "", false
	case typedEmpty:
		return "", d.err == nil
	case typed8:
		return d.String8().Text(), d.err == nil
	case typedReduced:
		return latin1(d.String8().Octets), d.err == nil
	case typedUnicode:
		return d.Unicode(), d.err == nil
	default:
		d.fail(fmt.Errorf("0x%02x is no kind of typed string", kind))
		return "", false
	}
}

// latin1 makes each octet the character of that number.
func latin1(octets string) string {
	text := make([]rune, len(octets))
	for i := range len(octets) {
		text[i] = rune(octets[i])
	}
	return string(text)
}

// TypedString writes a TypedString, MS-OXCDATA §2.11.7: Unicode if there is anything.
func (e *Encoder) TypedString(text string) {
	if text == "" {
		e.Uint8(typedEmpty)
		return
	}
	e.Uint8(typedUnicode)
	e.Unicode(text)
}
