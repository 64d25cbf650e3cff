package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/spool"
)

// report makes the notification that a sender wants (RFC 3461 §4.1, §5.2); nil: none.
func (r *Relay) report(s *settlement) (*spool.New, error) {
	wanted := notice.Wanted(s.c.Envelope, s.notices)
	if len(wanted) == 0 {
		return nil, nil
	}
	sender := s.c.Envelope.From
	destination, err := r.Routes.Destination(sender)
	if err != nil {
		r.Log.Warn().Err(err).Str("key", s.c.Key).Str("from", sender).Msg("no report is sent: the sender's address leads nowhere")
		return nil, nil
	}
	n := &spool.New{Message: spool.Message{
		Key: reportKey(s), Trace: s.c.Trace, Received: s.now,
		// RFC 3461 §6.1: nobody is told of what becomes of a report.
		Recipients: []spool.Recipient{{Recipient: backends.Recipient{Address: sender, Notify: backends.NotifyNever}, Destination: destination}},
	}}
	if err := r.write(s, n, wanted); err != nil {
		return nil, fmt.Errorf("report of %s: %w", s.c.Key, err)
	}
	return n, nil
}

// write writes the report.
func (r *Relay) write(s *settlement, n *spool.New, wanted []notice.Outcome) (err error) {
	report := notice.Report{
		Hostname: r.Hostname, Key: n.Key, Language: r.Language, Envelope: s.c.Envelope, Arrived: s.c.Received, Date: s.now, Outcomes: wanted,
	}
	// RFC 8689 §5: nothing of such a message may take a way that is not as safe, and who knows the report's.
	if !s.c.Envelope.RequireTLS {
		original, err := s.c.Content.Open(r.ending)
		if err != nil {
			return err
		}
		defer original.Close() //nolint:errcheck // it was read
		report.Original = original
	}
	n.Body, n.Envelope, err = report.Fill(r.Buffers)
	return err
}

// reportKey names a report by what it tells: made again after a failure, it is the same one.
func reportKey(s *settlement) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s", s.c.Key)
	for i, p := range s.c.Recipients {
		fmt.Fprintf(sum, " %d %d %d", p.Number, p.Attempts, s.verdicts[i].action)
	}
	return "report-" + hex.EncodeToString(sum.Sum(nil)[:20])
}

// outcomes are the names of what may become of a recipient, in logs and metrics.
const (
	outcomeDelivered = "delivered"
	outcomeRelayed   = "relayed"
	outcomeDeferred  = "deferred"
	outcomeUncertain = "uncertain"
	outcomeFailed    = "failed"
)

func outcomeName(v verdict, o spool.Outcome) string {
	switch {
	case o.State == spool.Failed:
		return outcomeFailed
	case o.State == spool.Uncertain && v.uncertain:
		return outcomeUncertain
	case o.State != spool.Delivered:
		return outcomeDeferred
	case v.action == backends.ActionRelayed:
		return outcomeRelayed
	}
	return outcomeDelivered
}

// tellOf logs what became of one recipient, and counts it.
func (r *Relay) tellOf(s *settlement, p spool.Pending, v verdict, o spool.Outcome) {
	outcome := outcomeName(v, o)
	waited := s.now.Sub(s.c.Received)
	r.observe(Event{Kind: Finished, Class: s.class, Outcome: outcome, Octets: s.c.Size, Waited: waited})
	event := r.Log.Info()
	if o.State != spool.Delivered {
		event = r.Log.Warn()
	}
	event.Str(events.Event, events.Relay).Str("key", s.c.Key).Str(events.MessageID, s.messageID).Str("from", s.c.Envelope.From).
		Str("recipient", p.Address).Str("destination", s.c.Destination).Str(events.Outcome, outcome).Int("code", v.reply).
		Str("enhanced", v.code).Str("server", v.server).Str("diagnostic", backends.SafeText(v.diagnostic)).Int64(events.Octets, s.c.Size).
		Int("attempts", p.Attempts+1).Int64("waited_ms", waited.Milliseconds())
	if !o.State.Final() {
		event.Time("next", o.Until)
	}
	event.AnErr("cause", v.cause).Msg("relay")
}
