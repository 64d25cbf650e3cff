package htmltext

import (
	"bufio"
	"errors"
	"html"
	"io"
	"strings"
)

// enrichedTags are the commands of text/enriched that HTML has, too. RFC 1896 §3.
var enrichedTags = map[string]string{
	"bold": "b", "italic": "i", "underline": "u", "fixed": "tt", "smaller": "small", "bigger": "big", "center": "center", "excerpt": "blockquote",
}

// commandMost is how long the name of a command may be, RFC 1896 §2.
const commandMost = 60

// Enriched writes text/enriched in UTF-8 as HTML, RFC 1896. Commands that are not known are left out, and what they say of
// themselves (param) with them.
func Enriched(w io.Writer, r io.Reader) error {
	e := &enricher{in: bufio.NewReader(r), out: bufio.NewWriter(w)}
	e.write("<html><body>\r\n")
	for {
		c, _, err := e.in.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			e.endLines()
			for len(e.open) > 0 {
				e.close(e.open[len(e.open)-1])
			}
			e.write("\r\n</body></html>\r\n")
			return e.out.Flush()
		case err != nil:
			return err
		case c == '<':
			e.command()
		case c == '\n':
			e.lines++
		case c != '\r':
			e.text(c)
		}
	}
}

// enricher writes HTML.
type enricher struct {
	in     *bufio.Reader
	out    *bufio.Writer
	lines  int // line ends that were read, and not written
	param  int // commands around that are no text
	nofill int
	open   []string // elements of HTML
}

func (e *enricher) write(text string) { _, _ = e.out.WriteString(text) } // Flush tells

func (e *enricher) text(c rune) {
	e.endLines()
	if e.param == 0 {
		e.write(html.EscapeString(string(c)))
	}
}

// endLines writes line ends: one is a blank, and of more each but the first ends a line (RFC 1896 §2).
func (e *enricher) endLines() {
	switch {
	case e.lines == 0 || e.param > 0:
	case e.nofill > 0:
		e.write(strings.Repeat("<br>\r\n", min(e.lines, emptyMost)))
	case e.lines == 1:
		e.write("\r\n")
	default:
		e.write(strings.Repeat("<br>\r\n", min(e.lines-1, emptyMost)))
	}
	e.lines = 0
}

// command reads what is behind a "<". Two of them are one.
func (e *enricher) command() {
	ahead, _ := e.in.Peek(commandMost + 2) // an error comes again
	if len(ahead) > 0 && ahead[0] == '<' {
		_, _ = e.in.Discard(1) // is buffered
		e.text('<')
		return
	}
	end := strings.IndexByte(string(ahead), '>')
	if end < 0 || strings.ContainsAny(string(ahead[:end]), "<\r\n ") {
		e.text('<')
		return
	}
	name, closing := strings.CutPrefix(strings.ToLower(string(ahead[:end])), "/")
	_, _ = e.in.Discard(end + 1) // is buffered
	step := 1
	if closing {
		step = -1
	}
	switch name {
	case "param":
		e.param = max(0, e.param+step)
		return
	case "nofill":
		e.endLines()
		e.nofill = max(0, e.nofill+step)
		return
	}
	element := enrichedTags[name]
	switch {
	case element == "" || e.param > 0:
	case closing:
		e.close(element)
	case len(e.open) < openMost:
		e.endLines()
		e.open = append(e.open, element)
		e.write("<" + element + ">")
	}
}

// openMost is how many elements are in one another.
const openMost = 50

// close closes an element if it is the one opened last: others are closed at the end.
func (e *enricher) close(element string) {
	if n := len(e.open); n > 0 && e.open[n-1] == element {
		e.open = e.open[:n-1]
		e.write("</" + element + ">")
	}
}
