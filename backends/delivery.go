package backends

import (
	"context"
	"io"
	"time"
)

// Receiver is a store that takes mail in for its recipients.
type Receiver interface {
	// Resolve asks, at RCPT, whether mail for these recipients would be taken: one verdict
	// each, in their order. Verdict failures: [NotFound] (no such recipient), [OverQuota],
	// [TooLarge], [Permanent], [Temporary], [Throttled].
	Resolve(ctx context.Context, query ResolveQuery) ([]Verdict, error)

	// Deliver stores a message for each of its recipients and says, for each, what became
	// of it, in their order. A verdict without a failure is a promise (I1): the message is
	// on stable storage, its folder's entry included. The error is for a call that failed
	// as a whole: then nothing is known of any recipient, and it will be tried again under
	// the same key. Content that ends with any error but io.EOF is not delivered to anybody.
	//
	// Content begins with the gateway's own trace field, and has no Return-Path: a store that
	// makes the final delivery writes the one that there is (RFC 5321 §4.4).
	Deliver(ctx context.Context, delivery Delivery, content io.Reader) ([]Verdict, error)
}

// ResolveQuery asks about recipients before there is a message.
type ResolveQuery struct {
	Envelope
	Recipients []Recipient
	Size       int64 // octets as announced with SIZE= (RFC 1870); 0: not announced
	Peer       Peer
	// Accounts asks for [Verdict.Account], too: an account that has logged in wants to send as an
	// address with a detail. Without it a store that has to look for the account need not.
	Accounts bool
}

// Delivery is a message on its way into a store, without its content.
type Delivery struct {
	// Key names this message in transit, 1 to 64 printable ASCII characters without spaces.
	// Together with a recipient it is the idempotency key (I2): a store never takes the same
	// message twice for a recipient under one key, as far as it can tell. It remembers keys for eight days: the
	// gateway asks again for a week, and for longer only where an administrator has set relay.expire so, or
	// releases a message that was held.
	Key string
	// Retry says that an earlier attempt under this key may have succeeded: the store looks
	// before it delivers, and answers "delivered" where it had been. The content may have another
	// form by now, as a policy was changed: the key says which message it is.
	Retry bool
	Envelope
	Recipients []Recipient
	Size       int64 // octets of the content
	// Received is when the gateway was first given the message: a retry has the first attempt's
	// time. A store that looks for what that has left looks from then on.
	Received time.Time
	Peer     Peer
}

// Outbox is a store that wants mail of its own sent to the Internet.
//
// The gateway takes a message into its queue, on the disk, and settles it at once: [ActionRelayed] is the queue's
// word, and the author is told of what becomes of it by a report to the reverse-path. It takes Bcc out, and adds what
// a header lacks. The store answers for the reverse-path and for who may write as whom.
type Outbox interface {
	// Collect hands over outgoing messages, one at a time, until the store has no more that
	// are due, the context ends, or accept fails. A message whose accept returned nil is the
	// gateway's: it is not handed over again before it is settled or its lease has run out.
	Collect(ctx context.Context, request CollectRequest, accept func(context.Context, Outgoing, Content) error) error

	// Settle tells the store what became of collected messages. A settlement without verdicts has the lease start again,
	// also behind a restart of the plugin: so the gateway keeps a message away that breaks collections. A store
	// should lease a message before it looks into it, so that one that ends its process does not hold up the others.
	Settle(ctx context.Context, settlements []Settlement) error
}

// CollectRequest bounds one Collect.
type CollectRequest struct {
	Most  int           // messages at the most; 0: no bound
	Lease time.Duration // how long a collected message stays the gateway's without word of it
	// Wait is how long to wait for mail where none is due, at most [CollectWaitMost]: Collect returns
	// once what comes has been handed over, or when the time is up. A store that cannot wait returns
	// at once, and is asked again after a pause.
	Wait time.Duration
	// Rendering is the form in which messages are wanted.
	Rendering Rendering
}

// CollectWaitMost bounds CollectRequest.Wait.
const CollectWaitMost = 5 * time.Minute

// Outgoing is a collected message, without its content.
type Outgoing struct {
	ID MessageID
	Envelope
	Recipients []Recipient
	Queued     time.Time
	Size       int64 // -1: not known
}

// Settlement is what became of one collected message: a verdict for each recipient that is
// finished. Recipients without a verdict are still under way, and the lease starts again.
type Settlement struct {
	ID       MessageID
	Verdicts []Verdict
}
