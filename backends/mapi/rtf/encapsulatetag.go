package rtf

import (
	"html"
	"strings"
)

func unescape(reference string) string { return html.UnescapeString(reference) }

// longestTag is how long an element's name is looked at.
const longestTag = 12

// tag writes a tag, a comment or a declaration, of which the < has been read, and with some elements all that is
// in them, as it is no text that is shown.
func (e *htmlEncapsulator) tag() {
	name := e.name()
	e.begin(numberOf(name))
	e.inside('<')
	if name == "!--" {
		e.until("-->")
		e.endTag()
		return
	}
	e.toEnd()
	if raw[name] {
		e.until("</" + name)
		e.toEnd()
	}
	e.endTag()
	e.effect(name)
}

// name is that of the tag ahead in lower case, with the slash of an end tag.
func (e *htmlEncapsulator) name() string {
	ahead := strings.ToLower(e.peek(longestTag))
	if strings.HasPrefix(ahead, "!--") {
		return "!--"
	}
	n := 0
	for n < len(ahead) && (letter(ahead[n]) || digit(ahead[n]) || n == 0 && ahead[n] == '/') {
		n++
	}
	return ahead[:n]
}

// toEnd copies to the > that ends a tag. Within quotes it ends none.
func (e *htmlEncapsulator) toEnd() {
	var quote rune
	for {
		r, more := e.next()
		if !more {
			return
		}
		e.inside(r)
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == '>':
			return
		}
	}
}

// until copies up to a text, whatever the case of its letters, and that text.
func (e *htmlEncapsulator) until(text string) {
	for !strings.EqualFold(e.peek(len(text)), text) {
		r, more := e.next()
		if !more {
			return
		}
		e.inside(r)
	}
	for range text {
		r, _ := e.next()
		e.inside(r)
	}
}

// raw are elements whose content is neither markup nor text of the document.
var raw = map[string]bool{"script": true, "style": true, "title": true, "textarea": true, "xmp": true, "iframe": true, "noembed": true}

// numberOf is the number that Exchange uses for a tag: what it is, with 8 where it ends something.
func numberOf(name string) int {
	bare, ends := strings.CutPrefix(name, "/")
	number, known := numbers[bare]
	if !known {
		number = tagOther
	}
	if ends {
		number |= 8
	}
	return number
}

var numbers = map[string]int{
	"html": 19, "head": 34, "body": 50, "p": 64, "div": 96, "pre": 96, "br": 116, "meta": 161, "title": 177, "style": 241,
	"span": 148, "font": 148, "a": 84, "b": 84, "i": 84, "u": 84, "img": 84, "ul": 64, "ol": 64, "li": 64,
}

// blocks are elements that end a line when they end.
var blocks = map[string]bool{
	"/p": true, "/div": true, "/li": true, "/tr": true, "/table": true, "/blockquote": true, "/pre": true, "/ul": true, "/ol": true,
	"/h1": true, "/h2": true, "/h3": true, "/h4": true, "/h5": true, "/h6": true, "/dt": true, "/dd": true, "/address": true, "hr": true,
	"p": true, "div": true, "table": true, "ul": true, "ol": true, "pre": true, "blockquote": true, "li": true, "tr": true,
}

// looks are elements with a control word of the same meaning.
var looks = map[string]string{
	"b": `\b`, "/b": `\b0`, "strong": `\b`, "/strong": `\b0`, "i": `\i`, "/i": `\i0`, "em": `\i`, "/em": `\i0`, "u": `\ul`, "/u": `\ulnone`,
}

// effect writes the RTF that looks like what a tag does.
func (e *htmlEncapsulator) effect(name string) {
	switch {
	case name == "br":
		e.shown(`\line`)
		e.visible = false
	case blocks[name]:
		if e.line {
			e.shown(`\par`)
		}
		e.visible, e.line = false, false
	case name == "/td" || name == "/th":
		e.shown(`\tab`)
		e.visible = false
	case looks[name] != "":
		e.shown(looks[name])
	}
	switch name {
	case "pre":
		e.pre++
	case "/pre":
		e.pre = max(e.pre-1, 0)
	}
}
