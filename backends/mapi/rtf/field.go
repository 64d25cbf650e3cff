package rtf

import "strings"

// schemes are those that a link of a document may have. A link with another one is shown without being one, with the
// address in the report: script runs in the reader, and file and UNC paths have Windows send the user's password
// hash to a stranger's server.
var schemes = []string{"http", "https", "mailto", "ftp"}

const (
	mostLink = 2048 // octets of an address
	// mostSpent is how much HTML a link may become: it is opened anew in each paragraph that it goes over.
	mostSpent = 64 << 10
)

// hyperlink looks at a field's instruction when it has ended: the group that it is in is the field's.
func (p *parser) hyperlink() {
	url, is := hyperlinkIn(string(p.instruction))
	p.instruction = p.instruction[:0]
	if !is || p.encapsulated {
		return
	}
	p.state.char.link = nil
	if !allowed(url) {
		p.report.refused(url)
		return
	}
	p.state.char.link = &link{url: url}
}

// hyperlinkIn is the address of the field HYPERLINK "address" \l "place within it". ECMA-376 part 1 §17.16.5.25.
func hyperlinkIn(instruction string) (url string, is bool) {
	word, rest := argument(instruction)
	if !strings.EqualFold(word, "HYPERLINK") {
		return "", false
	}
	place := ""
	for rest != "" {
		word, rest = argument(rest)
		switch {
		case word == `\l`:
			place, rest = argument(rest)
			place = "#" + place
		case word == `\o` || word == `\t`: // the tip, and the window
			_, rest = argument(rest)
		case word == "" || word[0] == '\\': // \n, \m
		case url == "":
			url = word
		}
	}
	return url + place, true
}

// argument takes the next word, or text in quotes.
func argument(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t")
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		word, rest, _ = strings.Cut(quoted, `"`)
		return word, rest
	}
	if at := strings.IndexAny(text, " \t\""); at >= 0 {
		return text[:at], text[at:]
	}
	return text, ""
}

// allowed says whether an address may be a link: whole, with one of schemes, without blanks and control characters.
func allowed(url string) bool {
	if len(url) > mostLink || strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' }) {
		return false
	}
	scheme, rest, _ := strings.Cut(url, ":")
	for _, may := range schemes {
		if strings.EqualFold(scheme, may) && rest != "" {
			return true
		}
	}
	return false
}
