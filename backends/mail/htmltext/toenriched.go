package htmltext

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// ToEnriched writes HTML as text/enriched in UTF-8 with CRLF as line ends, RFC 1896: emphasis, size, alignment and quotes as its
// commands, and everything else as [Text] writes it.
func ToEnriched(w io.Writer, r io.Reader) error {
	t := &texter{in: &scanner{bufio.NewReader(r)}, out: bufio.NewWriter(w), enriched: &commands{}}
	return t.run()
}

// enrichedCommands are the commands of text/enriched by the elements of HTML. RFC 1896 §3.
var enrichedCommands = map[string]string{
	"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "tt": "fixed", "code": "fixed", "kbd": "fixed",
	"small": "smaller", "big": "bigger", "center": "center", "blockquote": "excerpt", "pre": "nofill",
}

// commands are those of text/enriched that are open. The last of them are due: they are written in front of what follows, as
// what they are for may be nothing.
type commands struct {
	open []string
	due  int
}

// command opens or closes a command for an element. Those that were opened in it are closed with it, and opened again.
func (t *texter) command(found *tag) {
	c := t.enriched
	name := enrichedCommands[found.name]
	switch {
	case name == "":
		return
	case !found.closing:
		if len(c.open) < openMost {
			c.open = append(c.open, name)
			c.due++
		}
		return
	}
	at := len(c.open) - 1
	for at >= 0 && c.open[at] != name {
		at--
	}
	if at < 0 {
		return
	}
	written := len(c.open) - c.due
	for i := written - 1; i >= at; i-- {
		t.emit("</" + c.open[i] + ">")
	}
	c.open = slices.Delete(c.open, at, at+1)
	c.due = len(c.open) - min(at, written)
}

// opened writes the commands that are due.
func (t *texter) opened() {
	c := t.enriched
	for _, name := range c.open[len(c.open)-c.due:] {
		t.emit("<" + name + ">")
	}
	c.due = 0
}

// closed writes the ends of all commands.
func (t *texter) closed() {
	c := t.enriched
	for _, name := range slices.Backward(c.open[:len(c.open)-c.due]) {
		t.emit("</" + name + ">")
	}
}

// isNoFill says whether line ends are what they are.
func (c *commands) isNoFill() bool { return slices.Contains(c.open[:len(c.open)-c.due], "nofill") }

// emit writes what is no text.
func (t *texter) emit(text string) { _, _ = t.out.WriteString(text) } // Flush tells

// inEnriched returns text with the one sign doubled that has a meaning there, RFC 1896 §2.
func inEnriched(text string) string { return strings.ReplaceAll(text, "<", "<<") }
