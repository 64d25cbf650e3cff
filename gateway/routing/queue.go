package routing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Queue keeps mail that cannot be delivered now, and mail that goes elsewhere: a [*spool.Spool].
type Queue interface {
	// Storage is where messages are written that the queue may keep.
	Storage() buffer.Storage
	// Room says whether a message of a size can be taken in.
	Room(ctx context.Context, size int64) error
	// Accept has the message on the disk when it returns nil (I1). Under a key that is there already it
	// keeps no second copy.
	Accept(ctx context.Context, m spool.Message, body *buffer.Buffer) error
}

// queueing says whether there is a queue, and a way out for what it would have to report.
func (o *Options) queueing() bool { return o.Queue != nil && len(o.Ways.Routes().Routes()) > 0 }

// Notifies implements [smtp.Notifies]: who keeps mail writes reports, too.
func (s *mxSession) Notifies() bool { return s.o.queueing() }

// Notifies implements [smtp.Notifies].
func (s *submissionSession) Notifies() bool { return s.o.queueing() }

// Priority implements [smtp.Prioritizes]: the queue has the highest first. How high an account may go, its policy says.
func (s *submissionSession) Priority() (most int, ok bool) {
	if s.who != nil {
		most = s.who.policy.Priority
	}
	return most, s.o.queueing()
}

// RequiresTLS implements [smtp.RequiresTLS]: the relay keeps to it, and the stores of the configuration count as safe.
func (s *mxSession) RequiresTLS() bool { return s.o.queueing() }

// RequiresTLS implements [smtp.RequiresTLS]. Nobody knows which way a store's own transport sends by.
func (s *submissionSession) RequiresTLS() bool {
	return s.o.queueing() && (s.who == nil || s.who.sending == nil)
}

// recipientOf is a recipient with the parameters of its RCPT.
func recipientOf(box address.Mailbox, o smtp.RcptOptions) backends.Recipient {
	return backends.Recipient{Address: box.String(), Notify: backends.Notify(o.Notify), OriginalRecipient: o.OriginalRecipient}
}

// The replies to recipients elsewhere.
var (
	errNoRoute          = &smtp.Error{Code: 550, Enhanced: "5.4.4", Text: "no route leads to this domain"}
	errEncapsulated     = &smtp.Error{Code: 553, Enhanced: "5.1.3", Text: "mail is not relayed to addresses within addresses, or of a host"}
	errTooLargeForRoute = backends.Fail(backends.TooLarge, "the message is larger than its route takes")
)

// errNotThere refuses a recipient to whose domain the policy of the account lets nothing be sent.
func errNotThere(box address.Mailbox) *smtp.Error {
	return &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: backends.SafeText("this mailbox may not send to addresses at " + box.Domain)}
}

// outside adds a recipient that is in none of the stores, if a route leads there.
func (t *transaction) outside(ctx context.Context, box address.Mailbox, options smtp.RcptOptions) error {
	if !t.o.queueing() {
		return errNoRelay
	}
	if !t.o.TakesOut() {
		return errNotOut
	}
	destination, by, ok := t.o.Ways.To(t.reversePath.String(), box)
	switch {
	case !ok:
		return errNoRoute
	case encapsulated(box):
		return errEncapsulated
	case by.Kind == route.Reject:
		return &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: backends.SafeText(by.Text)}
	case by.MessageSize > 0 && t.options.Size > by.MessageSize:
		return replies.SMTP(errTooLargeForRoute)
	}
	if err := t.o.Queue.Room(ctx, t.options.Size); err != nil {
		return replies.SMTP(err)
	}
	t.add(recipient{
		Recipient: recipientOf(box, options), destination: destination, held: by.Kind == route.Hold, sizeMost: by.MessageSize,
	})
	return nil
}

// encapsulated says whether a local part names another domain, behind a "%" or in front of a "!", or in the form
// in which Exchange wraps foreign addresses; or whether the domain is a host's address. A server that reads it as a
// route would send the mail where its client may not (I12; RFC 5321 §3.6.1).
func encapsulated(box address.Mailbox) bool {
	local := box.Unquoted()
	_, behind, percent := strings.Cut(local, "%")
	before, _, bang := strings.Cut(local, "!")
	return percent && strings.Contains(behind, ".") || bang && strings.Contains(before, ".") ||
		strings.Contains(local, "@") || strings.HasPrefix(box.Domain, "[") || wrapped.MatchString(local)
}

// wrapped is IMCEA, a type of addresses, a hyphen, and an address of that type. What has the type EX is
// within the organisation that reads it, and replies to old messages go there.
var wrapped = lazyregexp.New(`(?i)^imcea(?:[a-df-z0-9]|e[a-wyz0-9]|ex[a-z0-9])[a-z0-9]*-.`)

// settle is the reply to the client where there is a queue: what is left over is the queue's, and nobody is
// left without a copy untold.
//
//   - Nobody has a copy, or will get one: 5xx. The client tells the author, and no report goes to an address
//     that may be forged (RFC 5321 §6.1).
//   - Else 250, once the queue has the message for those who wait, and a report on those who were refused.
//   - A report that would have no way to the sender is not made: 5xx, and the client tells the author. The queue
//     has the message for those who wait nevertheless.
//   - Where the queue cannot take that: 4xx, and the deduplication prevents second copies. What it has taken
//     already it knows again by its key.
func (d *delivery) settle(ctx context.Context, outcomes []receivers.Outcome, answer *smtp.Error) *smtp.Error {
	waiting, refused := d.leftOver(outcomes)
	switch {
	case len(refused) == len(d.to):
		return d.answer(refused)
	case d.sending != nil && answer != nil && answer.Code/100 == 4:
		return answer // a store that sends for its account does so with the login of this session alone
	}
	defer d.discard()
	err := d.report(ctx, refused, d.delivered(outcomes))
	noWay := errors.Is(err, errNoWayBack)
	if (err == nil || noWay) && len(waiting) > 0 {
		if queued := d.enqueue(ctx, waiting); queued != nil {
			err, noWay = queued, false
		}
	}
	switch {
	case err == nil:
		d.noteFailures(refused)
		return nil
	case noWay:
		d.log.Warn().Err(err).Msg("the client is told whom the message was refused for: no report can be sent")
		return d.answer(refused)
	}
	d.log.Error().Err(err).Msg("the queue does not take the message")
	return replyOf(err)
}

// leftOver are those that wait, and those that are refused.
func (d *delivery) leftOver(outcomes []receivers.Outcome) (waiting []spool.Recipient, refused []receivers.Outcome) {
	for _, r := range d.to {
		switch {
		case r.destination == "":
		case r.sizeMost > 0 && d.envelope.Size-receivers.TraceMost > r.sizeMost:
			refused = append(refused, receivers.Outcome{Recipient: r.Recipient, Err: errTooLargeForRoute})
		default:
			w := spool.Recipient{Recipient: r.Recipient, Destination: r.destination, Wait: r.wait}
			if r.held {
				w.State = spool.Held
			}
			waiting = append(waiting, w)
		}
	}
	for _, o := range outcomes {
		switch {
		case o.Temporary():
			w := spool.Recipient{Recipient: o.Recipient, Destination: route.StoreDestination(o.Store), Wait: d.options.firstRetry()}
			if o.Unknown {
				w.State = spool.Uncertain
			}
			waiting = append(waiting, w)
		case o.Err != nil:
			refused = append(refused, o)
		}
	}
	return waiting, refused
}

// firstRetryMost is when a store is tried again that could not take a message when it came, where the schedule of mail is not
// shorter.
const firstRetryMost = time.Minute

func (o *Options) firstRetry() time.Duration {
	if o.FirstRetry == nil {
		return firstRetryMost
	}
	return min(o.FirstRetry(), firstRetryMost)
}

// queued are the options of buffers that the queue may keep.
func (o *Options) queued() buffer.Options {
	b := o.Buffers
	b.Storage = o.Queue.Storage()
	return b
}

// body is the message as the queue gets it, which is made once: [delivery.discard] is for who has asked for it.
func (d *delivery) body() (*buffer.Buffer, error) {
	if d.kept != nil {
		return d.kept, nil
	}
	if d.lead != nil {
		body, err := d.raw.WithHead(d.lead(), d.behind)
		if err != nil {
			return nil, full(err)
		}
		if d.kept = body; body != nil {
			return body, nil
		}
	}
	body, err := buffer.Fill(d.options.queued(), d.content())
	if err != nil {
		return nil, full(err)
	}
	d.kept = body
	return d.kept, nil
}

// discard forgets the body. The queue has its own.
func (d *delivery) discard() {
	if d.kept != nil {
		_ = d.kept.Discard() // what stays is swept
	}
}

// enqueue has the queue take the message for recipients.
func (d *delivery) enqueue(ctx context.Context, to []spool.Recipient) error {
	body, err := d.body()
	if err != nil {
		return err
	}
	for _, r := range to {
		d.log.Info().Str(events.Event, events.Queued).Str(events.MessageID, d.messageID()).Str("from", d.envelope.From).
			Str("recipient", r.Address).Str("destination", r.Destination).Stringer("state", r.State).
			Int64(events.Octets, d.envelope.Size).Msg("queued")
	}
	return d.options.Queue.Accept(ctx, spool.Message{
		Key: d.attempt.Key, Envelope: d.envelope.Envelope, Received: d.attempt.First, Peer: d.envelope.Peer, Origin: d.origin(), Recipients: to,
		Remembered: d.remembered,
	}, body)
}

// delivered are those who have a copy now. What the store's own transport has taken, it tells of itself.
func (d *delivery) delivered(outcomes []receivers.Outcome) (delivered []receivers.Outcome) {
	for _, o := range outcomes {
		if o.Err == nil && d.sending == nil {
			delivered = append(delivered, o)
		}
	}
	return delivered
}

// report has the queue take a report to the sender on those who were refused although others have, or will
// get, the message, and on those who have it, if NOTIFY asks for that (RFC 3461 §5.2).
func (d *delivery) report(ctx context.Context, refused, delivered []receivers.Outcome) error {
	outcomes := make([]notice.Outcome, 0, len(refused)+len(delivered))
	for _, o := range refused {
		outcomes = append(outcomes, d.failed(o))
	}
	for _, o := range delivered {
		outcomes = append(outcomes, d.succeeded(o))
	}
	device := d.reportsTo()
	if device.Owner == "" {
		outcomes = notice.Wanted(d.envelope.Envelope, outcomes)
	} else {
		outcomes = device.Wanted(outcomes)
	}
	if len(outcomes) == 0 {
		return nil
	}
	way, err := d.options.Ways.Back(cmp.Or(device.Owner, d.envelope.From))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoWayBack, err)
	}
	body, err := d.body()
	if err != nil {
		return err
	}
	whole := notice.Report{
		Hostname: d.options.Hostname, Key: d.reportKey(outcomes), Envelope: d.envelope.Envelope, Device: device,
		Arrived: d.attempt.First.Local(), Date: d.attempt.First.Local(), Outcomes: outcomes, SizeMost: way.SizeMost,
	}
	if !d.envelope.RequireTLS { // RFC 8689 §5: the way back may be less safe
		whole.Original = body.Reader()
	}
	maker := reports.Maker{Log: d.log, Buffers: d.options.queued(), Back: d.options.Ways.Back}
	if d.options.Reports != nil {
		maker.Settings = d.options.Reports()
	}
	for _, part := range whole.Split() {
		if err := d.acceptReport(ctx, maker, part, way); err != nil {
			return err
		}
	}
	return nil
}

// reportKey names a report by what it tells: made again after a failure it is the same one, and another one
// if the stores have answered otherwise.
func (d *delivery) reportKey(outcomes []notice.Outcome) string {
	sum := sha256.New()
	for _, o := range outcomes {
		fmt.Fprintf(sum, "%s %d\n", o.Address, o.Action)
	}
	return d.attempt.Key + "-" + hex.EncodeToString(sum.Sum(nil)[:8])
}

// errNoWayBack says that no report can be sent to the sender.
var errNoWayBack = errors.New("nothing leads to the sender")

// acceptReport has the queue take one report.
func (d *delivery) acceptReport(ctx context.Context, maker reports.Maker, r notice.Report, way route.Way) error {
	n, err := maker.Make(r, way)
	if err != nil {
		return full(err)
	}
	defer n.Body.Discard() //nolint:errcheck // the queue has its own
	n.Received, n.Remembered = d.attempt.First, d.remembered
	return d.options.Queue.Accept(ctx, n.Message, n.Body)
}

// failed is a refusal as the sender is told of it.
func (d *delivery) failed(o receivers.Outcome) notice.Outcome {
	reply := o.Reply()
	return notice.Outcome{
		Recipient: o.Recipient, Action: backends.ActionFailed, Code: reply.Enhanced, Server: o.Verdict.Destination,
		Diagnostic: o.Verdict.RemoteDiagnostic, LastAttempt: time.Now(),
	}
}

// succeeded is a delivery as the sender is told of it.
func (d *delivery) succeeded(o receivers.Outcome) notice.Outcome {
	action := o.Verdict.Outcome()
	if action == backends.ActionDelayed { // the store goes on trying by itself
		action = backends.ActionRelayed
	}
	return notice.Outcome{
		Recipient: o.Recipient, Action: action, Server: o.Verdict.Destination, Diagnostic: o.Verdict.RemoteDiagnostic, LastAttempt: time.Now(),
	}
}

// full is the failure of a buffer.
func full(err error) error {
	if storage, ok := errors.AsType[*buffer.StorageError](err); ok {
		return &smtp.Error{Code: errFull.Code, Enhanced: errFull.Enhanced, Text: errFull.Text, Err: storage}
	}
	return err
}

// replyOf is an error as a client is told it.
func replyOf(err error) *smtp.Error {
	reply, _ := errors.AsType[*smtp.Error](replies.SMTP(err))
	return reply
}
