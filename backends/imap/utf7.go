package imap

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// modifiedUTF7 says whether the library can read a mailbox's name: modified UTF-7 (RFC 3501 §5.1.3),
// or UTF-8 as it is.
func modifiedUTF7(name string) bool {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	for {
		_, rest, found := strings.Cut(name, "&")
		if !found {
			return true
		}
		shifted, after, closed := strings.Cut(rest, "-")
		if !closed || shifted != "" && (!isUTF16(shifted) || nextShift(after)) {
			return false
		}
		name = after
	}
}

// nextShift says whether another sequence follows at once, which the RFC does not allow.
func nextShift(after string) bool {
	return strings.HasPrefix(after, "&") && !strings.HasPrefix(after, "&-")
}

func isUTF16(shifted string) bool {
	octets, err := base64UTF7.DecodeString(shifted)
	if err != nil || len(octets)%2 != 0 {
		return false
	}
	units := make([]uint16, 0, len(octets)/2)
	for i := 0; i < len(octets); i += 2 {
		units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
	}
	for _, r := range utf16.Decode(units) {
		if r == utf8.RuneError || r >= ' ' && r < 0x7f {
			return false
		}
	}
	return true
}
