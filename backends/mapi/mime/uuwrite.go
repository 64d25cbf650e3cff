package mime

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mapi"
)

// uuencoded plans plain text with the attachments in it.
func (p *planner) uuencoded() (*part, error) {
	t, err := p.texts()
	if err != nil {
		return nil, err
	}
	if t.plain != nil && p.m.Has(mapi.PidTagRtfCompressed) {
		if _, err := sumOf(t.plain); err != nil { // whether RTF is damaged is known when it was read
			return nil, err
		}
	}
	files := p.files()
	var contents []func(io.Writer) error
	for _, a := range files {
		if isException(a) {
			continue // what it says is in the pattern of the series
		}
		content, err := p.uuencodedFile(a)
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	page := p.page()
	text := func(w io.Writer) error {
		lines := &uniform{w: w}
		if t.plain != nil {
			if err := t.plain(lines); err != nil {
				return err
			}
		}
		if lines.last != '\n' && lines.last != 0 {
			if _, err := io.WriteString(w, "\r\n"); err != nil {
				return err
			}
		}
		for _, content := range contents {
			if err := content(w); err != nil {
				return err
			}
		}
		return nil
	}
	content := inPage(fitted(wrapped(text, lineMost/2), page, nearest), page)
	s, err := measure(content)
	if err != nil {
		return nil, err
	}
	encoding := "7bit"
	if s.high > 0 {
		encoding = "8bit"
	}
	fields := []string{"Content-Type: text/plain; charset=" + page.Charset + "\r\n", "Content-Transfer-Encoding: " + encoding + "\r\n"}
	return leaf(content, fields, "", s.sum()), nil
}

// uuencodedFile returns what writes a file in UUENCODE. A message is one, too.
func (p *planner) uuencodedFile(a *mapi.Attachment) (func(io.Writer) error, error) {
	name, content := filename(a), copying(dataOf(a))
	if a.Embedded != nil {
		inner, err := p.Writer.plan(a.Embedded, p.depth+1, p.shared)
		if err != nil {
			return nil, err
		}
		name = a.Embedded.Text(mapi.PidTagSubject) + ".eml"
		content = func(w io.Writer) error {
			o := &output{w: w}
			inner.write(o)
			return o.err
		}
	}
	return func(w io.Writer) error {
		encoder := newUUEncoder(w, name)
		return errors.Join(content(encoder), encoder.Close())
	}, nil
}

// uniform writes each line end as CRLF.
type uniform struct {
	w    io.Writer
	last byte
}

// Write writes a piece.
func (u *uniform) Write(octets []byte) (int, error) {
	var out bytes.Buffer
	for _, c := range octets {
		switch {
		case c == '\n' && u.last == '\r':
		case c == '\r', c == '\n':
			out.WriteString("\r\n")
		case c == 0:
			continue
		default:
			out.WriteByte(c)
		}
		u.last = c
	}
	_, err := u.w.Write(out.Bytes())
	return len(octets), err
}

// uuLine is how many octets stand on a line of UUENCODE.
const uuLine = 45

// uuEncoder writes UUENCODE as uuencode(1) does, with grave accents for blanks, which some readers cut off.
type uuEncoder struct {
	w    io.Writer
	line []byte
	head string
	err  error
}

func newUUEncoder(w io.Writer, name string) *uuEncoder {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[len(name)-200:], "")
	}
	if strings.TrimSpace(name) == "" {
		name = "unnamed"
	}
	return &uuEncoder{w: w, head: "\r\nbegin 644 " + strings.TrimSpace(name) + "\r\n"}
}

// Write encodes a piece.
func (u *uuEncoder) Write(octets []byte) (int, error) {
	n := len(octets)
	for len(octets) > 0 && u.err == nil {
		room := min(len(octets), uuLine-len(u.line))
		u.line = append(u.line, octets[:room]...)
		if octets = octets[room:]; len(u.line) == uuLine {
			u.flush()
		}
	}
	return n, u.err
}

func (u *uuEncoder) flush() {
	out := append([]byte(u.head), uuCharacter(byte(len(u.line))))
	u.head = ""
	for i := 0; i < len(u.line); i += 3 {
		var three [3]byte
		copy(three[:], u.line[i:])
		out = append(out, uuCharacter(three[0]>>2), uuCharacter(three[0]<<4&63|three[1]>>4), uuCharacter(three[1]<<2&63|three[2]>>6), uuCharacter(three[2]&63))
	}
	u.line = u.line[:0]
	if u.err == nil {
		_, u.err = u.w.Write(append(out, "\r\n"...))
	}
}

func uuCharacter(six byte) byte {
	if six == 0 {
		return '`'
	}
	return six + ' '
}

// Close ends the file.
func (u *uuEncoder) Close() error {
	if len(u.line) > 0 {
		u.flush()
	}
	u.flush() // the line of no octets
	if u.err == nil {
		_, u.err = io.WriteString(u.w, "end\r\n")
	}
	return u.err
}
