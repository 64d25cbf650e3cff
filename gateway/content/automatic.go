package content

import (
	"bytes"
	"mime"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// AutomaticWithin is how much of a message's beginning Automatic is worth being given, in octets.
const AutomaticWithin = 32 << 10

// Automatic says whether nobody has written a message, by its Auto-Submitted field (RFC 3834 §5): it answers another one
// by itself, as who is out of office does, or a program has made it. Reports on messages (RFC 6522) are none of these:
// who has sent something has to hear of it.
func Automatic(start []byte) bool {
	automatic := false
	for len(start) > 0 {
		field, rest := header.CutField(start)
		if len(bytes.TrimSpace(field)) == 0 {
			break
		}
		if name, ok := header.FieldName(field); ok {
			value := string(bytes.Join(bytes.Fields(field[bytes.IndexByte(field, ':')+1:]), []byte(" ")))
			switch {
			case strings.EqualFold(name, "Auto-Submitted"):
				keyword, _, _ := strings.Cut(value, ";")
				keyword, _, _ = strings.Cut(strings.ToLower(keyword), "(")
				keyword = strings.TrimSpace(keyword)
				automatic = automatic || keyword == "auto-replied" || keyword == "auto-generated"
			case strings.EqualFold(name, "Content-Type"):
				if kind, _, err := mime.ParseMediaType(value); err == nil && kind == "multipart/report" {
					return false
				}
			}
		}
		start = rest
	}
	return automatic
}
