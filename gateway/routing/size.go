package routing

import (
	"context"

	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// largestOf is the largest message that any of the stores takes, for the SIZE keyword of EHLO (RFC 1870
// §4) and for MAIL, when the recipients are not known yet. Negative: one of the stores has no limit.
func largestOf(all []*stores.Store) int64 {
	largest := int64(-1)
	for _, store := range all {
		if store.Receiver == nil && store.Sender == nil {
			continue // it takes no mail at all
		}
		limit := receivers.SizeLimit(store)
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
// store's limit, and a device may have one of its own.
func (s *submissionSession) MessageSize(context.Context) int64 {
	largest := s.largest()
	if s.who != nil && s.who.device != nil {
		if own := s.who.device.Sending.Size; own > 0 && (largest < 0 || own < largest) {
			return own
		}
	}
	return largest
}

func (s *submissionSession) largest() int64 {
	if s.who != nil && s.who.sending != nil {
		return largestOf([]*stores.Store{s.who.store.Now()})
	}
	return largestOf(s.o.Router.Table().Stores())
}

// fits says whether a store takes a message of the size that MAIL has declared (RFC 1870 §6.1).
func (t *transaction) fits(store *stores.Store) error {
	if limit := receivers.SizeLimit(store); limit >= 0 && t.options.Size > limit {
		return replies.SMTP(receivers.ErrTooLarge)
	}
	return nil
}

var (
	_ smtp.SizeLimited = (*mxSession)(nil)
	_ smtp.SizeLimited = (*submissionSession)(nil)
)
