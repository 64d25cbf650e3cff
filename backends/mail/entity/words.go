package entity

import (
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"
)

// DecodeWords reads the encoded words of a text, RFC 2047. Neighbours of one charset are decoded
// together, as characters are cut in two between them. What is no encoded word stays as it is.
func DecodeWords(text string) string { return decodeWords(text, func(string) {}) }

// WordCharsets are the charsets of a text's encoded words, in their order, and one as often as it comes.
func WordCharsets(text string) (all []string) {
	decodeWords(text, func(charset string) { all = append(all, charset) })
	return all
}

// decodeWords is DecodeWords that tells the charset of each word.
func decodeWords(text string, tell func(charset string)) string {
	if !strings.Contains(text, "=?") {
		return text
	}
	var b strings.Builder
	var run wordRun
	for last := strings.LastIndex(text, "?="); last >= 0; last = strings.LastIndex(text, "?=") { // the end of a word
		start := strings.Index(text, "=?")
		if start < 0 || start > last {
			break
		}
		w, rest, is := cutWord(text[start:])
		if !is {
			run.flush(&b)
			b.WriteString(text[:start+2])
			text = text[start+2:]
			continue
		}
		if strings.Trim(text[:start], " \t\r\n") != "" || !run.is {
			run.flush(&b)
			b.WriteString(text[:start])
		}
		tell(w.charset)
		run.add(&b, w)
		text = rest
	}
	run.flush(&b)
	b.WriteString(text)
	return b.String()
}

// word is an encoded word without its transfer encoding.
type word struct {
	charset string
	octets  []byte
}

// wordRun are words that stand together, of one charset.
type wordRun struct {
	is bool
	word
}

func (r *wordRun) add(b *strings.Builder, w word) {
	if r.is && !strings.EqualFold(r.charset, w.charset) {
		r.flush(b)
	}
	r.is, r.charset, r.octets = true, w.charset, append(r.octets, w.octets...)
}

func (r *wordRun) flush(b *strings.Builder) {
	if r.is {
		b.WriteString(DecodeCharset(r.octets, r.charset))
	}
	*r = wordRun{}
}

// cutWord cuts an encoded word off a text that starts with "=?". Blanks inside are let pass.
func cutWord(s string) (w word, rest string, is bool) {
	charset, s, ok1 := strings.Cut(s[2:], "?")
	encoding, s, ok2 := strings.Cut(s, "?")
	if !ok1 || !ok2 || charset == "" || strings.ContainsAny(charset, " \t=\"") || !strings.Contains("BbQq", encoding) || encoding == "" {
		return word{}, "", false
	}
	payload, rest, closed := strings.Cut(s, "?=")
	if !closed {
		return word{}, "", false
	}
	w.charset, _, _ = strings.Cut(charset, "*") // RFC 2231 §5: the language
	if w.octets = decodeQ(payload); strings.EqualFold(encoding, "B") {
		w.octets = decodeAll(payload, "base64")
	}
	return w, rest, true
}

// decodeAll takes a transfer encoding off a text in memory.
func decodeAll(text, encoding string) []byte {
	octets, _ := io.ReadAll(decode(strings.NewReader(text), encoding)) // a string cannot fail
	return octets
}

// decodeQ reads the Q encoding, RFC 2047 §4.2.
func decodeQ(text string) []byte {
	octets := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '_':
			octets = append(octets, ' ')
		case text[i] == '=' && i+2 < len(text):
			if c, is := hexOctet(text[i+1], text[i+2]); is {
				octets = append(octets, c)
				i += 2
				continue
			}
			octets = append(octets, '=')
		default:
			octets = append(octets, text[i])
		}
	}
	return octets
}

// wordMost is how many octets of UTF-8 make an encoded word that is not longer than 75 characters.
const wordMost = 45

// EncodeWords returns a text as encoded words in UTF-8, a word a line. The first one stands behind so many
// characters of its line.
func EncodeWords(text string, column int) string {
	var words []string
	most := wordMost - min(column, wordMost/2)
	for start := 0; start < len(text); most = wordMost {
		end := start
		for end < len(text) {
			_, size := utf8.DecodeRuneInString(text[end:])
			if end+size-start > most {
				break
			}
			end += size
		}
		words = append(words, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(text[start:end]))+"?=")
		start = end
	}
	return strings.Join(words, "\r\n ")
}

// The lines of a field, RFC 5322 §2.1.1.
const (
	lineWished = 78
	lineMost   = 998
)

// FormatText writes a field of unstructured text (RFC 5322 §2.2.1), folded, with its line end. What cannot
// stand in a header as it is becomes encoded words.
func FormatText(name, text string) string {
	if !isPrintable(text) || strings.Contains(text, "=?") || strings.TrimSpace(text) != text || longestWord(text) > lineMost-len(name)-2 {
		return name + ": " + EncodeWords(text, len(name)+2) + "\r\n"
	}
	return Fold(name+": "+text) + "\r\n"
}

func longestWord(text string) (longest int) {
	for word := range strings.SplitSeq(text, " ") {
		longest = max(longest, len(word))
	}
	return longest
}

// Fold breaks a field's line in front of words, where that keeps lines short. RFC 5322 §2.2.3.
func Fold(line string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(line, " ") {
		// A line must not have blanks alone, and none follows the field's name by itself.
		if i > 1 && word != "" && column+1+len(word) > lineWished {
			b.WriteString("\r\n")
			column = 0
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		column += 1 + len(word)
	}
	return b.String()
}

// isPrintable says whether a text has ASCII's printable characters alone.
func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f })
}
