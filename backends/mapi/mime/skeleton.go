package mime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// A skeleton (PidTagMimeSkeleton) is a message without the contents that its object has: with those it is the message again,
// octet by octet. MS-OXCMAIL §2.4.3 and §2.1.3.5.
//
// Which part of the object fills which part of the skeleton is said by the Content-ID, as MS-OXCMAIL §2.4.3.1 has it. In skeletons
// of our own a field in front of those of the part says it, too, and how the content was encoded. A content that
// would not come out octet by octet, such as quoted-printable, stays in the skeleton, and counts as long as it says
// what the object says.

// Fields that a skeleton has beside those of the message.
const (
	skeletonID   = "X-Exchange-Mime-Skeleton-Content-Id" // MS-OXCMAIL §2.4.3.1
	skeletonPart = "X-Dipylon-Skeleton"
)

// skeletonMost is how many octets of skeletons are kept, and read. It is more than the headers of mail have.
const skeletonMost = 2 << 20

// errSkeleton says that a skeleton is not one of its object.
var errSkeleton = errors.New("the skeleton is not one of this message")

// role is what a part of a message is in the object.
type role string

// The roles of parts that are not opened.
const (
	rolePlain      role = "plain"
	roleHTML       role = "html"
	roleEnriched   role = "enriched" // became HTML
	roleAttachment role = "attachment"
	roleMessage    role = "message"
	roleSigned     role = "signed"
	roleCalendar   role = "calendar" // or a vCard
	roleReport     role = "report"
	roleNone       role = "multipart" // has parts
)

// filling is how a content gets into a skeleton.
type filling struct {
	role     role
	number   int  // of the attachment
	kept     bool // the content is in the skeleton
	encoding string
	width    int // of base64: characters on a line
	ends     int // line ends behind base64
	page     int // of plain text
	says     string
	envelope string // of the message itself
}

// field returns the line that says it.
func (f filling) field() string {
	line := fmt.Sprintf("%s: %s; number=%d; kept=%t; width=%d; ends=%d; page=%d", skeletonPart, f.role, f.number, f.kept, f.width, f.ends, f.page)
	for _, more := range []struct{ name, value string }{{"says", f.says}, {"envelope", f.envelope}} {
		if more.value != "" {
			line += ";\r\n\t" + more.name + "=" + more.value
		}
	}
	return line + "\r\n"
}

// parseFilling reads what [filling.field] has written. Numbers that are none are 0.
func parseFilling(value, encoding string) filling {
	p := entity.ParseParameters(value)
	number := func(name string) int {
		n, _ := strconv.Atoi(p.Get(name))
		return max(0, n)
	}
	return filling{
		role: role(p.Value), number: number("number"), kept: p.Get("kept") == "true", encoding: encoding,
		width: number("width"), ends: number("ends"), page: number("page"), says: p.Get("says"), envelope: p.Get("envelope"),
	}
}

// endsMost is how many empty lines behind base64 are made again.
const endsMost = 3

// write writes a content as it stands in the message.
func (f filling) write(w io.Writer, content func(io.Writer) error) error {
	if f.encoding != "base64" {
		return content(w)
	}
	if f.width < 4 || f.width > lineMost || f.ends > endsMost {
		return errSkeleton
	}
	encoder := entity.NewBase64(w, f.width)
	if err := errors.Join(content(encoder), encoder.Close()); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.Repeat("\r\n", f.ends))
	return err
}

// ofObject returns what writes the content that the object has for a part.
func (f filling) ofObject(m *mapi.Message, a *mapi.Attachment) (func(io.Writer) error, error) {
	switch f.role {
	case rolePlain:
		page, known := codepage.Find(f.page)
		if !known || !m.Has(mapi.PidTagBody) {
			return nil, errSkeleton
		}
		return inPage(copying(func() (io.ReadCloser, error) { return m.OpenText(mapi.PidTagBody) }), page), nil
	case roleHTML:
		if v := m.Get(mapi.PidTagHtml); v == nil || v.Type() != mapi.PtypBinary {
			return nil, errSkeleton
		}
		return copying(func() (io.ReadCloser, error) { return m.OpenBytes(mapi.PidTagHtml) }), nil
	case roleAttachment, roleSigned:
		if a == nil || a.Data.IsZero() {
			return nil, errSkeleton
		}
		return copying(a.Data.Open), nil
	}
	return nil, errSkeleton
}

// errDiffers says that two contents are not the same.
var errDiffers = errors.New("the octets differ")

// sameAs returns errDiffers if what is written is not what a reader gives.
func sameAs(want io.Reader, write func(io.Writer) error) error {
	c := &comparer{r: bufio.NewReader(want)}
	if err := write(c); err != nil {
		return err
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(errDiffers, err)
	}
	return nil
}

// comparer is a writer that fails at the first octet that is not that of a reader.
type comparer struct {
	r       *bufio.Reader
	scratch []byte
}

// Write compares a piece.
func (c *comparer) Write(octets []byte) (int, error) {
	if len(c.scratch) < len(octets) {
		c.scratch = make([]byte, len(octets))
	}
	want := c.scratch[:len(octets)]
	switch _, err := io.ReadFull(c.r, want); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0, errDiffers
	case err != nil:
		return 0, err
	case !bytes.Equal(octets, want):
		return 0, errDiffers
	}
	return len(octets), nil
}
