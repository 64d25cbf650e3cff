package routing

import (
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// traceMost is what a message may grow by on its way to the store: trace fields and what a
// submitted header lacks do not count against the client (RFC 1870 §6).
const traceMost = 4 << 10

// sizeLimit is the largest message that a store takes (RFC 1870). Negative: it has no limit of its own,
// or the limit is not known yet, and the store refuses the message itself.
func sizeLimit(store *stores.Store) int64 {
	if limit := store.Description.Limits.MessageSize; limit > 0 {
		return limit
	}
	return -1
}

// largestOf is the largest message that any of the stores takes, for the SIZE keyword of EHLO (RFC 1870
// §4) and for MAIL, when the recipients are not known yet. Negative: one of the stores has no limit.
func largestOf(all []*stores.Store) int64 {
	largest := int64(-1)
	for _, store := range all {
		if store.Receiver == nil && store.Sender == nil {
			continue // it takes no mail at all
		}
		limit := sizeLimit(store)
		if limit < 0 {
			return -1
		}
		largest = max(largest, limit)
	}
	return largest
}

// MessageSize implements [smtp.SizeLimited].
func (s *mxSession) MessageSize(context.Context) int64 {
	return largestOf(s.o.Router.Table().Stores())
}

// MessageSize implements [smtp.SizeLimited]. An account whose store sends for it has that
// store's limit.
func (s *submissionSession) MessageSize(context.Context) int64 {
	if s.who != nil && s.who.sending != nil {
		return largestOf([]*stores.Store{s.who.store.Now()})
	}
	return largestOf(s.o.Router.Table().Stores())
}

// errTooLarge is for a message that its store would not take (RFC 1870 §6.1).
var errTooLarge = backends.Fail(backends.TooLarge, "the message is larger than the store takes")

// fits says whether a store takes a message of the size that MAIL has declared (RFC 1870 §6.1).
func (t *transaction) fits(store *stores.Store) error {
	if limit := sizeLimit(store); limit >= 0 && t.options.Size > limit {
		return replies.SMTP(errTooLarge)
	}
	return nil
}

var (
	_ smtp.SizeLimited = (*mxSession)(nil)
	_ smtp.SizeLimited = (*submissionSession)(nil)
)
