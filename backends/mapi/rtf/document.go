package rtf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Kind is what a document was made from. MS-OXRTFEX §2.2.3.1.
type Kind int

const (
	Genuine  Kind = iota // it was written as RTF
	FromHTML             // it has HTML inside
	FromText             // it was plain text
)

// Options say what a conversion may do. The zero value is usable: pictures and attachments are counted, not kept.
type Options struct {
	// Most is how many octets may be written, DefaultMost if it is 0. What would be more ends with ErrTooLong.
	Most int64
	// Picture is called for each picture when its first octet has come, with what is known of it. Its octets are
	// written to w, which may be nil. With a Content-ID, PNG and JPEG pictures are shown in HTML.
	Picture func(Picture) (contentID string, w io.WriteCloser, err error)
	// Attachment says what stands in the place of the n-th attachment, from 0, in the order of the placeholders.
	Attachment func(n int) Attachment
}

// DefaultMost is 64 MiB.
const DefaultMost = 64 << 20

// ErrTooLong says that a document becomes longer than Options.Most.
var ErrTooLong = errors.New("rtf: the document becomes longer than is allowed")

// Report is what a conversion found.
type Report struct {
	CodePages    []CodePage // those that are not known
	Pictures     []Picture  // the first 1,000
	PictureCount int
	Attachments  int      // placeholders
	Refused      []string // addresses that are no links, of any length up to 4,096 octets: the first 100
}

// CodePage is a code page whose octets could not be decoded, each of which is U+FFFD in the text.
type CodePage struct {
	Number int    // -1 for a charset without one; [Symbols] for fonts of symbols, whose octets are from U+F000
	Count  int    // of octets
	Octets []byte // the first 65,536
}

const (
	mostCodePages     = 16
	mostUnknownOctets = 64 << 10
	mostRefused       = 100
)

func (r *Report) unknown(page int, c byte) {
	at := slices.IndexFunc(r.CodePages, func(p CodePage) bool { return p.Number == page })
	if at < 0 {
		if len(r.CodePages) == mostCodePages {
			return
		}
		at = len(r.CodePages)
		r.CodePages = append(r.CodePages, CodePage{Number: page})
	}
	p := &r.CodePages[at]
	p.Count++
	if len(p.Octets) < mostUnknownOctets {
		p.Octets = append(p.Octets, c)
	}
}

func (r *Report) refused(url string) {
	if len(r.Refused) < mostRefused {
		r.Refused = append(r.Refused, url)
	}
}

// Document is RTF that is read once, by WriteHTML or WriteText.
type Document struct {
	r       *bufio.Reader
	options Options
	kind    Kind
}

// lookahead is what is read to recognise a document.
const lookahead = 4096

// Open looks at the beginning of r. It fails with ErrNoRTF if that is no RTF.
func Open(r io.Reader, o Options) (*Document, error) {
	if o.Most == 0 {
		o.Most = DefaultMost
	}
	buffered := bufio.NewReaderSize(&failed{r: r}, lookahead)
	ahead, err := buffered.Peek(lookahead)
	begin := bytes.TrimLeft(ahead, "\r\n\t \x00\ufeff")
	if !bytes.HasPrefix(begin, []byte(`{\rtf`)) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("rtf: reading the beginning: %w", err)
		}
		return nil, fmt.Errorf("%w: it does not begin with {\\rtf", ErrNoRTF)
	}
	if _, err := buffered.Discard(len(ahead) - len(begin)); err != nil {
		return nil, err
	}
	return &Document{r: buffered, options: o, kind: recognise(begin)}, nil
}

// OpenCompressed opens the value of PidTagRtfCompressed: a Decompressor, and what is in it.
func OpenCompressed(r io.Reader, o Options) (*Document, error) {
	decompressor, err := NewDecompressor(r)
	if err != nil {
		return nil, err
	}
	return Open(decompressor, o)
}

// IsIncomplete says whether an error is about the document: what could be read of it is not all, or may be wrong. Other
// errors are those of reading it, or of writing what becomes of it.
func IsIncomplete(err error) bool {
	return slices.ContainsFunc([]error{ErrFormat, ErrNoRTF, ErrTruncated, ErrChecksum, ErrSize, ErrTooLong}, func(of error) bool { return errors.Is(err, of) })
}

// failed fails again and again once it has: what was read before is looked at first.
type failed struct {
	r   io.Reader
	err error
}

func (f *failed) Read(p []byte) (n int, err error) {
	if f.err == nil {
		n, f.err = f.r.Read(p)
	}
	return n, f.err
}

// ErrNoRTF says that the input is something else.
var ErrNoRTF = errors.New("rtf: the document is no RTF")

// recognise looks for \fromhtml1 or \fromtext among the first ten tokens, of which each is a brace or a control
// word. MS-OXRTFEX §2.2.3.1.
func recognise(begin []byte) Kind {
	l := lexer{r: bufio.NewReader(bytes.NewReader(begin))}
	for range 10 {
		t, err := l.next()
		if err != nil || t.kind != tokenOpen && t.kind != tokenWord {
			break
		}
		switch string(t.word) {
		case "fromhtml":
			if t.number == 1 {
				return FromHTML
			}
		case "fromtext":
			return FromText
		}
	}
	return Genuine
}

// Kind says what the document was made from.
func (d *Document) Kind() Kind { return d.kind }

// WriteHTML reads the document, and what is behind it, and writes HTML in UTF-8: the HTML that is inside, as it was, or
// else what the document looks like. Line ends are CRLF. The HTML that is inside may name another charset in a <meta>:
// the Content-Type of a part goes before it (HTML 4.01 §5.2.2).
//
// The errors are ErrTruncated, ErrTooLong, those of a Decompressor, and others of reading and writing. What could be
// read has been written by then, and is complete HTML if the document is not FromHTML.
func (d *Document) WriteHTML(w io.Writer) (Report, error) {
	p := d.parser(w)
	p.sink = &htmlSink{parser: p, output: p.out}
	if d.kind == FromHTML {
		p.sink, p.encapsulated = &tagSink{p.out}, true
	}
	return d.run(p)
}

// WriteText writes plain text in UTF-8: the text that is inside, or else that of the document. Line ends are CRLF.
func (d *Document) WriteText(w io.Writer) (Report, error) {
	p := d.parser(w)
	p.sink = &textSink{parser: p, output: p.out}
	if d.kind == FromText {
		p.sink, p.encapsulated = &plainSink{p.out}, true
	}
	return d.run(p)
}

func (d *Document) parser(w io.Writer) *parser {
	p := newParser(d.r, d.options)
	p.out = &output{w: bufio.NewWriter(w), left: d.options.Most}
	return p
}

func (d *Document) run(p *parser) (Report, error) {
	err := p.run()
	if err == nil { // what is behind the document is none of it, but there may be an error
		_, err = io.Copy(io.Discard, d.r)
	}
	if failed := p.out.w.Flush(); failed != nil { // whatever the document is, that is not what was written
		return p.report, failed
	}
	return p.report, err
}

// output is what is written, up to a bound.
type output struct {
	w    *bufio.Writer
	left int64
	err  error
}

// write writes all of it, or nothing and returns false.
func (o *output) write(texts ...string) bool {
	for _, text := range texts {
		o.left -= int64(len(text))
	}
	if o.left < 0 {
		o.fail(ErrTooLong)
	}
	if o.err != nil {
		return false
	}
	for _, text := range texts {
		if _, err := o.w.WriteString(text); err != nil {
			o.fail(err)
		}
	}
	return o.err == nil
}

func (o *output) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}
