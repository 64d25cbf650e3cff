package mime

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/htmltext"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// Form is how mail is written for readers who are old or odd. The zero Form is that of MS-OXCMAIL: MIME, with the bodies
// that the object has. Signed and encrypted messages have no other.
type Form struct {
	Body Body
	// UUEncode writes plain text with the attachments in UUENCODE below it, in the place of MIME's parts.
	UUEncode bool
	// Charset is the IANA name of the charset of texts; "" or one that is not known: that of the object. Of letters that it
	// lacks the nearest are written in plain text, and references in HTML.
	Charset string
	// Wrap is how many columns a line of plain text has at the most; 0: as many as it has.
	Wrap int
	// RichText attaches the whole object as TNEF (winmail.dat), beside plain text alone.
	RichText bool
	// Calendar is what meetings and appointments are.
	Calendar Calendar
	// Link is the address that [CalendarLink] writes. "{uid}" in it stands for the id of the meeting, and "{message-id}" for that of
	// the message.
	Link string
}

// Calendar is how a meeting or an appointment is written.
type Calendar uint8

// The forms of meetings.
const (
	CalendarICal Calendar = iota // iCalendar beside the text; in UUENCODE it is CalendarText
	CalendarText                 // plain text that says when and where, alone
	CalendarLink                 // also, with a link
)

// isNotMIME says whether attachments are no parts.
func (f Form) isNotMIME() bool { return f.UUEncode || f.RichText }

// Body is which of the bodies is written.
type Body uint8

// The bodies. One that the object does not have is made of the other.
const (
	BodyAsItIs Body = iota
	BodyText
	BodyHTML
	BodyBoth
	BodyEnriched // text/enriched (RFC 1896) of HTML; plain text is what it is
)

// texts are the bodies of an object. Each is nil where there is none.
type texts struct {
	plain func(io.Writer) error // UTF-8
	html  func(io.Writer) error // UTF-8
	// enriched is text/enriched, in UTF-8.
	enriched func(io.Writer) error
	octets   func(io.Writer) error // of HTML that can stay as it is
}

// texts returns the bodies in the form that is wanted.
func (p *planner) texts() (t texts, err error) {
	if text, is := p.plainText(); is {
		t.plain = text
	}
	if t.octets = p.htmlOctets(); t.octets != nil {
		t.html = fromPage(t.octets, p.pageOfObject())
	} else if t.html, err = p.htmlText(t.plain != nil); err != nil {
		return t, err
	}
	if p.formPage() != nil {
		t.octets = nil
	}
	plain, html := t.plain, t.html
	if plain == nil && html != nil {
		plain = through(html, htmltext.Text)
	}
	if html == nil && plain != nil {
		html = through(plain, htmltext.HTML)
	}
	switch p.bodies() {
	case BodyText:
		t = texts{plain: plain}
	case BodyHTML:
		t = texts{html: html, octets: t.octets}
	case BodyBoth:
		t = texts{plain: plain, html: html, octets: t.octets}
	case BodyEnriched:
		if t.html == nil {
			t = texts{plain: plain}
		} else {
			t = texts{enriched: through(t.html, htmltext.ToEnriched)}
		}
	}
	if details, is := p.calendarText(); is {
		text := t.plain
		t = texts{plain: func(w io.Writer) error {
			if _, err := io.WriteString(w, details); err != nil || text == nil {
				return err
			}
			return text(w)
		}}
	}
	if t.plain != nil && p.Form.Wrap > 0 {
		t.plain = wrapped(t.plain, p.Form.Wrap)
	}
	return t, nil
}

// bodies returns which bodies are wanted: text alone where there is no room for others.
func (p *planner) bodies() Body {
	if p.Form.isNotMIME() || p.isInWords() {
		return BodyText
	}
	return p.Form.Body
}

// through returns what writes a content as something has made it over. A panic in either is the caller's: elsewhere nobody could
// recover from it.
func through(content func(io.Writer) error, over func(io.Writer, io.Reader) error) func(io.Writer) error {
	return func(w io.Writer) error {
		r, pipe := io.Pipe()
		done, panicked := make(chan struct{}), any(nil)
		go func() {
			defer close(done)
			defer func() {
				if panicked = recover(); panicked != nil {
					_ = pipe.CloseWithError(errPanicked)
				}
			}()
			_ = pipe.CloseWithError(content(pipe)) // the reader has the error
		}()
		err := func() error {
			defer func() { // the goroutine ends, even where over panics
				_ = r.Close()
				<-done
			}()
			return over(w, r)
		}()
		if panicked != nil {
			panic(panicked)
		}
		return err
	}
}

var errPanicked = errors.New("reading has panicked")

func wrapped(text func(io.Writer) error, columns int) func(io.Writer) error {
	return func(w io.Writer) error {
		wrapper := htmltext.NewWrapper(w, columns)
		return errors.Join(text(wrapper), wrapper.Close())
	}
}

// fromPage returns what writes octets of a code page as UTF-8.
func fromPage(octets func(io.Writer) error, page codepage.Page) func(io.Writer) error {
	return through(octets, func(w io.Writer, r io.Reader) error {
		_, err := io.Copy(w, page.Encoding.NewDecoder().Reader(r))
		return err
	})
}

// formPage returns the code page of the charset that is wanted, nil without one.
func (p *planner) formPage() *codepage.Page {
	if p.Form.Charset == "" {
		return nil
	}
	page, known := codepage.OfCharset(p.Form.Charset)
	if !known || inHTML(page) != page.Number {
		return nil
	}
	return &page
}

// lacking returns what stands for a letter that a charset lacks.
type lacking func(r rune) string

// reference is what stands for a letter in HTML.
func reference(r rune) string { return "&#" + strconv.Itoa(int(r)) + ";" }

// plainer are signs and the ones that were there before them.
var plainer = map[rune]string{
	'\u2018': "'", '\u2019': "'", '\u201a': "'", '\u201b': "'", '\u201c': `"`, '\u201d': `"`, '\u201e': `"`, '\u2010': "-", '\u2011': "-",
	'\u2012': "-", '\u2013': "-", '\u2014': "--", '\u2015': "--", '\u2026': "...", '\u2022': "*", '\u00a0': " ", '\u2002': " ", '\u2003': " ",
	'\u2009': " ", '\u202f': " ", '\u20ac': "EUR", '\u2122': "(TM)", '\u00a9': "(C)", '\u00ae': "(R)", '\u00ab': "<<", '\u00bb': ">>",
	'\u00df': "ss", '\u00e6': "ae", '\u00c6': "AE", '\u0153': "oe", '\u0152': "OE", '\u00f8': "o", '\u00d8': "O", '\u0142': "l", '\u0141': "L",
	'\u200b': "", '\ufeff': "", '\u2028': "\r\n",
}

// nearest returns the letter without its marks, or a question mark.
func nearest(r rune) string {
	if text, is := plainer[r]; is {
		return text
	}
	base, _ := utf8.DecodeRuneInString(norm.NFKD.String(string(r)))
	if base < utf8.RuneSelf && base >= ' ' {
		return string(base)
	}
	return "?"
}

// fitted returns what writes a text with other letters for those that a code page lacks.
func fitted(text func(io.Writer) error, page codepage.Page, instead lacking) func(io.Writer) error {
	return through(text, func(w io.Writer, r io.Reader) error {
		f := &fitter{w: w, page: page, instead: instead, known: map[rune]string{}}
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
		_, err := w.Write(f.split)
		return err
	})
}

// fitter writes UTF-8.
type fitter struct {
	w       io.Writer
	page    codepage.Page
	instead lacking
	known   map[rune]string
	split   []byte // the start of a letter
}

// knownMost is how many letters are kept in memory.
const knownMost = 10_000

// Write writes a piece.
func (f *fitter) Write(octets []byte) (int, error) {
	var out bytes.Buffer
	rest := append(f.split, octets...)
	for len(rest) > 0 && utf8.FullRune(rest) {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		if r < utf8.RuneSelf {
			out.WriteByte(byte(r))
			continue
		}
		out.WriteString(f.letter(r))
	}
	f.split = bytes.Clone(rest)
	_, err := f.w.Write(out.Bytes())
	return len(octets), err
}

func (f *fitter) letter(r rune) string {
	if text, is := f.known[r]; is {
		return text
	}
	text := string(r)
	if _, err := f.page.Encode(text); err != nil {
		text = f.instead(r)
		if _, err := f.page.Encode(text); err != nil {
			text = "?"
		}
	}
	if len(f.known) < knownMost {
		f.known[r] = text
	}
	return text
}

// formed plans the message in a form whose attachments are no parts.
func (p *planner) formed() (body *part, attached []*part, err error) {
	if p.Form.RichText {
		return p.richText()
	}
	body, err = p.uuencoded()
	return body, nil, err
}

// richText plans plain text with the whole object beside it, MS-OXTNEF §1.3.
func (p *planner) richText() (body *part, attached []*part, err error) {
	if body, _, err = p.body(); body == nil && err == nil {
		body, err = p.textPart("text/plain", func(io.Writer) error { return nil }, "")
	}
	if err != nil {
		return nil, nil, err
	}
	m := p.m
	if !p.Bcc {
		if m, err = withoutHidden(m, 0); err != nil {
			return nil, nil, err
		}
	}
	content := func(w io.Writer) error { return tnef.Encode(w, m, tnef.Options{}) }
	sum, err := sumOf(content)
	fields := []string{
		"Content-Type: application/ms-tnef; name=winmail.dat\r\n", "Content-Disposition: attachment; filename=winmail.dat\r\n",
	}
	return body, []*part{leaf(content, fields, "base64", sum)}, err
}

// withoutHidden returns an object without those who get it in secret (RFC 5322 §3.6.3), and so the ones in it.
func withoutHidden(m *mapi.Message, depth int) (*mapi.Message, error) {
	if depth > mapi.DepthMost {
		return nil, ErrTooDeep
	}
	shown := &mapi.Message{}
	copyTo(&shown.Properties, &m.Properties)
	shown.Delete(mapi.PidTagDisplayBcc, mapi.PidTagTransportMessageHeaders)
	attended := hasOrganizer(m.Text(mapi.PidTagMessageClass)) // a room is of their kind
	for _, r := range m.Recipients {
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		if kind&3 != recipientBcc || attended && r.Has(mapi.PidTagRecipientFlags) {
			shown.Recipients = append(shown.Recipients, r)
		}
	}
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			embedded, err := withoutHidden(a.Embedded, depth+1)
			if err != nil {
				return nil, err
			}
			other := &mapi.Attachment{Data: a.Data, Embedded: embedded}
			copyTo(&other.Properties, &a.Properties)
			a = other
		}
		shown.Attachments = append(shown.Attachments, a)
	}
	return shown, nil
}

func copyTo(to, from *mapi.Properties) {
	for property := range from.All() {
		to.Put(property)
	}
}

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
