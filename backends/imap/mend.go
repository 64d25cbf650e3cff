package imap

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// mend makes of a response line, without its CRLF, what the library takes, or nothing: of what nobody
// here asks for, one odd value must not end the connection. What is no response at all passes, and
// ends the connection, unless it is to be passed over.
func mend(line string, passOver bool) string {
	switch {
	case strings.HasPrefix(line, "+") && !passOver:
		return line + "\r\n"
	case strings.TrimSpace(line) == "":
		return ""
	}
	if found := status.FindStringSubmatch(line); found != nil && (found[1] == "*" || isTag.MatchString(found[1])) {
		return mendStatus(found)
	}
	if found := untagged.FindStringSubmatch(line); found != nil {
		return mendData(found[1], strings.ToUpper(found[2]), found[3])
	}
	if passOver || strings.HasPrefix(line, "*") {
		return ""
	}
	return line + "\r\n"
}

var (
	// isTag is what the library's own tags look like.
	isTag    = lazyregexp.New(`^T\d+$`)
	untagged = lazyregexp.New(`^\* *(?:(\d+) +)?([A-Za-z0-9.-]+) *(.*)$`)
	codeName = lazyregexp.New(`^[A-Z0-9._/-]+$`)
	// codeArguments are the codes whose arguments the library reads. Those of others are left out.
	codeArguments = map[string]*lazyregexp.Regexp{
		"UIDVALIDITY": lazyregexp.New(`^\d{1,10}$`),
		"UIDNEXT":     lazyregexp.New(`^\d{1,10}$`),
		"APPENDUID":   lazyregexp.New(`^\d{1,10} \d{1,10}$`),
		"COPYUID":     lazyregexp.New(`^\d{1,10} [\d:,]+ [\d:,]+$`),
	}
)

// mendStatus keeps a status response's code only where the library can read it.
func mendStatus(found []string) string {
	tag, kind, code, argument, text := found[1], strings.ToUpper(found[2]), strings.ToUpper(found[3]), strings.Join(strings.Fields(found[4]), " "), found[5]
	switch pattern, reads := codeArguments[code]; {
	case code == "CAPABILITY":
		code += " " + capabilities(argument)
	case reads && pattern.MatchString(argument) && !tooLarge(argument):
		code += " " + argument
	case reads, code == "PERMANENTFLAGS", code == "HIGHESTMODSEQ", !codeName.MatchString(code):
		code = ""
	}
	line := tag + " " + kind
	if code != "" {
		line += " [" + code + "]"
	} else if strings.HasPrefix(strings.TrimSpace(text), "[") {
		text = "(" + strings.TrimSpace(text)
	}
	if text = strings.TrimSpace(text); text != "" {
		line += " " + text
	}
	return line + "\r\n"
}

// tooLarge says whether a number in a text has more than 32 bits.
func tooLarge(text string) bool {
	for _, n := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if _, err := strconv.ParseUint(n, 10, 32); err != nil {
			return true
		}
	}
	return false
}

// mendData is for untagged responses other than FETCH. What nobody asks for is left out: FLAGS and
// STATUS, whose names and keywords are free text, ID, and types that the library does not know.
func mendData(number, kind, rest string) string {
	switch kind {
	case "EXISTS", "EXPUNGE":
		if number != "" && !tooLarge(number) {
			return "* " + number + " " + kind + "\r\n"
		}
	case "SEARCH":
		return "* SEARCH" + searched(rest) + "\r\n"
	case "ESEARCH":
		return "* ESEARCH " + rest + "\r\n"
	case "CAPABILITY":
		return strings.TrimRight("* CAPABILITY "+capabilities(rest), " ") + "\r\n"
	case "LIST":
		return mendList(rest)
	}
	return ""
}

// searched are the numbers of a SEARCH response, each with a blank in front.
func searched(rest string) string {
	rest, _, _ = strings.Cut(rest, "(") // MODSEQ
	var b strings.Builder
	for _, word := range strings.Fields(rest) {
		if n, err := strconv.ParseUint(word, 10, 32); err == nil && n > 0 {
			b.WriteString(" " + word)
		}
	}
	return b.String()
}

var capability = lazyregexp.New(`^[!#$&'+-\[^-z|}~]+$`) // atoms (RFC 9051 §9)

func capabilities(text string) string {
	var all []string
	for _, word := range strings.Fields(text) {
		if capability.MatchString(word) {
			all = append(all, word)
		}
	}
	return strings.Join(all, " ")
}

var (
	isList    = lazyregexp.New(`^(?i)\* *LIST[ (]`)
	listData  = lazyregexp.New(`^\(([^)]*)\) *("\\?[^"]"|(?i:NIL)) *(.+?) *$`)
	attribute = lazyregexp.New(`^\\?[A-Za-z0-9-]+$`)
	quoted    = lazyregexp.New(`^"((?:[^"\\]|\\.)*)"`)
	escaped   = lazyregexp.New(`\\(.)`)
	escapes   = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// mendList leaves the mailbox out whose name, or delimiter (RFC 9051 §9, mailbox-list), cannot be read.
func mendList(rest string) string {
	found := listData.FindStringSubmatch(rest)
	if found == nil {
		return ""
	}
	var attributes []string
	for _, word := range strings.Fields(found[1]) {
		if attribute.MatchString(word) {
			attributes = append(attributes, word)
		}
	}
	delimiter, name := found[2], found[3]
	if !strings.HasPrefix(delimiter, `"`) {
		delimiter = "NIL"
	} else if delimiter == `"\"` {
		delimiter = `"\\"`
	}
	if in := quoted.FindStringSubmatch(name); in != nil {
		name = escaped.ReplaceAllString(in[1], "$1")
	} else if before, _, extended := strings.Cut(name, " ("); extended {
		name = before
	}
	if !modifiedUTF7(name) || strings.ContainsRune(delimiter, utf8.RuneError) {
		return ""
	}
	return "* LIST (" + strings.Join(attributes, " ") + ") " + delimiter + ` "` + escapes.Replace(name) + "\"\r\n"
}
