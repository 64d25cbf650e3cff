package mime

import (
	"bufio"
	"cmp"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Writer writes message objects as Internet mail, MS-OXCMAIL §2.1. The zero Writer is ready.
type Writer struct {
	// Domain is that of addresses of other kinds than SMTP, which are encapsulated (MS-OXCMAIL §2.1.3.1.8).
	// Without it they are left out, and their names stay.
	Domain string
	// Kept gives Internet mail back as it came: octet by octet by its skeleton (PidTagMimeSkeleton, MS-OXCMAIL §2.1.3.5), if
	// the object has one and was not changed since, and else with the fields of PidTagTransportMessageHeaders in the place
	// of those that properties make.
	Kept bool
	// Bcc has the Bcc field written, which mail on its way must not have (RFC 5322 §3.6.3).
	Bcc bool
	// Form is how messages are written for readers who are old or odd. What is Kept has no other form than that in which it came, as
	// with Exchange.
	Form Form
}

// ErrTooDeep says that messages lie deeper in one another than [mapi.DepthMost].
var ErrTooDeep = errors.New("there are messages in messages in messages without end")

// Write writes a message with CRLF as line ends. The contents of attachments and large bodies are read twice, and
// never whole in memory. The same object gives the same octets each time.
func (w Writer) Write(out io.Writer, m *mapi.Message) error {
	root, err := w.root(m)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(out) // what is written comes in pieces as short as a line end
	o := &output{w: buffered}
	root.write(o)
	if !o.atLineStart() && root.skeleton == nil {
		o.text("\r\n")
	}
	return cmp.Or(o.err, buffered.Flush())
}

// AsItCame says whether Write gives a message back by its skeleton.
func (w Writer) AsItCame(m *mapi.Message) (bool, error) {
	root, err := w.root(m)
	return err == nil && root.skeleton != nil, err
}

// planning is what the plans of a message and those in it share.
type planning struct {
	skeletons int64 // octets of skeletons that may still be read
	anew      bool  // without skeletons
	pictures  int   // octets of pictures of RTF that are in memory
	// planned are messages that were planned for a skeleton, which may turn out to be none: each is planned once.
	planned map[*mapi.Message]*part
}

// root plans the message. If what fills a skeleton would break it, it is planned without one.
func (w Writer) root(m *mapi.Message) (*part, error) {
	shared := &planning{skeletons: skeletonMost, planned: map[*mapi.Message]*part{}}
	root, err := w.plan(m, 0, shared)
	if err != nil || shared.skeletons == skeletonMost {
		return root, err
	}
	if broken, err := collides(root); err != nil || !broken {
		return root, err
	}
	return w.plan(m, 0, &planning{anew: true})
}

// plan finds out how a message is to be written: all that has to be known before its first octet.
func (w Writer) plan(m *mapi.Message, depth int, shared *planning) (*part, error) {
	if depth > mapi.DepthMost {
		return nil, ErrTooDeep
	}
	if planned := shared.planned[m]; planned != nil {
		return planned, nil
	}
	p := &planner{Writer: w, m: m, depth: depth, shared: shared}
	if w.Kept && !shared.anew {
		if root, err := p.skeleton(); root != nil || err != nil {
			return root, err
		}
		p.err = nil
	}
	root, err := p.entity()
	if err != nil {
		return nil, err
	}
	root.fields = append(append(p.header(), "MIME-Version: 1.0\r\n"), root.fields...)
	if p.err != nil {
		return nil, p.err
	}
	root.identify()
	return root, nil
}

// planner is a message that is going to be written.
type planner struct {
	Writer
	m     *mapi.Message
	depth int
	err   error // of reading what becomes fields
	// damaged says that the RTF could not be read whole.
	damaged bool
	// unshown says that the HTML lacks something of the RTF: what is in a code page that is not known, or pictures beyond the bounds.
	unshown bool
	// pictures are those of the RTF.
	pictures   []*mapi.Attachment
	pictureIDs map[int]string // their Content-IDs by their numbers; nil: nobody has looked for them
	shared     *planning
	bare       bool // the names of people are left out
	// inCalendar says that the calendar has the events that are attachments.
	inCalendar bool
}
