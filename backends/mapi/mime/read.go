package mime

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Reader makes message objects of Internet mail, MS-OXCMAIL §2.2. The zero Reader is ready.
type Reader struct {
	// Received is when the message has come (PidTagMessageDeliveryTime). Without it that is not set.
	Received time.Time
	// TNEF opens a part that has properties and attachments in TNEF, and adds what is in it to the message
	// (MS-OXTNEF §1.3), as that of [OpenTNEF] does. If it fails the message must be as it was, and the part becomes an attachment, as
	// it does where TNEF is nil.
	TNEF func(m *mapi.Message, data mapi.Content) error
	// Skeleton has the object get a skeleton (PidTagMimeSkeleton, MS-OXCMAIL §2.4.3.1), by which a Writer that is told to
	// (Writer.Kept) gives the message back as it came. The message is read twice more then.
	Skeleton bool
	// UUEncode has files that stand in a text in UUENCODE become attachments.
	UUEncode bool
	// Domains are those of the store: the address of a recipient in one of them that encapsulates another one (IMCEA) is read as that
	// [none]. MS-OXCMAIL §2.2.3.1.2.
	Domains []string

	left *left // nil: it is the outermost message
}

// left is what may still be made of a message and of those in it: a stranger gives few octets for each of these, which take
// kilobytes in memory.
type left struct {
	series     int // events that recur
	events     int // those that are messages in the message
	messages   int // in the message
	recipients int // negative: there are too many
}

func newLeft() *left { return &left{seriesMost, eventsMost, messagesMost, recipientsMost} }

// messagesMost is how many messages in a message are opened. Further ones are files.
const messagesMost = 1000

// recipientsMost is how many recipients a message may have, with those of the messages in it. Exchange takes less.
const recipientsMost = 10_000

// ErrTooManyRecipients says that a message has more recipients than are read.
var ErrTooManyRecipients = errors.New("the message has too many recipients")

// Read makes a message object of Internet mail. What is in the object refers to the source. The errors are those of
// [entity.Read], and [ErrTooManyRecipients].
func (r Reader) Read(source io.ReaderAt, size int64) (*mapi.Message, error) {
	e, err := entity.Read(source, size)
	if err != nil {
		return nil, err
	}
	m, err := r.convert(e)
	if err != nil {
		return nil, err
	}
	return m, r.proved(m, e)
}

// conversion is a message that is being read.
type conversion struct {
	Reader
	m           *mapi.Message
	sent        time.Time // the Date field; zero without one that can be read
	plain, html *entity.Entity
	open        bool // a body is still looked for
	within      int  // alternatives that this part is in
	tnef        []*entity.Entity
	enriched    *entity.Entity     // text/enriched, which counts where there is no HTML
	opened      bool               // TNEF was, or UUENCODE
	related     []*mapi.Attachment // may be pictures in the text
	played      map[*entity.Entity]played
	text        []*io.SectionReader // the plain text without the files in it, nil for all of it
}

func (r Reader) convert(e *entity.Entity) (*mapi.Message, error) {
	if r.left == nil {
		r.left = newLeft()
	}
	c := &conversion{Reader: r, m: &mapi.Message{}, open: true}
	c.m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	c.envelope(e)
	for _, step := range []func(*entity.Entity) error{c.content, c.body, c.inline, c.openTNEF} {
		if err := step(e); err != nil {
			return nil, err
		}
		if c.left.recipients < 0 {
			return nil, ErrTooManyRecipients
		}
	}
	c.summary()
	return c.m, c.skeleton(e)
}

// content finds out what kind of message it is, MS-OXCMAIL §2.2.3.2, and takes it apart.
func (c *conversion) content(e *entity.Entity) error {
	switch {
	case e.Is("multipart/signed") && len(e.Parts) > 0:
		return c.signed(e)
	case isOpaque(e):
		return c.opaque(e)
	case e.Is("multipart/report") && len(e.Parts) > 0:
		return c.report(e)
	}
	if is, err := c.contact(e); is || err != nil {
		return err
	}
	return c.walk(e)
}

// summary sets what follows from the rest of the message.
func (c *conversion) summary() {
	flags := mapi.Integer32(messageUnmodified)
	visible := slices.ContainsFunc(c.m.Attachments, func(a *mapi.Attachment) bool { return !a.Bool(mapi.PidTagAttachmentHidden) })
	if visible {
		flags |= messageHasAttachments
	}
	if c.m.Bool(mapi.PidTagReadReceiptRequested) {
		flags |= messageNotifyRead | messageNotifyUnread
	}
	c.m.Set(mapi.PidTagMessageFlags, flags)
	c.m.Set(mapi.PidTagHasAttachments, mapi.Boolean(visible))
	for i, a := range c.m.Attachments {
		a.Set(mapi.PidTagAttachNumber, mapi.Integer32(i)) // there are at most [entity.EntitiesMost]
	}
	c.displayed()
}

// Bits of PidTagMessageFlags, MS-OXCMSG §2.2.1.6.
const (
	messageUnmodified     = 0x0002
	messageHasAttachments = 0x0010
	messageNotifyRead     = 0x0100
	messageNotifyUnread   = 0x0200
)
