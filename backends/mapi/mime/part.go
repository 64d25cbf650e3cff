package mime

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/dipylon/dipylon/backends/mail/entity"
)

// part is a MIME entity that is going to be written. It has parts, or a message, or content.
type part struct {
	fields   []string // with their line ends
	subtype  string   // of a multipart
	extra    string   // parameters of a multipart's Content-Type, formatted
	parts    []*part
	message  *part
	content  func(io.Writer) error
	encoding string // of the content: "", base64 or quoted-printable
	raw      bool   // the content has its own fields, and the empty line behind them
	sum      [sha256.Size]byte
	skeleton *assembly // what is behind the fields, as it came
}

// boundaryStart is what boundaries begin with: no line of base64 or quoted-printable does (RFC 2045 §6.7, rule 5), and
// a text of which a line does is encoded.
const boundaryStart = "=_"

// identify gives boundaries to an entity and those in it. A boundary is made of all that is in between, so that
// it is always the same and nothing in there can be it.
func (p *part) identify() {
	all := sha256.New()
	p.hash(all)
}

func (p *part) hash(outer hash.Hash) {
	own := sha256.New()
	for _, f := range p.fields {
		_, _ = io.WriteString(own, f) // a hash does not fail
	}
	_, _ = own.Write(p.sum[:])
	if p.message != nil {
		p.message.hash(own)
	}
	for _, child := range p.parts {
		child.hash(own)
	}
	own.Sum(p.sum[:0])
	_, _ = outer.Write(p.sum[:])
}

func (p *part) boundary() string { return boundaryStart + hex.EncodeToString(p.sum[:16]) }

// write writes the entity.
func (p *part) write(o *output) {
	for _, f := range p.fields {
		o.text(f)
	}
	switch {
	case p.skeleton != nil:
		p.skeleton.write(o)
	case p.subtype != "":
		o.text("Content-Type: multipart/" + p.subtype + p.extra + ";\r\n\tboundary=\"" + p.boundary() + "\"\r\n\r\n")
		for _, child := range p.parts {
			o.text("--" + p.boundary() + "\r\n")
			child.write(o)
			o.text("\r\n")
		}
		o.text("--" + p.boundary() + "--\r\n")
	case p.message != nil:
		o.text("\r\n")
		p.message.write(o)
	case p.raw:
		o.copy(p.content)
	default:
		if p.encoding != "" {
			o.text("Content-Transfer-Encoding: " + p.encoding + "\r\n")
		}
		o.text("\r\n")
		o.encoded(p.encoding, p.content)
	}
}

// output is where a message goes. An error stays.
type output struct {
	w     io.Writer
	last  byte
	err   error
	guard *guard
}

// Write writes what has no error before it.
func (o *output) Write(octets []byte) (n int, err error) {
	if o.err != nil {
		return 0, o.err
	}
	n, o.err = o.w.Write(octets)
	if o.guard != nil {
		o.guard.look(octets[:n])
	}
	if n > 0 {
		o.last = octets[n-1]
	}
	return n, o.err
}

func (o *output) text(s string) { _, _ = o.Write([]byte(s)) } // the error stays

func (o *output) atLineStart() bool { return o.last == '\n' }

// copy writes what a function writes.
func (o *output) copy(content func(io.Writer) error) {
	if err := content(o); err != nil && o.err == nil {
		o.err = err
	}
}

// encoded writes content in a transfer encoding.
func (o *output) encoded(encoding string, content func(io.Writer) error) {
	encoder := entity.NewEncoder(o, encoding)
	o.copy(func(io.Writer) error { return content(encoder) })
	if err := encoder.Close(); err != nil && o.err == nil {
		o.err = err
	}
}
