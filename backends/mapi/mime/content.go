package mime

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// sumOf returns the hash of a content, which is all that has to be known before it is written in base64.
func sumOf(content func(io.Writer) error) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = content(h)
	h.Sum(sum[:0])
	return sum, err
}

// survey is what has to be known of a text before it is written.
type survey struct {
	hash    hash.Hash
	size    int64
	high    int64 // octets above 127
	control bool  // NULs and other controls that mail does not carry as they are
	bare    bool  // CR or LF that are no line end
	dashed  bool  // a line that could be a delimiter
	invalid bool  // no UTF-8
	longest int   // octets of a line

	line  []byte // the start of the line
	now   int    // octets of the line
	cr    bool
	split []byte // the start of a character
}

// measure surveys a text.
func measure(content func(io.Writer) error) (*survey, error) {
	s := &survey{hash: sha256.New()}
	err := content(s)
	s.bare = s.bare || s.cr
	s.invalid = s.invalid || len(s.split) > 0
	return s, err
}

// Write looks at a piece.
func (s *survey) Write(p []byte) (int, error) {
	_, _ = s.hash.Write(p) // a hash does not fail
	s.size += int64(len(p))
	s.validate(p)
	for _, c := range p {
		s.octet(c)
	}
	return len(p), nil
}

func (s *survey) octet(c byte) {
	switch {
	case c == '\n':
		s.bare = s.bare || !s.cr
		s.line, s.now, s.cr = s.line[:0], 0, false
		return
	case s.cr:
		s.bare = true
	case c >= utf8.RuneSelf:
		s.high++
	case c < ' ' && c != '\t' && c != '\r' || c == 0x7f:
		s.control = true
	}
	if s.cr = c == '\r'; s.cr {
		return
	}
	if s.now++; s.now <= len("--"+boundaryStart) {
		s.line = append(s.line, c)
		s.dashed = s.dashed || string(s.line) == "--"+boundaryStart
	}
	s.longest = max(s.longest, s.now)
}

// validate looks for what is no UTF-8; characters lie across pieces.
func (s *survey) validate(p []byte) {
	if s.invalid {
		return
	}
	if len(s.split) > 0 {
		p = append(s.split, p...)
	}
	whole := len(p)
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if last := p[len(p)-i:]; utf8.RuneStart(last[0]) && !utf8.FullRune(last) {
			whole = len(p) - i
			break
		}
	}
	s.invalid = !utf8.Valid(p[:whole])
	s.split = bytes.Clone(p[whole:])
}

// lineMost is how long a line may be, RFC 5322 §2.1.1.
const lineMost = 998

// encoding chooses a transfer encoding: none for plain lines, quoted-printable for what can mostly be read, and otherwise
// base64. Only a text whose line ends may be made uniform is quoted-printable if it has others than CRLF.
func (s *survey) encoding(uniform bool) string {
	switch {
	case s.bare && !uniform:
		return "base64"
	case s.high*6 > s.size:
		return "base64"
	case s.high > 0 || s.control || s.dashed || s.bare || s.longest > lineMost:
		return "quoted-printable"
	}
	return ""
}

// sum returns the hash of the text.
func (s *survey) sum() (sum [sha256.Size]byte) {
	s.hash.Sum(sum[:0])
	return sum
}

// leaf makes a part of a content in a transfer encoding.
func leaf(content func(io.Writer) error, fields []string, encoding string, sum [sha256.Size]byte) *part {
	return &part{fields: fields, content: content, encoding: encoding, sum: sum}
}

// copying returns a function that writes what can be opened.
func copying(open func() (io.ReadCloser, error)) func(io.Writer) error {
	return func(w io.Writer) error {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		buffer := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buffer)
		_, err = io.CopyBuffer(w, r, *buffer)
		return err
	}
}

// copyBuffers are those of [copying]: a message may have very many small attachments.
var copyBuffers = sync.Pool{New: func() any { buffer := make([]byte, 32<<10); return &buffer }}

// inPage returns a function that writes a text, which another one gives as UTF-8, in a code page.
func inPage(text func(io.Writer) error, page codepage.Page) func(io.Writer) error {
	return func(w io.Writer) error {
		encoder := transform.NewWriter(w, page.Encoding.NewEncoder())
		if err := text(encoder); err != nil {
			return err
		}
		return encoder.Close()
	}
}

// utf8Page is for texts that their own code page does not hold.
var utf8Page, _ = codepage.Find(codepage.UTF8)

// textPart makes a part of a text, in the code page that the object names if that has all of its characters.
func (p *planner) textPart(mediaType string, text func(io.Writer) error, parameters string) (*part, error) {
	page := p.page()
	switch {
	case p.formPage() == nil:
	case mediaType == "text/html":
		text = fitted(text, page, reference)
	default:
		text = fitted(text, page, nearest)
	}
	content := inPage(text, page)
	s, err := measure(content)
	if err != nil {
		page, content = utf8Page, text
		if s, err = measure(content); err != nil {
			return nil, err
		}
	}
	charset := page.Charset
	if s.high == 0 && !isStateful(page) {
		charset = "us-ascii"
	}
	uniform := mediaType == "text/plain"
	return leaf(content, []string{"Content-Type: " + mediaType + "; charset=" + charset + parameters + "\r\n"}, s.encoding(uniform), s.sum()), nil
}

// isStateful says whether a code page says by ASCII's octets what is none of ASCII's characters (RFC 1468).
func isStateful(page codepage.Page) bool { return page.Charset == "iso-2022-jp" }

// page returns the code page in which texts are written.
func (p *planner) page() codepage.Page {
	if page := p.formPage(); page != nil {
		return *page
	}
	return p.pageOfObject()
}

// pageOfObject returns the code page of the object's texts, PidTagInternetCodepage.
func (p *planner) pageOfObject() codepage.Page {
	number, ok := p.m.Integer(mapi.PidTagInternetCodepage)
	if !ok {
		return utf8Page
	}
	page, known := codepage.Find(int(number))
	if !known || inHTML(page) != page.Number {
		return utf8Page
	}
	return page
}

// htmlPart makes a part of the octets of HTML, which stay as they are.
func (p *planner) htmlPart(content func(io.Writer) error) (*part, error) {
	s, err := measure(content)
	if err != nil {
		return nil, err
	}
	page := p.page()
	switch {
	case s.high == 0 && page.Number == codepage.UTF8:
		page, _ = codepage.Find(codepage.ASCII)
	case s.invalid && page.Number == codepage.UTF8:
		page, _ = codepage.Find(codepage.WesternEuro)
	}
	return leaf(content, []string{"Content-Type: text/html; charset=" + page.Charset + "\r\n"}, s.encoding(false), s.sum()), nil
}
