package content

import (
	"errors"
	"mime"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// errLoose says that no reading of a field is surely the account's.
var errLoose = errors.New("this is not a list of addresses")

// looseMailboxes reads a From or Sender that is not what RFC 5322 §3.4 has, as devices and scripts
// write it: `Doe, Chris <a@b>`, `a@b <a@b>`, `SAKES\chris <a@b>`, `[Scanner 2] <a@b>`.
//
// What clients make of such a field differs. So it is read in each way that one might, and what
// has an at sign in any of them is an address. They are given for the question whose they are, and
// for nothing else: one that cannot be read is the error.
func looseMailboxes(value string) (boxes []address.Mailbox, err error) {
	all, err := readings(value)
	if err != nil {
		return nil, err
	}
	seen := make(map[address.Mailbox]bool)
	for _, reading := range all {
		found := false
		for token := range strings.FieldsFuncSeq(reading, separates) {
			if !strings.ContainsFunc(token, isAt) {
				continue
			}
			box, err := address.Parse(unticked(token))
			if err != nil {
				return nil, errLoose
			}
			if found = true; !seen[box] {
				seen[box] = true
				boxes = append(boxes, box)
			}
		}
		if !found {
			return nil, errLoose
		}
	}
	return boxes, nil
}

// separates says which characters end an address. Other blanks than those of ASCII do not: what
// stands behind one could be a part of it.
func separates(r rune) bool { return strings.ContainsRune(" \t<>()[],;:\"\\", r) }

// isAt says what is an at sign, or looks like one.
func isAt(r rune) bool { return r == '@' || r == '\uff20' || r == '\ufe6b' }

// unticked takes the apostrophes off that Outlook puts around an address that is a name.
func unticked(token string) string {
	if len(token) > 2 && token[0] == '\'' && token[len(token)-1] == '\'' {
		return token[1 : len(token)-1]
	}
	return token
}

// encodedWord is one (RFC 2047 §2) whose text is all that can have an at sign.
var encodedWord = lazyregexp.New(`=\?[^?@]*\?[bBqQ]\?[^?]*\?=`)

// innermostComment is a comment without one in it, for who knows of no quotes.
var innermostComment = lazyregexp.New(`\([^()]*\)`)

// commentsDeepest is how deep comments may lie in one another; people write none in another.
const commentsDeepest = 4

// readings are the ways to read a value: with encoded words decoded; without comments; without the signs
// of quoting, too; and without blanks around dots and at signs, which RFC 5322 §4.4 allowed. Who knows of
// no quotes finds comments in them, and may take out only those that have none in them, before or after
// encoded words were looked for. An address that is put together in one of the readings is seen there.
func readings(value string) ([]string, error) {
	decoded := decodedWords(value)
	if strings.ContainsFunc(value+decoded, isControl) || strings.Count(decoded, "@") < strings.Count(value, "@") {
		return nil, errLoose
	}
	if !closed(decoded, '<', '>', 1) || !closed(decoded, '(', ')', len(decoded)) {
		return nil, errLoose
	}
	plain := uncommented(decoded, "")
	bare := unquoted.Replace(plain)
	all := []string{decoded, plain, bare, unspaced(bare)}
	for _, start := range []string{value, unquoted.Replace(value), decoded, unquoted.Replace(decoded)} {
		bared, err := peeled(start)
		if err != nil {
			return nil, err
		}
		for _, text := range bared {
			words := encodedWord.ReplaceAllString(text, "")
			all = append(all, words, unspaced(words), decodedWords(text))
		}
	}
	return all, nil
}

// peeled gives a text as it is, and after each time that all innermost comments were taken out.
func peeled(text string) (all []string, err error) {
	for all = []string{text}; innermostComment.MatchString(text); all = append(all, text) {
		if len(all) > commentsDeepest {
			return nil, errLoose
		}
		text = innermostComment.ReplaceAllString(text, "")
	}
	return all, nil
}

var unquoted = strings.NewReplacer(`"`, "", `\`, "")

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// closed says whether each bracket that is opened is closed, whatever is quoted. One that closes
// nothing is a character like others.
func closed(text string, open, closing byte, deepest int) bool {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case open:
			depth++
		case closing:
			depth = max(depth-1, 0)
		}
		if depth > deepest {
			return false
		}
	}
	return depth == 0
}

// unspaced takes the blanks around dots and at signs out.
func unspaced(text string) string {
	var b strings.Builder
	joined := true // what comes next is not parted from what was before
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == '\t' }) {
		if !joined && word[0] != '.' && word[0] != '@' {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		last := word[len(word)-1]
		joined = last == '.' || last == '@'
	}
	return b.String()
}

// decodedWords decodes encoded words (RFC 2047), those of a charset that nobody knows as they are.
func decodedWords(value string) string {
	decoder := mime.WordDecoder{CharsetReader: lenient.CharsetReader}
	if decoded, err := decoder.DecodeHeader(value); err == nil {
		return decoded
	}
	return value
}
