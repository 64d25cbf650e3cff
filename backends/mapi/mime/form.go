package mime

import (
	"errors"
	"io"

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
