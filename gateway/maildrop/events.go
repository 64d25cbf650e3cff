package maildrop

import (
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
)

// messageIDsMost bounds the Message-IDs that a session remembers for the log of its deletions, in
// octets. For the others, the log line of the message that was sent has the same unique-id.
const messageIDsMost = 256 << 10

// messageIDs are the Message-IDs (RFC 5322 §3.6.4) of the messages that were sent in this session, by
// index.
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

// named adds a message's identifiers to an event.
func (d *drop) named(e *zerolog.Event, event string, i int) *zerolog.Event {
	id := string(d.list.id(i))
	return e.Str(events.Event, event).Str(events.Folder, d.folder).Str("id", id[:min(len(id), 256)]).
		Str("uidl", d.list.uidl(i)).Str(events.MessageID, d.messageIDs.of[i])
}

// deletion logs the outcome for one message that the client has marked with DELE (RFC 1939 §5).
func (d *drop) deletion(i int, outcome string, err error) {
	level := zerolog.InfoLevel
	if err != nil {
		level = zerolog.WarnLevel
	}
	d.named(d.log(level), events.Deletion, i).Str(events.Outcome, outcome).AnErr("cause", err).Msg("deletion")
}
