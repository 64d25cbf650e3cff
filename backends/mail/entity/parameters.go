package entity

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parameterized is the value of a field that has parameters: Content-Type (RFC 2045 §5.1) and
// Content-Disposition (RFC 2183).
type Parameterized struct {
	Value      string
	parameters map[string]string
}

// Get returns a parameter by its name in lower case, decoded, and "" without one.
func (p Parameterized) Get(name string) string { return p.parameters[name] }

// segment is a piece of a parameter, RFC 2231 §3.
type segment struct {
	number  int
	encoded bool // in percent signs, RFC 2231 §4
	text    string
}

// ParseParameters reads a field's value. What cannot be read is left out, and the first of two
// parameters with one name counts. Encoded words (RFC 2047) are read in parameters, too, where they
// may not be and often are.
func ParseParameters(value string) Parameterized {
	value, rest := cutToken(skipComments(value), ";")
	p := Parameterized{Value: strings.TrimSpace(value), parameters: map[string]string{}}
	pieces := map[string][]segment{}
	for rest = strings.TrimPrefix(skipComments(rest), ";"); rest != ""; rest = strings.TrimPrefix(skipComments(rest), ";") {
		var name, text string
		name, rest = cutToken(skipComments(rest), "=;")
		if assigned, is := strings.CutPrefix(skipComments(rest), "="); is {
			text, rest = cutParameterValue(skipComments(assigned))
		}
		base, s := parseSegment(strings.ToLower(strings.TrimSpace(name)), text)
		if base != "" {
			pieces[base] = append(pieces[base], s)
		}
	}
	for name, segments := range pieces {
		p.parameters[name] = join(segments)
	}
	return p
}

// cutToken cuts at the first of some characters. A comment ends the token, and what stands behind it is none of it.
func cutToken(s, stop string) (token, rest string) {
	stop += "("
	end := strings.IndexAny(s, stop)
	if end < 0 {
		return s, ""
	}
	token, rest = s[:end], s[end:]
	for strings.HasPrefix(rest, "(") {
		rest = skipComments(rest)
		next := strings.IndexAny(rest, stop)
		if next < 0 {
			return token, ""
		}
		rest = rest[next:]
	}
	return token, rest
}

// cutParameterValue cuts a quoted string or a token off. A value with blanks that lacks its quotes
// goes on up to the semicolon.
func cutParameterValue(s string) (value, rest string) {
	if strings.HasPrefix(s, `"`) {
		value, rest = cutQuoted(s)
		if end := strings.IndexByte(rest, ';'); end >= 0 {
			return value, rest[end:]
		}
		return value, ""
	}
	value, rest = cutToken(s, ";")
	return strings.TrimSpace(value), rest
}

// cutQuoted cuts a quoted string off, RFC 5322 §3.2.4. One that is not closed ends with the text.
func cutQuoted(s string) (content, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\' || s[i+1] == ' '):
			i++
			b.WriteByte(s[i])
		default: // a backslash before anything else is one in a path of Windows
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// skipComments skips white space and comments, RFC 5322 §3.2.2.
func skipComments(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if !strings.HasPrefix(s, "(") {
			return s
		}
		_, s = cutComment(s)
	}
}

// cutComment cuts a comment off, with those nested in it. One that is not closed ends with the text.
func cutComment(s string) (content, rest string) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], s[i+1:]
			}
		}
	}
	return s[1:], ""
}

// parseSegment takes a name as RFC 2231 has them apart: name, name*, name*0, name*0*.
func parseSegment(name, text string) (base string, s segment) {
	base, suffix, split := strings.Cut(name, "*")
	if !split {
		return base, segment{-1, false, text} // a name without an asterisk is in front
	}
	number, encoded := strings.CutSuffix(suffix, "*")
	if suffix == "" {
		return base, segment{0, true, text}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return "", segment{}
	}
	return base, segment{n, encoded, text}
}

// join puts the segments of a parameter together. Those with an asterisk count more than one
// without, which is for programs that do not know RFC 2231.
func join(segments []segment) string {
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
	if last := segments[len(segments)-1]; last.number < 0 {
		return DecodeWords(Text(segments[0].text))
	}
	var octets []byte
	charset, previous, coded := "", -1, false
	for _, s := range segments {
		if s.number < 0 || s.number == previous {
			continue
		}
		previous = s.number
		if !s.encoded {
			octets = append(octets, s.text...)
			continue
		}
		if !coded && strings.Count(s.text, "'") >= 2 && len(octets) == 0 { // RFC 2231 §4: charset'language'text
			charset, s.text, _ = strings.Cut(s.text, "'")
			_, s.text, _ = strings.Cut(s.text, "'")
		}
		coded = true
		octets = appendUnescaped(octets, s.text)
	}
	if !coded {
		return DecodeWords(Text(string(octets)))
	}
	return DecodeCharset(octets, charset)
}

func appendUnescaped(octets []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if c, is := hexOctet(text[i+1], text[i+2]); is {
				octets = append(octets, c)
				i += 2
				continue
			}
		}
		octets = append(octets, text[i])
	}
	return octets
}

// isToken says whether a text is a token of RFC 2045 §5.1.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	})
}

// parameterMost is how many characters of a parameter stand on a line.
const parameterMost = 60

// FormatParameter returns a parameter as it is written behind a semicolon: as a token or a quoted string,
// or in UTF-8 as RFC 2231 has it, over several lines where it is long.
func FormatParameter(name, value string) string {
	if len(value) <= parameterMost && isToken(value) {
		return ";\r\n\t" + name + "=" + value
	}
	if len(value) <= parameterMost && isPrintable(value) && !strings.Contains(value, "=?") && value != "" {
		return ";\r\n\t" + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	pieces := escaped("utf-8''", value)
	if len(pieces) == 1 {
		return ";\r\n\t" + name + "*=" + pieces[0]
	}
	var b strings.Builder
	for i, piece := range pieces {
		fmt.Fprintf(&b, ";\r\n\t%s*%d*=%s", name, i, piece)
	}
	return b.String()
}

// escaped returns a text in percent signs, in pieces that fit a line.
func escaped(start, value string) (pieces []string) {
	piece := []byte(start)
	for i := range len(value) {
		if len(piece) >= parameterMost {
			pieces, piece = append(pieces, string(piece)), nil
		}
		if c := value[i]; isToken(value[i:i+1]) && c != '%' && c != '*' && c != '\'' {
			piece = append(piece, c)
			continue
		}
		piece = fmt.Appendf(piece, "%%%02X", value[i])
	}
	return append(pieces, string(piece))
}

// Names are no longer than these: RFC 6838 §4.2, and so that a value has room on the line.
const (
	mediaTypeMost = 127
	fieldNameMost = 70
)

// IsMediaType says whether a text is a media type, without parameters. RFC 2045 §5.1.
func IsMediaType(s string) bool {
	major, minor, _ := strings.Cut(s, "/")
	return isToken(major) && isToken(minor) && len(major) <= mediaTypeMost && len(minor) <= mediaTypeMost
}

// IsFieldName says whether a text can be the name of a header field that is written, RFC 5322 §3.6.8.
func IsFieldName(s string) bool {
	return s != "" && len(s) <= fieldNameMost && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}
