package routing

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// transaction is a mail transaction (RFC 5321 §3.3): what MAIL and RCPT have said so far, and the table
// that was current when it began.
type transaction struct {
	o           *Options
	log         zerolog.Logger
	table       *stores.Table
	peer        backends.Peer
	from        *stores.Store      // whose account sends the message; nil: it is from outside
	submitter   backends.Submitter // zero: not authenticated
	reversePath address.Path
	options     smtp.MailOptions
	device      *devices.Session // that sends it; nil: it is none
	elsewhere   *policy.Domains  // of a store's own mail: the domains that no store has to which its account may send
	to          []recipient
	named       map[string]bool // the addresses in to
}

// The replies that this package decides on (RFC 5321 §4.2.3, RFC 3463 §3).
var (
	errNotLocal  = &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: "relaying denied: this port takes mail for its own domains only, to send mail log in on the submission port, usually 587 or 465"}
	errNoRelay   = &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: "relaying to other domains is not configured on this gateway"}
	errNotNow    = &smtp.Error{Code: 451, Enhanced: "4.3.2", Text: "no mail is taken from other systems at the moment, try again later"}
	errNotOut    = &smtp.Error{Code: 451, Enhanced: "4.3.2", Text: "no mail is taken for other systems at the moment, try again later"}
	errNoIntake  = &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: "no mail is taken in for this domain"}
	errRecipient = &smtp.Error{Code: 553, Enhanced: "5.1.3", Text: "the recipient is not a mail address"}
	errNoMessage = &smtp.Error{Code: 503, Enhanced: "5.5.1", Text: "bad sequence of commands: MAIL and RCPT come first"}
	errFull      = &smtp.Error{Code: 452, Enhanced: "4.3.1", Text: "there is no space for the message now, try again later"}
)

// mailbox is the mailbox of a recipient. Postmaster without a domain (RFC 5321 §4.5.1) is that of the
// default store.
func (t *transaction) mailbox(path address.Path) (address.Mailbox, error) {
	box := path.Mailbox()
	if path.IsPostmaster() {
		box.Domain = t.table.DefaultDomain()
	}
	if box.Domain == "" {
		return box, errRecipient
	}
	return box, nil
}

// envelope has the parameters of MAIL (RFC 5321 §4.1.1.2, RFC 6152, RFC 6531), and the account that has
// logged in.
func (t *transaction) envelope() backends.Envelope {
	return backends.Envelope{
		From: t.reversePath.String(), ID: t.options.EnvelopeID, Return: backends.Return(t.options.Return), Body: backends.BodyOf(t.options.EightBit), SMTPUTF8: t.options.UTF8, Submitter: t.submitter, Priority: t.options.Priority,
		RequireTLS: t.options.RequireTLS,
	}
}

// resolve asks the store of a local recipient whether it takes the message, and adds the recipient if it
// does. RCPT is the place to refuse an unknown recipient: after DATA it would take a bounce to an address
// that may be forged (RFC 5321 §6.1).
func (t *transaction) resolve(ctx context.Context, store *stores.Store, box address.Mailbox, options smtp.RcptOptions) error {
	if store.Receiver == nil {
		return errNoIntake
	}
	if err := t.fits(store); err != nil {
		return err
	}
	asked := []backends.Recipient{recipientOf(box, options)}
	verdicts, err := store.Receiver.Resolve(ctx, backends.ResolveQuery{
		Envelope: t.envelope(), Recipients: asked, Size: t.options.Size, Peer: t.peer,
	})
	if err == nil {
		err = receivers.Judged(backends.Temporary, asked, verdicts)
	}
	if err == nil && verdicts[0].Failure != nil {
		err = verdicts[0].Failure
	}
	r := recipient{Recipient: asked[0], store: store}
	switch {
	case err == nil:
		t.o.Confirmed.note(store.Name, r.Address)
	case outage(err) && t.o.queueing() && (t.device != nil || t.isOurs() || t.o.Confirmed.has(store.Name, r.Address)):
		// Of a device's mail the owner is told, if the store does not know the recipient.
		r.destination = route.StoreDestination(store.Name)
		t.log.Warn().Err(err).Str("recipient", r.Address).Str("store", store.Name).Msg("the store does not answer: mail for a recipient that it has confirmed before, or of a device or somebody who has logged in, is queued")
	default:
		if backends.KindOf(err) == backends.NotFound {
			t.o.Confirmed.forget(store.Name, r.Address)
		}
		return replies.SMTP(err)
	}
	t.add(r)
	return nil
}

// isOurs says whether the message is from somebody who has logged in. Many devices never try again, and who gets the report that
// a recipient does not exist is its author, and nobody whose address was forged.
func (t *transaction) isOurs() bool {
	return t.submitter != (backends.Submitter{}) && !t.reversePath.IsNull()
}

// add adds a recipient. One that is named twice gets one copy.
func (t *transaction) add(r recipient) {
	if t.named == nil {
		t.named = make(map[string]bool)
	}
	if !t.named[r.Address] {
		t.named[r.Address] = true
		t.to = append(t.to, r)
	}
}

// message is what the client has sent. The Received field of this hop (RFC 5321 §4.4) is passed beside
// it.
type message struct {
	*buffer.Buffer
	digest [sha256.Size]byte
}

// take reads the content into a buffer, and makes its digest.
func (t *transaction) take(body io.Reader) (*message, error) {
	sum := sha256.New()
	b, err := buffer.Fill(t.o.Buffers, io.TeeReader(body, sum))
	if err != nil {
		return nil, full(err) // an error of the body is told by the engine
	}
	return &message{b, [sha256.Size]byte(sum.Sum(nil))}, nil
}

// returnPath is the field that the store makes of the envelope's reverse-path at the final delivery.
// A message in transit should have none (RFC 5321 §4.4): one that the client has sent is removed.
const returnPath = "Return-Path"

// whole makes the content what stores get, behind the trace.
func (d *delivery) whole(trace string, m *message) error {
	joint, err := content.Joint(m.Reader())
	if err != nil {
		return err
	}
	lead := trace + joint
	left := int64(0)
	if joint != content.EmptyHeader {
		if left, err = content.OctetsOf(m.Reader(), returnPath); err != nil {
			return err
		}
	}
	d.envelope.Size = int64(len(lead)) + m.Size() - left
	if left == 0 {
		d.compose(func() io.Reader { return strings.NewReader(lead) }, m, 0)
		return nil
	}
	d.content = func() io.Reader {
		return io.MultiReader(strings.NewReader(lead), content.Without(m.Reader(), returnPath))
	}
	return nil
}

// begin makes a delivery of a buffered message. finish has to be called for its attempt.
func (t *transaction) begin(ctx context.Context, trace string, m *message, account string) (*delivery, error) {
	if err := t.loops(m); err != nil {
		return nil, err
	}
	d := &delivery{options: t.o, to: t.to, device: t.device}
	if err := d.whole(trace, m); err != nil {
		return nil, replies.SMTP(err)
	}
	addresses := make([]string, len(t.to))
	for i, r := range t.to {
		addresses[i] = r.Address
	}
	named, dated := content.Identity(m.Start(content.IdentityWithin)) // what has failed here fails where it matters, too
	attempt, err := t.o.Dedup.Take(ctx, Message{
		Fingerprint: fingerprint(account, t.reversePath.String(), m.digest), Recipients: addresses, Named: named, Dated: dated,
	})
	if err != nil {
		return nil, replies.SMTP(err)
	}
	d.attempt = attempt
	d.log = t.log.With().Str("transaction", t.options.ID).Str("key", attempt.Key).Logger()
	d.envelope = backends.Delivery{
		Envelope: t.envelope(), Size: d.envelope.Size,
		// A store looks for what an earlier attempt has left from this time on.
		Received: attempt.First.UTC(), Peer: t.peer,
	}
	return d, nil
}

// hopsMost is how often a message may pass here: on its way out, and back in for a list or a forward, and so on.
const hopsMost = 10

// errLoop ends a loop with the server that has the message: that one makes the report (RFC 5321 §6.3).
var errLoop = &smtp.Error{Code: 554, Enhanced: "5.4.6", Text: "this message has come back here too often, it is in a loop"}

// loops refuses a message that comes back again and again. A name without a dot may be others', too.
func (t *transaction) loops(m *message) error {
	if !strings.Contains(t.o.Hostname, ".") {
		return nil
	}
	if content.Hops(m.Start(content.HopsWithin), t.o.Hostname) > hopsMost { // what has failed here fails where it matters, too
		return errLoop
	}
	return nil
}

// finishMost is how long the reply to a message waits for the deduplication.
const finishMost = 15 * time.Second

// finish gives the attempt back, even if the client has disconnected. If the deduplication fails or does
// not answer, the worst outcome is a duplicate (RFC 1047); the reply to the client is the same.
func (t *transaction) finish(ctx context.Context, p *delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishMost)
	defer cancel()
	if e := t.o.Dedup.Put(ctx, p.attempt); e != nil {
		p.log.Error().Err(e).Msg("the deduplication cannot remember an unfinished delivery")
	}
}
