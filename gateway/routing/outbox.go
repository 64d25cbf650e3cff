package routing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Outbox takes mail over that stores want sent ([backends.Outbox]). All of a message goes into the [Queue], for the
// recipients in stores, too: one commit decides whether it is taken over, and under the key of a message that is
// handed over again there is no second copy (I2). What becomes of its recipients then, the author hears by reports.
//
// The store is trusted with the senders of its mail. Its envelope and its content are read as strictly as a client's.
type Outbox struct{ o Options }

// NewOutbox makes an Outbox. Of the options it needs Log, Router, Queue and Ways, and Policies for whom accounts may write to.
func NewOutbox(o Options) *Outbox {
	o.setDefaults()
	o.Quirks = QuirkEmptyFields | QuirkNoFrom | QuirkNoHeader
	return &Outbox{o: o}
}

// RememberedFor is how long a message is known that was taken over: as long as its store may hand it over again, as
// nobody has told it what became of it.
const RememberedFor = 7 * 24 * time.Hour

// Handover is what became of a message.
type Handover struct {
	Key string
	// Verdicts has one for each recipient, in their order: relayed, which is the queue's word, or a failure, of which
	// the author is told.
	Verdicts []backends.Verdict
}

// The replies to what cannot be taken over.
var (
	errSender      = &smtp.Error{Code: 553, Enhanced: "5.1.7", Text: "the sender is not a mail address"}
	errTooLong     = &smtp.Error{Code: 552, Enhanced: "5.3.4", Text: "the message is larger than this gateway takes"}
	errUnaddressed = &smtp.Error{Code: 550, Enhanced: "5.1.2", Text: "the address is under .invalid, which stands for what cannot be an address (RFC 6761 section 6.4)"}
)

// Take takes a message over. An error says that it stays the store's: the content could not be read, or the queue
// does not take it now. Without one the gateway has it on the disk, or it will never be sent, and its author is told.
func (b *Outbox) Take(ctx context.Context, store *stores.Store, m backends.Outgoing, body io.Reader) (Handover, error) {
	now := time.Now()
	t := &transaction{o: &b.o, log: b.o.Log, table: b.o.Router.Table(), peer: backends.Peer{Protocol: "outbox"}, from: store}
	taken, whole, err := b.read(ctx, m, body)
	if err != nil {
		return Handover{}, err
	}
	defer taken.Discard() //nolint:errcheck // it is not needed any more
	attempt := &Attempt{Key: keyOf(store.Name, m.ID, taken.digest), First: now.UTC()}
	d := &delivery{
		options: t.o, attempt: attempt, remembered: now.Add(RememberedFor), from: store,
		log:      t.log.With().Str("key", attempt.Key).Logger(), // the store of a delivery is another matter
		content:  func() io.Reader { return taken.Reader() },
		envelope: backends.Delivery{Envelope: m.Envelope, Size: taken.Size(), Received: attempt.First, Peer: t.peer},
	}
	d.envelope.Submitter.Store = store.Name
	if taken.eightBit {
		d.envelope.Body = backends.Body8BitMIME
	}
	refusal := d.sender(t, m)
	if refusal == nil && !whole {
		refusal, d.envelope.Return = errTooLong, backends.ReturnHeaders // of what is not whole, no more is returned
	}
	if refusal == nil {
		refusal = d.complete(taken.message, m)
	}
	t.options = smtp.MailOptions{Size: d.envelope.Size}
	t.elsewhere = b.o.Policies.Of(store.Name, d.writer(m)).Elsewhere
	refused, err := d.recipients(ctx, t, m.Recipients, refusal)
	if err != nil {
		return Handover{}, err
	}
	return d.takeOver(ctx, m, refused)
}

// writer is the account that has written a message, for its policy: the one that the store names, and else, or where the policies do not
// have that one by its id, the one with the sender's address in the form that the configuration has it in.
func (d *delivery) writer(m backends.Outgoing) backends.Account {
	writer := backends.Account{ID: m.Submitter.Account, Address: m.Submitter.Address}
	if writer.Address == "" {
		writer.Addresses = []string{d.envelope.From}
	}
	return writer
}

// outgoing is a message that was read from a store.
type outgoing struct {
	*message
	eightBit bool
}

// Write looks at what is read.
func (g *outgoing) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && !g.eightBit; i++ {
		g.eightBit = p[i] > 127
	}
	return len(p), nil
}

// read takes the content into a buffer, in canonical form; not whole: it is larger than what is taken, and the
// buffer has its beginning.
func (b *Outbox) read(ctx context.Context, m backends.Outgoing, body io.Reader) (g *outgoing, whole bool, err error) {
	if err := b.o.Queue.Room(ctx, max(0, m.Size)); err != nil {
		return nil, false, err
	}
	most := b.o.SizeMost
	if most > 0 {
		body = io.LimitReader(body, most+1)
	}
	in := crlf.NewReader(body)
	defer in.Release()
	g, sum := &outgoing{}, sha256.New()
	filled, err := buffer.Fill(b.o.Buffers, io.TeeReader(in, io.MultiWriter(sum, g)))
	if err != nil {
		return nil, false, full(err)
	}
	g.message = &message{filled, [sha256.Size]byte(sum.Sum(nil))}
	return g, most <= 0 || filled.Size() <= most, nil
}

// keyOf names a message in transit by the store's id for it. A store may give an id again once the message is gone:
// another content is another message.
func keyOf(store string, id backends.MessageID, digest [sha256.Size]byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s %d %s ", len(store), store, len(id), id)
	sum.Write(digest[:])
	return "outbox-" + hex.EncodeToString(sum.Sum(nil)[:16])
}

// sender reads the reverse-path.
func (d *delivery) sender(t *transaction, m backends.Outgoing) *smtp.Error {
	path, rest, err := address.ParsePath("<" + m.From + ">")
	if err != nil || rest != "" || path.IsPostmaster() {
		d.envelope.From = ""
		return errSender
	}
	if !path.IsNull() {
		path = path.Mailbox().Path()
	}
	t.reversePath, d.envelope.From = path, path.String()
	d.envelope.SMTPUTF8 = d.envelope.SMTPUTF8 || !address.ASCII(d.envelope.From)
	return nil
}

// complete puts the trace field in front (RFC 5321 §4.4), and what a header lacks into it, as for submitted mail
// (RFC 6409 §8).
func (d *delivery) complete(m *message, from backends.Outgoing) *smtp.Error {
	if err := (&transaction{o: d.options}).loops(m); err != nil {
		return errLoop
	}
	h, size, err := d.options.readHeader(m, d.options.Quirks)
	if err != nil {
		return unreadable(err)
	}
	date := d.attempt.First
	if !from.Queued.IsZero() {
		date = from.Queued
	}
	author, domain := d.author(from)
	err = content.Submission{
		MayWrite: func(address.Mailbox) bool { return true },
		Date:     date.Local(), MessageID: d.attempt.Key + "@" + d.options.Hostname, DropEmpty: true, Author: author, Domain: domain,
	}.Apply(h)
	if err != nil {
		return unreadable(err)
	}
	trace := "Received: by " + d.options.Hostname + "\r\n\tid " + d.attempt.Key + ";\r\n\t" +
		d.attempt.First.Local().Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n"
	d.compose(func() io.Reader { return io.MultiReader(strings.NewReader(trace), h.Reader()) }, m, size)
	d.envelope.Size = int64(len(trace)) + h.Size() + m.Size() - size
	return nil
}

// author is who has written a message that does not say it, and that one's domain: its sender, or, of one that nobody
// hears of, the account. It is empty if there is none that may stand in the header (RFC 6532 §3.2).
func (d *delivery) author(m backends.Outgoing) (author, domain string) {
	for _, text := range []string{d.envelope.From, m.Submitter.Address} {
		if box, err := address.Parse(text); err == nil && (d.envelope.SMTPUTF8 || address.ASCII(text)) {
			return box.String(), box.Domain
		}
	}
	return "", ""
}

// unreadable refuses a header.
func unreadable(err error) *smtp.Error {
	if errors.Is(err, header.ErrTooLarge) || errors.Is(err, header.ErrTooManyFields) {
		return &smtp.Error{Code: 552, Enhanced: "5.3.4", Text: err.Error(), Err: err}
	}
	return &smtp.Error{Code: 550, Enhanced: "5.6.0", Text: backends.SafeText(err.Error()), Err: err}
}

// recipients finds where each recipient's copy goes. Those that nothing leads to come back, or all for which there is
// a refusal already. An error is one of now: none is finished.
func (d *delivery) recipients(ctx context.Context, t *transaction, all []backends.Recipient, refusal *smtp.Error) (refused []receivers.Outcome, err error) {
	for _, r := range all {
		reply := refusal
		if reply == nil {
			reply = replyOf(t.takeOver(ctx, r))
		}
		if reply == nil {
			continue
		}
		if reply.Code/100 == 4 {
			return nil, reply
		}
		refused = append(refused, receivers.Outcome{Recipient: r, Err: reply, Verdict: backends.Verdict{
			Recipient: r.Address, RemoteDiagnostic: fmt.Sprintf("smtp; %d %s %s", reply.Code, reply.Enhanced, reply.Text),
		}})
	}
	d.to = t.to
	for _, r := range d.to {
		d.envelope.SMTPUTF8 = d.envelope.SMTPUTF8 || !address.ASCII(r.Address)
	}
	return refused, nil
}

// takeOver adds a recipient of a message from a store. One whose mailbox is in a store is that one's affair, and
// waits for nobody else's.
func (t *transaction) takeOver(ctx context.Context, r backends.Recipient) error {
	path, rest, err := address.ParsePath("<" + r.Address + ">")
	if err != nil || rest != "" || path.IsNull() {
		return errRecipient
	}
	box, err := t.mailbox(path)
	if err != nil {
		return err
	}
	options := smtp.RcptOptions{Notify: smtp.Notify(r.Notify), OriginalRecipient: r.OriginalRecipient}
	store := t.table.StoreFor(box.Domain)
	switch {
	case box.Domain == "invalid" || strings.HasSuffix(box.Domain, ".invalid"):
		return errUnaddressed
	case store == nil && !t.elsewhere.Has(box.Domain):
		return errNotThere(box)
	case store == nil:
		return t.outside(ctx, box, options)
	case store.Receiver == nil:
		return errNoIntake
	}
	t.add(recipient{Recipient: recipientOf(box, options), destination: route.StoreDestination(store.Name)})
	return nil
}

// takeOver has the queue take the message for those whom something leads to, and a report for its author on the
// others.
func (d *delivery) takeOver(ctx context.Context, m backends.Outgoing, refused []receivers.Outcome) (Handover, error) {
	waiting, large := d.leftOver(nil)
	refused = append(refused, large...)
	defer d.discard()
	err := d.report(ctx, refused, nil)
	if errors.Is(err, errNoWayBack) {
		d.log.Error().Err(err).Str("from", d.envelope.From).Msg("nobody is told whom the message was refused for: no report can be sent")
		err = nil
	}
	if err == nil && len(waiting) > 0 {
		err = d.enqueue(ctx, waiting)
	}
	if err != nil {
		return Handover{}, replies.SMTP(err)
	}
	d.tell(refused)
	d.log.Info().Str(events.Event, events.Collected).Str(events.Store, d.from.Name).Str("id", backends.SafeText(string(m.ID))).
		Str(events.MessageID, d.messageID()).Str("from", d.envelope.From).Int("recipients", len(m.Recipients)).
		Int("refused", len(refused)).Int64(events.Octets, d.envelope.Size).Msg("message taken over from a store's outbox")
	return Handover{Key: d.attempt.Key, Verdicts: handedOver(m.Recipients, refused)}, nil
}

// handedOver are the verdicts for the store.
func handedOver(all []backends.Recipient, refused []receivers.Outcome) []backends.Verdict {
	failures := make(map[string]*backends.Failure, len(refused))
	for _, o := range refused {
		reply := o.Reply()
		failures[o.Recipient.Address] = backends.Fail(backends.Permanent, "%s", reply.Text).WithCode(reply.Enhanced).Say(reply.Text)
	}
	verdicts := make([]backends.Verdict, len(all))
	for i, r := range all {
		verdicts[i] = backends.Verdict{Recipient: r.Address, Action: backends.ActionRelayed}
		if f := failures[r.Address]; f != nil {
			verdicts[i].Action, verdicts[i].Failure = backends.ActionFailed, f
		}
	}
	return verdicts
}
