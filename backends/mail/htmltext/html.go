package htmltext

import (
	"bufio"
	"errors"
	"io"
)

// HTML writes plain text as HTML that looks like it: line ends, and blanks in a row, stay.
func HTML(w io.Writer, r io.Reader) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	_, _ = out.WriteString("<html><body>\r\n") // Flush tells
	before := '\n'
	for {
		c, _, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		_, _ = out.WriteString(escaped(c, before)) // Flush tells
		before = c
	}
	_, _ = out.WriteString("\r\n</body></html>\r\n") // Flush tells
	return out.Flush()
}

// escaped returns a character in HTML. Blanks at a line's start or behind another one do not go away.
func escaped(c, before rune) string {
	switch c {
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	case '\r', 0:
		return ""
	case '\n':
		return "<br>\r\n"
	case '\t':
		return "&nbsp; &nbsp; "
	case ' ':
		if before == ' ' || before == '\n' {
			return "&nbsp;"
		}
	}
	return string(c)
}
