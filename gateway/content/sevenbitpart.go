package content

import (
	"bytes"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// fields are what a header says of the content; usual is what it is without a word on it.
type fields struct {
	kind, boundary, encoding string
	typed, version           bool
}

func fieldsOf(text []byte, usual string) (f fields) {
	f.kind = usual
	for len(text) > 0 {
		var field []byte
		field, text = header.CutField(text)
		name, ok := header.FieldName(field)
		if !ok {
			continue
		}
		value := string(bytes.Join(bytes.Fields(field[bytes.IndexByte(field, ':')+1:]), []byte(" ")))
		switch {
		case strings.EqualFold(name, "MIME-Version"):
			f.version = true
		case strings.EqualFold(name, "Content-Transfer-Encoding"):
			value, _, _ = strings.Cut(value, "(")
			f.encoding = strings.ToLower(strings.TrimSpace(value))
		case strings.EqualFold(name, "Content-Type") && !f.typed:
			f.typed = true
			if typed := entity.ParseParameters(value); strings.Contains(typed.Value, "/") { // else RFC 2045 §5.2
				f.kind, f.boundary = strings.ToLower(typed.Value), typed.Get("boundary")
			}
		}
	}
	return f
}

// replaced is a header with another Content-Transfer-Encoding.
func replaced(text []byte, encoding string) (all []byte) {
	for len(text) > 0 {
		var field []byte
		field, text = header.CutField(text)
		if name, _ := header.FieldName(field); !strings.EqualFold(name, "Content-Transfer-Encoding") {
			all = append(all, field...)
		}
	}
	return append(all, "Content-Transfer-Encoding: "+encoding+"\r\n"...)
}

// part is what was learnt of a part's content.
type part struct {
	octets, coded int64 // coded: those that quoted-printable has in three octets
	eight         bool
}

// look learns of a content.
func (b *part) look(p []byte) {
	b.octets += int64(len(p))
	for _, c := range p {
		switch {
		case c >= 0x80:
			b.eight = true
			b.coded++
		case c == '=' || c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f:
			b.coded++
		}
	}
}

// encoding is the one that is shorter; what is no text is in base64 in any case.
func (b *part) encoding(text bool) encoding {
	quoted := b.octets + 2*b.coded
	quoted += quoted / 25 // soft line breaks, three octets of 76
	switch {
	case !b.eight:
		return asItIs
	case text && quoted <= (b.octets+2)/3*4+b.octets/28:
		return inQuotedPrintable
	}
	return inBase64
}
