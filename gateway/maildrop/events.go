package maildrop

import (
	"errors"
	"io"
	"time"

	"github.com/rs/zerolog"

	contents "github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// messageIDsMost bounds the Message-IDs that a session remembers for the log of its deletions, in
// octets. One that is not remembered stands with the same unique-id where the message went out.
const messageIDsMost = 256 << 10

// messageIDs are those of the messages that went out in this session, by index.
type messageIDs struct {
	of   map[int]string
	left int
}

func (m *messageIDs) remember(i int, id string) {
	if m.of == nil {
		m.of, m.left = make(map[int]string), messageIDsMost
	}
	if _, known := m.of[i]; known || id == "" || len(id) > m.left {
		return
	}
	m.of[i], m.left = id, m.left-len(id)
}

// named adds what a message is called to an event.
func (d *drop) named(e *zerolog.Event, event string, i int) *zerolog.Event {
	id := string(d.list.id(i))
	return e.Str(events.Event, event).Str(events.Folder, d.folder).Str("id", id[:min(len(id), 256)]).
		Str("uidl", d.list.uidl(i)).Str(events.MessageID, d.messageIDs.of[i])
}

// deletion logs what became of one message that the client has deleted.
func (d *drop) deletion(i int, outcome string, err error) {
	level := zerolog.InfoLevel
	if err != nil {
		level = zerolog.WarnLevel
	}
	d.named(d.log.WithLevel(level), events.Deletion, i).Str(events.Outcome, outcome).AnErr("cause", err).Msg("deletion")
}

// outgoing is a whole message on its way to the client: its end is logged.
type outgoing struct {
	pop3.Content
	drop   *drop
	index  int
	began  time.Time
	octets int64
}

// writerOutgoing is one that can write itself.
type writerOutgoing struct{ *outgoing }

// logging watches a message that a client has asked for. A top is no message.
func (d *drop) logging(i, top int, c pop3.Content) pop3.Content {
	if top >= 0 {
		return c
	}
	o := &outgoing{Content: c, drop: d, index: i, began: time.Now()}
	if _, ok := c.(io.WriterTo); ok {
		return writerOutgoing{o}
	}
	return o
}

// passing looks at what goes by: the beginning has the Message-ID.
func (o *outgoing) passing(p []byte) {
	if o.octets == 0 && len(p) > 0 {
		o.drop.messageIDs.remember(o.index, contents.MessageID(p[:min(len(p), contents.MessageIDWithin)]))
	}
	o.octets += int64(len(p))
}

func (o *outgoing) done() {
	o.drop.named(o.drop.log.Info(), events.MessageOut, o.index).Int64(events.Octets, o.octets).
		Dur(events.TookMS, time.Since(o.began)).Msg("message sent to the client")
}

// Read implements [io.Reader].
func (o *outgoing) Read(p []byte) (int, error) {
	n, err := o.Content.Read(p)
	o.passing(p[:n])
	if errors.Is(err, io.EOF) {
		o.done()
	}
	return n, err
}

// WriteTo implements [io.WriterTo].
func (o writerOutgoing) WriteTo(w io.Writer) (int64, error) {
	n, err := o.Content.(io.WriterTo).WriteTo(passer{o.outgoing, w})
	if err == nil {
		o.done()
	}
	return n, err
}

// passer is the writer that an outgoing message is written to.
type passer struct {
	message *outgoing
	to      io.Writer
}

func (p passer) Write(b []byte) (int, error) {
	p.message.passing(b)
	return p.to.Write(b)
}
