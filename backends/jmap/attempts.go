package jmap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// lookBack finds out what earlier attempts under the delivery's key have done, for each of the
// recipients by itself, notes the verdicts that stand and returns the recipients to whom the
// message is to be sent now. Of whom it cannot be known whether they were sent it the verdict is
// Uncertain (I2).
//
// Without Retry nothing of the kind can be: another batch of recipients goes with the message that
// the first one has made. With it, what this process has seen counts first. Where that is nothing,
// the server is asked: for the message, which is imported before it is submitted to anybody, and
// for its submissions, whose envelopes name their recipients. RFC 8621 §7 lets a server forget
// submissions when they are done with, so that one that is not there shows something only where
// others are.
func (s *submission) lookBack(ctx context.Context) (left []string, err error) {
	left = s.store.attempts.recall(s)
	if !s.delivery.Retry {
		return backends.Addresses(s.delivery.Recipients), nil
	}
	unknown := slices.DeleteFunc(backends.Addresses(s.delivery.Recipients), func(r string) bool {
		_, known := s.verdicts[r]
		return known || slices.Contains(left, r)
	})
	if len(unknown) == 0 {
		return left, nil
	}
	p, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range unknown {
		switch f, listed := p.of(r); {
		case listed && f != nil && f.Temporary() && f.Kind != backends.Uncertain:
			left = append(left, r) // it came to nothing, and this is the attempt after it
		case listed:
			s.verdicts[r] = f
		case p.complete:
			left = append(left, r)
		default:
			s.verdicts[r] = backends.Fail(backends.Uncertain, "an earlier attempt has left the message %s, and the server does not tell for whom it was submitted", s.email)
		}
	}
	return left, nil
}

// past is what the server knows of earlier attempts.
type past struct {
	submissions []created
	// complete says that nothing was submitted that is not among the submissions.
	complete bool
}

// of is the verdict of earlier submissions on a recipient: of several, one that has taken it.
func (p past) of(recipient string) (f *backends.Failure, listed bool) {
	for _, sub := range p.submissions {
		if sub.UndoStatus == "canceled" || sub.Envelope == nil {
			continue
		}
		for _, to := range sub.Envelope.RcptTo {
			if !strings.EqualFold(to.Email, recipient) {
				continue
			}
			if f, listed = sub.failureOf(recipient), true; f == nil {
				return nil, true
			}
		}
	}
	return f, listed
}

// failureOf is what became of a submission's recipient, as far as it is known.
func (c created) failureOf(recipient string) *backends.Failure {
	for address, status := range c.DeliveryStatus {
		if strings.EqualFold(address, recipient) && status.Delivered == "no" {
			return status.failure()
		}
	}
	return nil
}

// submissionsMost is how many submissions of one message are asked for.
const submissionsMost = 256

// ask asks the server what earlier attempts under the key have left.
func (s *submission) ask(ctx context.Context) (past, error) {
	found, err := s.withKey(ctx, s.delivery)
	if isMethodError(err, "unsupportedFilter") {
		return past{}, nil
	}
	if err != nil || len(found) == 0 {
		return past{complete: true}, err
	}
	ids := make([]string, len(found))
	for i, e := range found {
		ids[i] = e.ID
	}
	s.use(found)
	var query struct {
		IDs   []string `json:"ids"`
		Limit int64    `json:"limit"` // the server's, where it is less than was asked for (RFC 8620 §5.5)
	}
	var got struct {
		List []created `json:"list"`
	}
	err = s.request(ctx,
		call{"EmailSubmission/query", map[string]any{"filter": map[string]any{"emailIds": ids}, "limit": submissionsMost}, &query},
		call{"EmailSubmission/get", map[string]any{
			"#ids": reference(0, "EmailSubmission/query", "/ids"), "properties": []string{"id", "emailId", "envelope", "undoStatus", "deliveryStatus"},
		}, &got})
	var refused methodError
	if errors.As(err, &refused) {
		return past{}, nil // it does not keep them, or cannot look for them
	}
	p := past{submissions: slices.DeleteFunc(got.List, func(c created) bool { return c.EmailID != "" && !slices.Contains(ids, c.EmailID) })}
	most := int64(submissionsMost)
	if query.Limit > 0 {
		most = min(most, query.Limit)
	}
	p.complete = int64(len(query.IDs)) < most && len(got.List) >= len(query.IDs) && keepsThem(p.submissions)
	return p, err
}

// use takes the message that an earlier attempt has made for this one, too. The copy of one who
// has sent it to himself has the key as well.
func (s *submission) use(found []email) {
	for _, e := range found {
		if e.Keywords["$draft"] || e.MailboxIDs[s.drafts] || s.sent != "" && e.MailboxIDs[s.sent] {
			s.email, s.draft = e.ID, e.Keywords["$draft"]
			return
		}
	}
}

// keepsThem says whether a server has kept submissions that it is done with, and all that there is
// to know of each.
func keepsThem(all []created) bool {
	done := slices.ContainsFunc(all, func(c created) bool { return c.UndoStatus != "pending" })
	return done && !slices.ContainsFunc(all, func(c created) bool { return c.Envelope == nil })
}

// attempts remember, for the last messages that were sent, what became of each recipient. The zero
// value is ready.
type attempts struct {
	mu    sync.Mutex
	known map[attemptKey]attempt
	order []attemptKey // oldest first
}

// attemptsMost is how many messages are remembered.
const attemptsMost = 4096

type attemptKey struct{ account, key string }

type attempt struct {
	email string          // id of the message; empty: it is not there
	draft bool            // it is still one
	size  int64           // octets; another message under the key, against the contract, is sent for itself
	sent  map[string]bool // by recipient; false: it is certain that it was not sent to them
}

// recall puts in what is remembered of a submission's key, and returns the recipients to whom it
// is certain that the message was not sent.
func (a *attempts) recall(s *submission) (unsent []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.known[attemptKey{s.account, s.delivery.Key}]
	if !ok || known.size != s.kept.size() {
		return nil
	}
	s.email, s.draft = known.email, known.draft
	if !s.delivery.Retry {
		return nil
	}
	for _, r := range backends.Addresses(s.delivery.Recipients) {
		if sent, there := known.sent[r]; sent {
			s.verdicts[r] = nil
		} else if there {
			unsent = append(unsent, r)
		}
	}
	return unsent
}

// note remembers a submission's verdicts. One that is uncertain is for the server to tell.
func (a *attempts) note(s *submission) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := attemptKey{s.account, s.delivery.Key}
	known, ok := a.known[key]
	if !ok {
		if a.known == nil {
			a.known = make(map[attemptKey]attempt)
		}
		known.sent = make(map[string]bool)
		if a.order = append(a.order, key); len(a.order) > attemptsMost {
			delete(a.known, a.order[0])
			a.order = a.order[1:]
		}
	}
	known.email, known.draft, known.size = s.email, s.draft, s.kept.size()
	for r, f := range s.verdicts {
		if f == nil || f.Kind != backends.Uncertain {
			known.sent[r] = f == nil
		} else {
			delete(known.sent, r)
		}
	}
	a.known[key] = known
}
