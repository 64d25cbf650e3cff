package content

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// correlator is the field by which Exchange knows that TNEF is of the message that it comes with.
const correlator = "X-MS-TNEF-Correlator"

// Make gives a message what its text does not say as TNEF (winmail.dat), as Exchange sends it to those who read that: the
// header and the plain text stay, everything else is in the TNEF. A text that is HTML alone is in both. Reports, what is
// signed or encrypted, and what has TNEF already pass as they came, as does what cannot be converted; Kept says why.
//
// One message gives the same octets each time. Errors are as those of [Winmail.Open].
func (w *Winmail) Make(ctx context.Context, message io.ReaderAt, size int64) (Opened, error) {
	return w.convert(ctx, message, size, (*opening).make)
}

// make writes the message with its TNEF.
func (o *opening) make() (result Opened, err error) {
	root, err := entity.Read(o.source, o.size)
	if err != nil {
		return Opened{}, err
	}
	if hasSealed(root) {
		return Opened{}, nil
	}
	m, err := mime.Reader{}.Read(o.source, o.size)
	if err != nil || !isOrdinary(m) {
		return Opened{}, err
	}
	if o.find(root, enclosed{message: root}); len(o.found) > 0 {
		return Opened{}, nil
	}
	id := m.Text(mapi.PidTagInternetMessageId)
	m.Set(mapi.PidTagTnefCorrelationKey, mapi.Binary(id+"\x00"))
	m.Delete(mapi.PidTagTransportMessageHeaders)
	m.Recipients = nil // the header says who they are, and nobody else may learn it
	stream := buffer.Create(o.buffers)
	defer stream.Discard() //nolint:errcheck // it is not needed any more
	if err := tnef.Encode(limited{o, stream}, m, tnef.Options{}); err != nil {
		return Opened{}, err
	}
	if err := stream.Commit(); err != nil {
		return Opened{}, err
	}
	body, attached, err := mime.Writer{}.Parts(besides(m, mapi.Section(&watched{ctx: o.ctx, r: stream}, 0, stream.Size())))
	if err != nil {
		return Opened{}, err
	}
	defer func() {
		if err != nil && o.out != nil {
			_ = o.out.Discard() // the first error is the one that is told
		}
	}()
	field := ""
	if id != "" && root.Field(correlator) == "" {
		field = entity.FormatText(correlator, id)
	}
	if err := o.rewrite(enclosed{message: root}, field, mime.Multipart("mixed", together(body, attached)...)); err != nil {
		return Opened{}, err
	}
	return Opened{Message: o.out, Parts: 1}, o.out.Commit()
}

// hasSealed says whether something in a message is signed or encrypted (RFC 1847).
func hasSealed(e *entity.Entity) bool {
	return e.Is("multipart/signed") || e.Is("multipart/encrypted") || slices.ContainsFunc(e.Parts, hasSealed)
}

// isOrdinary says whether a message may be sent as TNEF.
func isOrdinary(m *mapi.Message) bool {
	class := strings.ToLower(m.Text(mapi.PidTagMessageClass))
	return class == "ipm.note" || strings.HasPrefix(class, "ipm.schedule.meeting.")
}

// besides is a message of the text of another one, and its TNEF.
func besides(m *mapi.Message, stream mapi.Content) *mapi.Message {
	a := &mapi.Attachment{Data: stream}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String("winmail.dat"))
	a.Set(mapi.PidTagAttachMimeTag, mapi.String("application/ms-tnef"))
	text := &mapi.Message{Attachments: []*mapi.Attachment{a}}
	shown := mapi.Key(mapi.PidTagBody)
	if !m.Has(shown) {
		shown = mapi.PidTagHtml
	}
	for _, key := range []mapi.Key{shown, mapi.PidTagInternetCodepage} {
		if v := m.Get(key); v != nil {
			text.Set(key, v)
		}
	}
	return text
}

// limited bounds what is written to a buffer.
type limited struct {
	o  *opening
	to io.Writer
}

// Write implements [io.Writer].
func (l limited) Write(octets []byte) (int, error) {
	if err := l.o.ctx.Err(); err != nil {
		return 0, err
	}
	return l.to.Write(octets)
}
