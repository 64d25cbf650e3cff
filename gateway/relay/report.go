package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/spool"
)

// address sorts out what the sender is told, and by which way. Where there is none, the recipients whose failure it
// would be told are held: were they given up, nobody could ever be told.
func (r *Relay) address(s *settlement) {
	device := deviceOf(s.c)
	if s.wanted = device.Wanted(s.notices); device.Owner == "" {
		s.wanted = notice.Wanted(s.c.Envelope, s.notices)
	}
	if len(s.wanted) == 0 {
		return
	}
	if s.back, s.noWay = r.Routes.Back(cmp.Or(device.Owner, s.c.Envelope.From)); s.noWay == nil {
		return
	}
	s.wanted = nil
	for i := range s.outcomes {
		if s.outcomes[i].State == spool.Failed && s.wants(s.c.Recipients[i], backends.ActionFailed) {
			s.outcomes[i].State = spool.Held
			s.held++
		}
	}
}

// deviceOf is the machine that a message is from, as reports on it have it.
func deviceOf(c Claimed) notice.Device {
	return notice.Device{Name: c.Origin.Device, Place: c.Origin.Place, Owner: c.Origin.Owner}
}

// wants says whether somebody is told of an action.
func (s *settlement) wants(p spool.Pending, a backends.Action) bool {
	if device := deviceOf(s.c); device.Owner != "" {
		return device.Wants(a)
	}
	return notice.Wants(p.Notify, a)
}

// report makes the notifications that a sender wants (RFC 3461 §4.1, §5.2): one, unless it would be about very many
// recipients.
func (r *Relay) report(s *settlement) (all []spool.New, err error) {
	if len(s.wanted) == 0 {
		return nil, nil
	}
	whole := notice.Report{
		Hostname: r.Hostname, Key: reportKey(s), Envelope: s.c.Envelope, Device: deviceOf(s.c), Arrived: s.c.Received, Date: s.now,
		Outcomes: s.wanted, SizeMost: s.back.SizeMost,
	}
	s.reported = whole.Key
	// RFC 8689 §5: nothing of such a message may take a way that is not as safe, and who knows the report's.
	if !s.c.Envelope.RequireTLS {
		original, err := s.c.Content.Open(r.ending)
		switch {
		case err == nil:
			defer original.Close() //nolint:errcheck // it was read
			whole.Original = original
		case s.readableLater(err):
			return nil, fmt.Errorf("report of %s: %w", s.c.Key, err)
		default:
			r.Log.Error().Err(err).Str("key", s.c.Key).Msg("the message cannot be read: its sender is told what became of it without any of it")
		}
	}
	maker := reports.Maker{Log: r.Log, Buffers: r.Buffers, Back: r.Routes.Back, Later: s.readableLater}
	if r.Reports != nil {
		maker.Settings = r.Reports()
	}
	for _, part := range whole.Split() {
		n, err := maker.Make(part, s.back)
		if err != nil {
			return all, fmt.Errorf("report of %s: %w", s.c.Key, err)
		}
		n.Trace, n.Received = s.c.Trace, s.now
		all = append(all, n)
	}
	return all, nil
}

// unreadMost is how often a message is tried to be read for its report: for some six seconds, in which a database that has
// crashed has recovered.
const unreadMost = 7

// readableLater says whether a message that cannot be read now is tried again for its report: a database may be away for
// some seconds. Others are settled with it, so it is not tried for long.
func (s *settlement) readableLater(err error) bool {
	if errors.Is(err, spool.ErrDamaged) {
		return false
	}
	s.unread++
	return s.unread < unreadMost
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
	outcomeHeld      = "held"
	outcomeDropped   = "dropped"
)

func outcomeName(v verdict, o spool.Outcome) string {
	switch {
	case o.State == spool.Failed:
		return outcomeFailed
	case o.State == spool.Held:
		return outcomeHeld
	case o.State == spool.Uncertain && v.uncertain:
		return outcomeUncertain
	case o.State != spool.Delivered:
		return outcomeDeferred
	case v.dropped:
		return outcomeDropped
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
	switch {
	case o.Destination != "":
		event.Str("fall_back", o.Destination)
	case !o.State.Final() && o.State != spool.Held:
		event.Time("next", o.Until)
	}
	if v.folder != "" {
		event.Str(events.Folder, v.folder)
	}
	if v.stored != "" {
		event.Str("stored_as", v.stored)
	}
	if s.reported != "" && s.wants(p, v.action) {
		event.Str("report", s.reported)
	}
	if name := s.c.Origin.Device; name != "" {
		event.Str(events.Device, name)
		if o.State == spool.Failed && r.DeviceFailed != nil {
			r.DeviceFailed(name, failedOf(p, v))
		}
	}
	event.AnErr("cause", v.cause).Msg("relay")
}

// failedOf is a recipient's failure in words for who looks after the device that the message is from.
func failedOf(p spool.Pending, v verdict) string {
	_, said, _ := strings.Cut(v.diagnostic, ";")
	return fmt.Sprintf("to %s: %s", p.Address, cmp.Or(strings.TrimSpace(said), v.code))
}

// tellOfUntold logs of whose failure nobody is told, and counts it.
func (r *Relay) tellOfUntold(s *settlement) {
	if s.held > 0 {
		r.Log.Error().Str("key", s.c.Key).Str(events.MessageID, s.messageID).Str("from", s.c.Envelope.From).Int("recipients", s.held).Err(s.noWay).
			Msg("recipients have failed, and no report can be sent, as nothing leads to the sender: they are held. " +
				"Add a route to the sender's domain and release them, or delete them (dipylon queue)")
	}
	if s.c.Envelope.From != "" || s.c.Origin.Owner != "" {
		return
	}
	failed := 0
	for _, o := range s.outcomes {
		if o.State == spool.Failed {
			failed++
			r.observe(Event{Kind: Untold, Class: s.class})
		}
	}
	if failed > 0 {
		r.Log.Error().Str("key", s.c.Key).Str(events.MessageID, s.messageID).Str("about", s.about).Int("recipients", failed).
			Msg("mail from the null reverse-path, as reports are, was not delivered, and nobody can be told: " +
				"the lines of its key say whom it was for and why, and those with this key as their report which message it was about")
	}
}
