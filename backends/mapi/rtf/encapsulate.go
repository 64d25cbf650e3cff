package rtf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// textHead and htmlHead begin what is encapsulated. MS-OXRTFEX §2.2.1 and §2.2.2.
const (
	textHead = `{\rtf1\ansi\ansicpg1252\fromtext \deff0{\fonttbl{\f0\fmodern\fcharset0 Courier New;}}` + "\r\n" +
		`\uc1\pard\plain\deftab360 \f0\fs20 `
	htmlHead = `{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}}` + "\r\n" +
		`{\*\htmltag64}\uc1\pard\plain\deftab360 \f0\fs24 `
	foot = "}\r\n"
)

// EncapsulateText writes plain text in UTF-8 as RTF that says so. A line may end with CRLF, LF or CR.
func EncapsulateText(w io.Writer, text io.Reader) error {
	e := encapsulator{in: bufio.NewReader(text), out: bufio.NewWriter(w)}
	e.write(textHead)
	for {
		r, more := e.next()
		if !more {
			break
		}
		if r == '\n' {
			e.write("\\par\r\n")
			continue
		}
		e.rune(r)
	}
	return e.finish()
}

// encapsulator writes RTF.
type encapsulator struct {
	in  *bufio.Reader
	out *bufio.Writer
	err error // of reading; out keeps its own
}

func (e *encapsulator) write(texts ...string) {
	for _, text := range texts {
		_, _ = e.out.WriteString(text) // Flush tells
	}
}

func (e *encapsulator) finish() error {
	e.write(foot)
	return errors.Join(e.err, e.out.Flush())
}

// next reads a character. Each line end is one LF.
func (e *encapsulator) next() (r rune, more bool) {
	r, _, err := e.in.ReadRune()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			e.err = fmt.Errorf("rtf: reading what is to be encapsulated: %w", err)
		}
		return 0, false
	}
	if r == '\r' {
		if e.peek(1) == "\n" {
			_, _ = e.in.Discard(1)
		}
		r = '\n'
	}
	return r, true
}

// peek returns up to n octets of what follows.
func (e *encapsulator) peek(n int) string {
	ahead, _ := e.in.Peek(n)
	return string(ahead)
}

// rune writes a character of text. RTF 1.9.1, "Unicode RTF". What stands in for it is an escape of its own, as some
// readers (unrtf) leave out the whole word that follows a character in Unicode.
func (e *encapsulator) rune(r rune) {
	switch {
	case r == '\t':
		e.write(`\tab `)
	case r == '\\' || r == '{' || r == '}':
		e.write(`\`, string(r))
	case r >= ' ' && r < 0x7f:
		e.write(string(r))
	case r < 0x80:
		fmt.Fprintf(e.out, `\'%02x`, r)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(e.out, `\u%d\'3f\u%d\'3f`, int16(high), int16(low))
	default:
		fmt.Fprintf(e.out, `\u%d\'3f`, int16(r))
	}
}

// EncapsulateHTML writes HTML in UTF-8 as RTF that has it inside, and looks like its text to who does not know that:
// paragraphs, bold, italic and underlined text are kept for those.
func EncapsulateHTML(w io.Writer, html io.Reader) error {
	e := htmlEncapsulator{encapsulator: encapsulator{in: bufio.NewReader(html), out: bufio.NewWriter(w)}}
	e.write(htmlHead)
	for {
		r, more := e.next()
		if !more {
			break
		}
		e.html(r)
	}
	e.endTag()
	return e.finish()
}

// htmlEncapsulator goes through HTML once.
type htmlEncapsulator struct {
	encapsulator
	inTag   bool // a group \*\htmltag for blanks is open
	visible bool // the last character that is shown is no blank
	line    bool // something is shown since the last paragraph's end
	pre     int  // elements that keep blanks
}

// html takes the next character of text, or what begins with it.
func (e *htmlEncapsulator) html(r rune) {
	switch {
	case r == '<' && beginsTag(e.peek(1)):
		e.endTag()
		e.tag()
	case r == '&':
		e.reference()
	case r == '<' || r == '>':
		e.escaped(string(r), string(r))
	case r == ' ' || r == '\t' || r == '\n':
		e.space(r)
	default:
		e.endTag()
		e.rune(r)
		e.visible, e.line = true, true
	}
}

func beginsTag(ahead string) bool {
	return ahead != "" && (letter(ahead[0]) || strings.Contains("/!?", ahead))
}

// begin opens a group of HTML that is no RTF. MS-OXRTFEX §2.1.3.1.4.1: what the number says, readers should ignore.
func (e *htmlEncapsulator) begin(number int) {
	e.endTag()
	fmt.Fprintf(e.out, `{\*\htmltag%d `, number)
	e.inTag = true
}

func (e *htmlEncapsulator) endTag() {
	if e.inTag {
		e.write("}")
		e.inTag = false
	}
}

// shown writes RTF that is no HTML. MS-OXRTFEX §2.1.3.1.3.
func (e *htmlEncapsulator) shown(rtf string) { e.write(`\htmlrtf`, rtf, `\htmlrtf0 `) }

// inside writes a character into the group that is open.
func (e *htmlEncapsulator) inside(r rune) {
	if r == '\n' {
		e.write("\\par\r\n")
		return
	}
	e.rune(r)
}

// Numbers for \*\htmltag that others use, too: where the text is, and what of it is one.
const (
	tagText  = 84
	tagOther = 244
)

// space writes a blank: RTF shows each, and HTML one at the most.
func (e *htmlEncapsulator) space(r rune) {
	shown := e.visible || e.pre > 0
	if r == ' ' && shown {
		e.endTag()
		e.write(" ")
		e.visible = false
		return
	}
	if !e.inTag {
		e.begin(tagText)
	}
	e.inside(r)
	if !shown {
		return
	}
	e.endTag()
	switch {
	case e.pre == 0:
		e.shown("  ")
	case r == '\n':
		e.shown(`\line`)
	default:
		e.shown(`\tab`)
	}
	e.visible = false
}

// longestReference is how long a character reference is looked for: the longest name has 31 letters.
const longestReference = 34

// reference writes &name;, and for the text what it stands for.
func (e *htmlEncapsulator) reference() {
	ahead := e.peek(longestReference)
	n := 0
	for n < len(ahead) && (letter(ahead[n]) || digit(ahead[n]) || ahead[n] == '#') {
		n++
	}
	if n < len(ahead) && ahead[n] == ';' {
		n++
	}
	_, _ = e.in.Discard(n)
	e.escaped("&"+ahead[:n], unescape("&"+ahead[:n]))
}

// escaped writes HTML that stands for other text.
func (e *htmlEncapsulator) escaped(html, text string) {
	e.begin(tagText)
	for _, r := range html {
		e.inside(r)
	}
	e.endTag()
	e.write(`\htmlrtf `)
	for _, r := range text {
		e.rune(r)
	}
	e.write(`\htmlrtf0 `)
	e.visible, e.line = true, true
}
