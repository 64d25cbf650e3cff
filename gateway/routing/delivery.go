package routing

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// recipient is a recipient of a transaction, and who takes its copy.
type recipient struct {
	backends.Recipient
	// store takes it now; nil: it is for the queue.
	store *stores.Store
	// destination and held are what the queue is told of a recipient elsewhere, and sizeMost is the largest
	// message that its route takes; 0: any.
	destination string
	held        bool
	sizeMost    int64
	wait        time.Duration // how long the queue keeps it at least
}

// delivery is a message that is ready for the stores.
type delivery struct {
	log      zerolog.Logger
	options  *Options
	attempt  *Attempt
	envelope backends.Delivery // without what differs from store to store
	// content opens the message from its beginning. It can be called again while it is being read.
	content func() io.Reader
	// lead is the beginning of content, and the rest of it is raw's, from there on; nil: it is made otherwise.
	lead   func() io.Reader
	raw    *buffer.Buffer
	behind int64
	id     *string // see messageID
	to     []recipient
	kept   *buffer.Buffer // the message for the queue; nil: it was not needed
	// remembered is until when the queue knows the message's key; zero: as long as it has the message.
	remembered time.Time
	// from is the store whose account sends the message; nil: it is not authenticated.
	from *stores.Store
	// sending is set when from sends for itself: then it is a sender and takes every recipient.
	sending *sending
	device  *devices.Session // that has sent it; nil: none
}

// deliver hands the message to all stores that have recipients without a copy, at the same time, and
// returns the reply to the client: nil for 250 (RFC 5321 §6.1).
func (d *delivery) deliver(ctx context.Context) error {
	groups, m := d.groups(), d.message()
	results := make([][]receivers.Outcome, len(groups))
	var others sync.WaitGroup
	for i, g := range groups {
		deliver := func() { results[i] = m.DeliverTo(ctx, g.store, g.to) } // ends when ctx does, by the contract
		if i < len(groups)-1 {
			others.Go(deliver)
		} else {
			deliver() // as a rule it is the only one, and needs no goroutine
		}
	}
	others.Wait()
	outcomes := slices.Concat(results...)
	d.tell(outcomes)
	answer := d.answer(outcomes)
	if d.options.queueing() {
		answer = d.settle(ctx, outcomes, answer)
	}
	d.remember(outcomes, answer)
	if answer == nil {
		return nil
	}
	return answer
}

// tell logs a line for each recipient, so that administrators can answer who received which message.
func (d *delivery) tell(outcomes []receivers.Outcome) {
	for _, o := range outcomes {
		event, reply := d.log.Info(), &smtp.Error{Code: 250, Enhanced: "2.0.0"}
		if o.Err != nil {
			event, reply = d.log.Warn(), o.Reply()
		}
		event.Str(events.Event, events.Delivery).Str("from", d.envelope.From).Str("recipient", o.Recipient.Address).
			Str(events.Store, o.Store).Str(events.Outcome, word(o)).Int("code", reply.Code).Str("enhanced", reply.Enhanced).
			Str(events.MessageID, d.messageID()).Int64(events.Octets, d.envelope.Size).Bool("again", d.attempt.Again).
			AnErr("cause", o.Err)
		told(event, o.Verdict).Msg("delivery")
	}
}

// compose says what the content is: lead, and behind it the message as it came, without its first octets.
func (d *delivery) compose(lead func() io.Reader, m *message, without int64) {
	d.lead, d.raw, d.behind = lead, m.Buffer, without
	d.content = func() io.Reader { return io.MultiReader(lead(), m.From(without)) }
}

// starts are for looks at a message's beginning.
var starts = sync.Pool{New: func() any { return new([content.MessageIDWithin]byte) }}

// messageID is the message's Message-ID; empty: it has none near its beginning.
func (d *delivery) messageID() string {
	if d.id == nil {
		start := starts.Get().(*[content.MessageIDWithin]byte)
		defer starts.Put(start)
		n, _ := io.ReadFull(d.content(), start[:min(d.envelope.Size, content.MessageIDWithin)]) // an error here comes again in the delivery
		id := content.MessageID(start[:n])
		d.id = &id
	}
	return *d.id
}

// told adds what the store has told of the delivery, in the terms of RFC 3464 §2.3. It is a plugin's word,
// or another server's: one short line of each.
func told(event *zerolog.Event, v backends.Verdict) *zerolog.Event {
	for _, field := range []struct{ name, value string }{
		{"action", v.Action.String()},
		{"destination", backends.SafeText(v.Destination)},
		{"diagnostic", backends.SafeText(v.RemoteDiagnostic)},
		{"stored_as", v.StoredAsText()},
	} {
		if field.value != "" {
			event = event.Str(field.name, field.value)
		}
	}
	return event
}

// word is an outcome's name in the log.
func word(o receivers.Outcome) string {
	switch {
	case o.Err == nil:
		return "delivered"
	case o.Unknown:
		return "uncertain"
	case o.Temporary():
		return "deferred"
	}
	return "refused"
}

// group is a store and its recipients.
type group struct {
	store *stores.Store
	to    []backends.Recipient
}

// groups leaves out the recipients that an earlier attempt has delivered to.
func (d *delivery) groups() (groups []group) {
	delivered, at := set(d.attempt.Delivered), make(map[string]int) // by name: one may be known better meanwhile
	for _, r := range d.to {
		if delivered[r.Address] || r.destination != "" {
			continue
		}
		store := r.store
		if d.sending != nil {
			store = d.from
		}
		i, there := at[store.Name]
		if !there {
			i, groups = len(groups), append(groups, group{store: store})
			at[store.Name] = i
		}
		groups[i].to = append(groups[i].to, r.Recipient)
	}
	return groups
}

// message is the message as it is handed to a store.
func (d *delivery) message() receivers.Message {
	envelope := d.envelope
	envelope.Key, envelope.Retry = d.attempt.Key, d.attempt.Again
	m := receivers.Message{Log: d.log, Delivery: envelope, Content: d.content, Opening: d.options.Opening}
	if d.sending != nil {
		m.Opening = nil // it goes on as its author has sent it
		m.Call = func(ctx context.Context, store *stores.Store, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			verdicts, err := d.sending.send(ctx, store, delivery, content)
			return verdicts, d.refusedLogin(err)
		}
	}
	return m
}

// loginOver ends a session whose login is good no more (421, RFC 5321 §3.8; 4.7.0, RFC 3463 §3.8).
const loginOver = "the mail server ahead does not take this login any more, log in again"

// refusedLogin says what becomes of a login that the store's transport refuses although it has succeeded
// before. A client's own password is refused for good (5.7.8, RFC 4954 §6): otherwise the client would try
// it again for days. A token may have expired meanwhile, and a grant is good once, so that the client is to
// log in again. A login of the gateway's own has to be corrected by the administrator.
func (d *delivery) refusedLogin(err error) error {
	if backends.KindOf(err) != backends.BadCredentials {
		return err
	}
	switch d.sending.credential.Kind {
	case backends.CredentialPassword:
		return backends.Fail(backends.Permanent, "the transport of the store refuses the password of the login: %w", err).
			WithCode("5.7.8").Say("the mail server ahead refuses this password for sending")
	case backends.CredentialToken, backends.CredentialGrant:
		return &smtp.Error{Code: 421, Enhanced: "4.7.0", Text: loginOver, Err: err}
	}
	return err
}

// answer is the reply to the client for all recipients together (RFC 5321 §4.1.1.4).
//
//   - All have a copy: 250.
//   - Some may get one later: 4xx (RFC 5321 §4.2.1). The client sends the message again to all of them,
//     and the deduplication prevents second copies.
//   - Some were refused for good, and no others have to wait: 5xx, even if others have their copy. The
//     client tells the author that the message failed, and the text names the recipients that were
//     refused. With 250 their copies would be lost without notice; with 4xx the client would try for days
//     without success. It does less harm that some recipients have a message that its author believes lost.
//     Where there is a queue, a report goes to the author instead, see settle.
func (d *delivery) answer(outcomes []receivers.Outcome) *smtp.Error {
	var refused []receivers.Outcome
	for _, o := range outcomes {
		if o.Temporary() {
			return o.Reply()
		}
		if o.Err != nil {
			refused = append(refused, o)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	reply := *refused[0].Reply()
	if len(refused) < len(d.to) {
		reply.Code, reply.Text = 554, "delivered to others, but refused for "+names(refused)+": "+reply.Text
	}
	return &reply
}

// names lists some of the recipients, within the bound of a reply line (RFC 5321 §4.5.3.1.5).
func names(outcomes []receivers.Outcome) string {
	const most = 3
	var list []string
	for _, o := range outcomes[:min(len(outcomes), most)] {
		list = append(list, o.Recipient.Address)
	}
	if more := len(outcomes) - most; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return backends.SafeText(strings.Join(list, ", "))
}

// remember notes in the attempt what is needed when the client tries again.
func (d *delivery) remember(outcomes []receivers.Outcome, answer *smtp.Error) {
	if answer == nil || answer.Code/100 != 4 {
		var all []string
		for _, r := range d.to {
			all = append(all, r.Address)
		}
		d.attempt.settle(all)
		return
	}
	var delivered, unknown []string
	for _, o := range outcomes {
		switch {
		case o.Err == nil:
			delivered = append(delivered, o.Recipient.Address)
		case o.Unknown:
			unknown = append(unknown, o.Recipient.Address)
		}
	}
	d.attempt.note(delivered, unknown)
}
