// Package reports puts delivery status notifications (package notice) on their way: into the spool, to the sender and,
// of some, to the administrator. It is for whoever finds out what became of a message: clients' sessions (package
// routing), and the relay.
package reports

import (
	"errors"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Maker makes what the spool takes in of reports.
type Maker struct {
	Log     zerolog.Logger
	Buffers buffer.Options
	// Back is the way to an address.
	Back func(address string) (route.Way, error)
	// Later says of what reading a message has failed with whether it can be read later: no report is made now. Nil:
	// it never can.
	Later func(err error) bool
	Settings
}

// Settings are what the administrator says of all reports. The zero value: English, and no copies.
type Settings struct {
	Language string // as of [notice.Report]
	// Copies are those that the administrator gets.
	Copies notice.Copies
}

// Make makes a report to who gets it ([notice.Report.To]), by a way. The caller discards the body. A
// message of which nothing can be read, now or later, is reported on without any of it.
func (m Maker) Make(r notice.Report, by route.Way) (n spool.New, err error) {
	r.Language = m.Language
	n.Message = spool.Message{Key: r.Key, Recipients: []spool.Recipient{spool.ReportTo(r.To(), by.Destination, by.Held)}}
	if m.Copies.Wants(r) {
		if way, err := m.Back(m.Copies.To); err != nil {
			m.Log.Error().Err(err).Str("to", m.Copies.To).Msg("the administrator gets no copy of a report: nothing leads to relay.report_to")
		} else {
			n.Recipients = append(n.Recipients, spool.ReportTo(m.Copies.To, way.Destination, way.Held))
		}
	}
	n.Body, n.Envelope, err = r.Fill(m.Buffers)
	if unread, is := errors.AsType[*notice.OriginalError](err); is && (m.Later == nil || !m.Later(unread)) {
		m.Log.Error().Err(unread).Str("key", r.Key).Msg("the message cannot be read: its sender is told what became of it without any of it")
		r.Original = nil
		n.Body, n.Envelope, err = r.Fill(m.Buffers)
	}
	return n, err
}
