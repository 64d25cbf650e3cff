package convert

import (
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/mapi/msg"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// DumpMost is how many octets a dump may have, and how many the contents of a message that is dumped.
const DumpMost = 64 << 20

// Errors of conversions.
var (
	// ErrDump says that a dump would be too large.
	ErrDump = fmt.Errorf("a dump of properties is read and written in memory, and this one is larger than %d MiB: use eml, tnef or fx", DumpMost>>20)
	// ErrEmpty says that there is no message in a stream.
	ErrEmpty = errors.New("there is no message in the stream")
	// ErrMore says that there is more than one message in a stream.
	ErrMore = errors.New("there is more than one message in the stream: the first was converted")
	// ErrWriteMSG says that .msg files are not written.
	ErrWriteMSG = errors.New("msg is read, not written: Outlook opens eml, too")
)

// Reader reads messages.
type Reader struct {
	// Keep takes octets to where they can be read anywhere for as long as the message is in use, such as a file. It
	// returns how many there are.
	Keep func(r io.Reader) (io.ReaderAt, int64, error)
	// Skeleton has Internet mail get the skeleton (MS-OXCMAIL §2.4.3) by which a [Writer] makes it again as it came.
	Skeleton bool
	// Domain is that of addresses in Internet mail that stand for others of other kinds, and are read as these. Without it none are.
	Domain string
}

// Read reads the message that file has in its first size octets, where it must stay for as long as the message is in use.
// The problems are what was not as it should be. If something of the message was lost there are a message and an error.
func (r Reader) Read(from Format, file io.ReaderAt, size int64) (m *mapi.Message, problems []error, err error) {
	switch from {
	case EML:
		m, err = r.mail().Read(file, size)
	case TNEF:
		return r.tnef(file, size)
	case MSG:
		return r.msg(file, size)
	case FastTransfer:
		m, err = r.fastTransfer(io.NewSectionReader(file, 0, size))
	case Dump:
		if size > DumpMost {
			return nil, nil, ErrDump
		}
		m, err = mapi.ReadDump(io.NewSectionReader(file, 0, size))
	default:
		err = errFormat
	}
	return m, nil, err
}

// mail is what reads Internet mail.
func (r Reader) mail() mime.Reader {
	reader := mime.Reader{TNEF: mime.OpenTNEF(r.Keep), Skeleton: r.Skeleton}
	if r.Domain != "" {
		reader.Domains = []string{r.Domain}
	}
	return reader
}

func (Reader) tnef(file io.ReaderAt, size int64) (*mapi.Message, []error, error) {
	s, err := tnef.Decode(file, size)
	if s == nil {
		return nil, nil, err
	}
	var problems []error
	for _, p := range s.Problems {
		problems = append(problems, p)
	}
	return s.Message, more(problems, s.MoreProblems), err
}

func (Reader) msg(file io.ReaderAt, size int64) (*mapi.Message, []error, error) {
	f, err := msg.Read(file, size)
	if f == nil {
		return nil, nil, err
	}
	var problems []error
	for _, p := range f.Problems {
		problems = append(problems, p)
	}
	return f.Message, more(problems, f.MoreProblems), err
}

func more(problems []error, n int) []error {
	if n > 0 {
		problems = append(problems, fmt.Errorf("and %d more", n))
	}
	return problems
}

func (r Reader) fastTransfer(stream io.Reader) (*mapi.Message, error) {
	keep := func(value io.Reader) (mapi.Content, error) {
		file, size, err := r.Keep(value)
		return mapi.Section(file, 0, size), err
	}
	messages := fasttransfer.NewReader(stream, fasttransfer.Options{Keep: keep})
	m, err := messages.Message()
	if errors.Is(err, io.EOF) {
		return nil, ErrEmpty
	}
	if err != nil {
		return nil, err
	}
	if _, err := messages.Message(); !errors.Is(err, io.EOF) {
		return m, errors.Join(ErrMore, err)
	}
	return m, nil
}

// Writer writes messages.
type Writer struct {
	// Domain is that of addresses of other kinds than SMTP in Internet mail. Without it they are left out.
	Domain string
}

// Write writes a message.
func (w Writer) Write(to Format, out io.Writer, m *mapi.Message) error {
	switch to {
	case EML:
		return w.mail().Write(out, m)
	case TNEF:
		return tnef.Encode(out, m, tnef.Options{})
	case FastTransfer:
		f := fasttransfer.NewWriter(out)
		return errors.Join(f.Message(m), f.Flush())
	case Dump:
		if contentSize(m) > DumpMost {
			return ErrDump
		}
		return mapi.WriteDump(out, m)
	case MSG:
		return ErrWriteMSG
	}
	return errFormat
}

// mail is what writes Internet mail.
func (w Writer) mail() mime.Writer { return mime.Writer{Domain: w.Domain, Kept: true, Bcc: true} }

// contentSize is how many octets the contents and streamed values of a message have.
func contentSize(m *mapi.Message) int64 {
	sum := int64(0)
	add := func(bag *mapi.Properties) {
		for p := range bag.All() {
			if v, ok := p.Value.(mapi.Streamed); ok {
				sum += v.Content.Size
			}
		}
	}
	add(&m.Properties)
	for _, a := range m.Attachments {
		add(&a.Properties)
		sum += a.Data.Size
		if a.Embedded != nil {
			sum += contentSize(a.Embedded)
		}
	}
	return sum
}
