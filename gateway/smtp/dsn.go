package smtp

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/xtext"
)

// Notifies is what a [Session] implements that can send delivery status notifications. DSN (RFC 3461) is
// offered, and its parameters are taken, while it says yes.
type Notifies interface {
	Notifies() bool
}

// Return is how much of a message comes back in a notification of its failure (RET, RFC 3461 §4.3).
type Return uint8

// The values of [Return].
const (
	ReturnUnset Return = iota
	ReturnFull
	ReturnHeaders
)

// Notify is the set of events that the sender is told of (NOTIFY, RFC 3461 §4.1); zero: not said.
type Notify uint8

// The events of [Notify]. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

const (
	envelopeIDMost = 100 // RFC 3461 §4.4
	originalMost   = 500 // RFC 3461 §4.2
)

var errDSN = errors.New("syntax error in a parameter of RFC 3461")

// notifies says whether DSN is offered now.
func (s *session) notifies() bool {
	n, is := s.backend.(Notifies)
	return is && n.Notifies()
}

// parseReturn is RFC 3461 §4.3.
func parseReturn(value string) (Return, error) {
	switch strings.ToUpper(value) {
	case "FULL":
		return ReturnFull, nil
	case "HDRS":
		return ReturnHeaders, nil
	}
	return ReturnUnset, errDSN
}

// parseEnvelopeID is RFC 3461 §4.4: printable ASCII, once it is decoded.
func parseEnvelopeID(value string) (string, error) {
	id, err := xtext.Decode(value)
	if err != nil || len(value) > envelopeIDMost || !printable(id) {
		return "", errDSN
	}
	return id, nil
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// parseNotify is RFC 3461 §4.1.
func parseNotify(value string) (n Notify, err error) {
	words := map[string]Notify{"NEVER": NotifyNever, "SUCCESS": NotifySuccess, "FAILURE": NotifyFailure, "DELAY": NotifyDelay}
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		if words[word] == 0 {
			return 0, errDSN
		}
		n |= words[word]
	}
	if n&NotifyNever != 0 && n != NotifyNever {
		return 0, errDSN
	}
	return n, nil
}

// parseOriginal is RFC 3461 §4.2: "rfc822;ada@example.org", and the form "utf-8;…" of RFC 6533 §3. What is
// returned has no encoding left.
func parseOriginal(value string) (string, error) {
	kind, text, ok := strings.Cut(value, ";")
	if !ok || len(value) > originalMost || !validKeyword(strings.ToUpper(kind)) {
		return "", errDSN
	}
	kind, text, err := original(strings.ToLower(kind), text)
	if err != nil || strings.TrimSpace(text) == "" {
		return "", errDSN
	}
	return kind + ";" + text, nil
}

// original decodes an address of a type, which is another one where the client has named the wrong one.
func original(kind, text string) (as, plain string, err error) {
	if kind != "utf-8" {
		plain, err = xtext.Decode(text)
		switch {
		case err != nil || printable(plain):
			return kind, plain, err
		case kind == "rfc822" && utf8.ValidString(plain) && !strings.ContainsFunc(plain, unicode.IsControl):
			// QUIRK: Postfix 3.7 sends an address in UTF-8 as rfc822, in xtext, where RFC 6533 §3 has utf-8.
			return "utf-8", plain, nil
		}
		return kind, "", errDSN
	}
	if strings.ContainsRune(text, '+') && !strings.ContainsRune(text, '\\') {
		if plain, err := xtext.Decode(text); err == nil { // as servers send it that know of xtext alone
			text = plain
		}
	}
	plain, err = decodeUnitext(text)
	return kind, plain, err
}

// decodeUnitext is utf-8-addr-xtext and utf-8-addr-unitext of RFC 6533 §3: UTF-8, in which \x{e4} is a
// character by its number.
func decodeUnitext(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		escape, rest, is := strings.Cut(strings.TrimPrefix(text, `\x{`), "}")
		if strings.HasPrefix(text, `\x{`) && is {
			r, err := parseRune(escape)
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			text = rest
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if r < '!' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\\' || r == utf8.RuneError {
			return "", errDSN
		}
		b.WriteRune(r)
		text = text[size:]
	}
	return b.String(), nil
}

// parseRune is HEXPOINT of RFC 6533 §3: two to six digits, and no control character.
func parseRune(digits string) (r rune, err error) {
	if len(digits) < 2 || len(digits) > 6 {
		return 0, errDSN
	}
	for _, c := range strings.ToUpper(digits) {
		i := strings.IndexRune("0123456789ABCDEF", c)
		if i < 0 {
			return 0, errDSN
		}
		r = r<<4 | rune(i)
	}
	if r < ' ' || r >= 0x7f && r < 0xa0 || !utf8.ValidRune(r) {
		return 0, errDSN
	}
	return r, nil
}
