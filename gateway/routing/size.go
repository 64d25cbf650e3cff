package routing

import (
	"context"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
)

const (
	// describeWait is how long the reply to EHLO waits for what stores say of themselves. One
	// that is ready says it at once; the limit of another is not known, and it says so itself when
	// it is given a message.
	describeWait = 50 * time.Millisecond
	// traceMost is what a message may grow by on its way to the store: trace fields and what a
	// submitted header lacks do not count against the client (RFC 1870 §6).
	traceMost = 4 << 10
)

// sizeLimit is the largest message that a store takes; negative: it has no limit of its own.
func sizeLimit(ctx context.Context, store *Store) int64 {
	if d, err := store.Backend.Describe(ctx); err == nil && d.Limits.MessageSize > 0 {
		return d.Limits.MessageSize
	}
	return -1
}

// largestOf is the largest message that any of the stores takes: who it is for is not known
// yet. Negative: one of them has no limit.
func largestOf(ctx context.Context, stores []*Store) int64 {
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	largest := int64(-1)
	for _, store := range stores {
		d, err := store.Backend.Describe(ctx)
		switch {
		case err == nil && onlyReads(d):
		case err != nil || d.Limits.MessageSize <= 0:
			return -1
		default:
			largest = max(largest, d.Limits.MessageSize)
		}
	}
	return largest
}

// onlyReads says whether a store takes no mail at all.
func onlyReads(d backends.Description) bool {
	return d.Capabilities != (backends.Capabilities{}) && !d.Capabilities.Receiver && !d.Capabilities.Sender
}

// MessageSize implements [smtp.SizeLimited].
func (s *mxSession) MessageSize(ctx context.Context) int64 {
	return largestOf(ctx, s.o.Router.Table().Stores())
}

// MessageSize implements [smtp.SizeLimited]. An account whose store sends for it has that
// store's limit.
func (s *submissionSession) MessageSize(ctx context.Context) int64 {
	if s.who != nil && s.who.credential != nil {
		return largestOf(ctx, []*Store{s.who.store})
	}
	return largestOf(ctx, s.o.Router.Table().Stores())
}

// errTooLarge is for a message that its store would not take (RFC 1870 §6.1).
var errTooLarge = backends.Fail(backends.TooLarge, "the message is larger than the store takes")

// fits says whether a store takes a message of the size that MAIL has declared.
func (t *transaction) fits(ctx context.Context, store *Store) error {
	if limit := sizeLimit(ctx, store); limit >= 0 && t.options.Size > limit {
		return replies.SMTP(errTooLarge)
	}
	return nil
}

var (
	_ smtp.SizeLimited = (*mxSession)(nil)
	_ smtp.SizeLimited = (*submissionSession)(nil)
)
