package exchange

import (
	"context"
	"errors"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// submission is a message that is being sent.
type submission struct {
	*session
	delivery backends.Delivery
	message  *mapi.Message
	verdicts map[string]*backends.Failure // by recipient, those that are known; nil: sent
}

// send sends to all recipients together. A message that the transport refuses for one of them was sent to nobody: then each is tried alone.
func (s *submission) send(ctx context.Context) {
	var left []backends.Recipient
	for _, r := range s.delivery.Recipients {
		if !sendableAddress(r.Address) {
			s.verdicts[r.Address] = backends.Fail(backends.Permanent, "a recipient is no address").WithCode("5.1.3")
		} else if !contains(left, r.Address) {
			left = append(left, r)
		}
	}
	shown := slices.Clone(s.message.Recipients)
	for groups := [][]backends.Recipient{left}; len(groups) > 0; {
		group := groups[0]
		groups = groups[1:]
		s.message.Recipients = shown
		if len(group) > 0 && s.sendTo(ctx, group) && len(group) > 1 {
			groups = append(groups, slices.Collect(slices.Chunk(group, 1))...)
		}
	}
}

// errRefused says that the transport has refused a recipient.
var errRefused = errors.New("the server's transport has refused a recipient")

// sendTo sends to some recipients, notes their verdicts, and says whether one of them was refused, and the message sent to none.
func (s *submission) sendTo(ctx context.Context, group []backends.Recipient) (refused bool) {
	try := &attempt{submission: s, group: group, look: s.delivery.Retry}
	err := s.do(ctx, try.once)
	if err != nil && try.unknown {
		err = backends.Fail(backends.Uncertain, "submit: %w", err)
	}
	for _, r := range group {
		if f, known := s.verdicts[r.Address]; !known || f != nil {
			s.verdicts[r.Address] = backends.AsFailure(err)
		}
	}
	return errors.Is(err, errRefused)
}

// attempt is one group's way through sessions that may be lost.
type attempt struct {
	*submission
	group   []backends.Recipient
	look    bool // an earlier attempt may have sent it
	unknown bool // the server was asked to submit, and nothing was heard of it
	slow    bool // it may still be at it
}

// once makes the message and submits it, unless the server knows of an earlier attempt. It is one's turn.
func (a *attempt) once(ctx context.Context) error {
	left := a.group
	if a.look {
		var err error
		if left, err = a.lookBack(ctx, a.group); err != nil {
			return err
		}
		if a.unknown = a.unknown && a.slow && len(left) > 0; a.unknown {
			return backends.Fail(backends.Uncertain, "the server was asked to submit, did not answer in time, and does not know of it yet")
		}
	}
	if len(left) == 0 {
		return nil
	}
	draft, err := a.draft(ctx, left)
	if err != nil {
		return err
	}
	a.look, a.unknown = true, true
	err = a.submit(ctx, draft)
	a.unknown, a.slow = unanswered(err), mapihttp.TimedOut(err)
	return err
}

// unanswered says of an error that the server may have done what was asked.
func unanswered(err error) bool {
	return errors.Is(err, rop.ErrLost) || backends.KindOf(err) == backends.Uncertain
}

// draft makes the message in the Outbox. Nothing of it is saved. It is one's turn.
func (s *submission) draft(ctx context.Context, recipients []backends.Recipient) (*rop.Object, error) {
	rows := forSending(s.message, s.delivery.Key, recipients)
	set := []mapi.Property{{Tag: mapi.PidTagSentMailSvrEID, Value: folderServerID(s.folders[rop.FolderSentItems])}}
	return s.create(ctx, s.folders[rop.FolderOutbox], set, rows, s.message)
}

// submit saves the message and submits it: the first is there so that it can be found if nothing is heard of the second. It is one's turn.
func (s *submission) submit(ctx context.Context, draft *rop.Object) error {
	var b rop.Batch
	saved := rop.Save(&b, draft, draft, &rop.SaveChangesMessage{SaveFlags: rop.SaveKeepOpenReadWrite})
	submitted := rop.On(&b, draft, &rop.SubmitMessage{})
	rop.Release(&b, draft)
	if err := s.ops.Do(ctx, &b); err != nil {
		return err
	}
	if err := submitted.Err(); err == nil && submitted.ReturnValue != rop.CancelMessage {
		return nil
	}
	if saved.Err() == nil {
		s.discard(ctx, saved.MessageID)
	}
	return submitFailure(submitted.ReturnValue, submitted.Err())
}

// discard removes a draft that was not sent. That it cannot be is no reason to say anything else.
func (s *submission) discard(ctx context.Context, id mapi.ObjectID) {
	var b rop.Batch
	folder, _ := rop.Open(&b, s.logon, &rop.OpenFolder{FolderID: s.folders[rop.FolderOutbox]})
	rop.On(&b, folder, &rop.HardDeleteMessages{DeleteMessages: rop.DeleteMessages{MessageIDs: []mapi.ObjectID{id}}})
	rop.Release(&b, folder)
	_ = s.ops.Do(ctx, &b)
}

// submitFailure is the failure of a submission that was refused.
func submitFailure(code rop.Code, err error) error {
	switch code {
	case rop.CancelMessage:
		return backends.Fail(backends.Permanent, "%w", errRefused).WithCode("5.1.1").Say("the mail server has refused the recipient")
	case rop.AccessDenied, rop.SendAsDenied:
		return backends.Fail(backends.Permanent, "submit: %w", err).WithCode("5.7.1").Say("you may not send as the author that the message names")
	case rop.QuotaExceeded, rop.ShutoffQuotaExceeded:
		return backends.Fail(backends.OverQuota, "submit: %w", err).Say("your own mailbox is full: the message cannot be put there to be sent")
	case rop.MaxSubmissionExceeded:
		return backends.Fail(backends.TooLarge, "submit: %w", err)
	case rop.NoRecipients:
		return backends.Fail(backends.Permanent, "submit: %w", err)
	}
	return err
}

// lookBack finds what earlier attempts under the key have made, notes to whom it was sent, and returns those who are left. What was made and not
// submitted is removed. It is one's turn.
func (s *submission) lookBack(ctx context.Context, group []backends.Recipient) ([]backends.Recipient, error) {
	outbox := place{folder: s.folders[rop.FolderOutbox]}
	found, err := s.madeUnder(ctx, s.delivery.Key, outbox, place{folder: s.folders[rop.FolderSentItems]})
	if err != nil {
		return nil, err
	}
	var left []backends.Recipient
	var sent []made
	for _, one := range found {
		if one.place != outbox || one.flags&flagSubmitted != 0 {
			sent = append(sent, one)
		} else {
			s.discard(ctx, one.id)
		}
	}
	for _, r := range group {
		if slices.ContainsFunc(sent, func(m made) bool { return wasSentTo(m.recipients, r.Address) }) {
			s.verdicts[r.Address] = nil
			continue
		}
		left = append(left, r)
	}
	return left, nil
}

// result are the verdicts in the order of the recipients.
func (s *submission) result() []backends.Verdict {
	verdicts := make([]backends.Verdict, len(s.delivery.Recipients))
	for i, r := range s.delivery.Recipients {
		verdicts[i] = backends.Verdict{Recipient: r.Address, Failure: s.verdictOn(r.Address)}
		if verdicts[i].Failure == nil {
			verdicts[i].Action = backends.ActionRelayed
		}
	}
	return verdicts
}

// verdictOn is the verdict on an address, which may have been spelt otherwise when it was sent to.
func (s *submission) verdictOn(address string) *backends.Failure {
	if f, known := s.verdicts[address]; known {
		return f
	}
	for _, r := range s.delivery.Recipients {
		if f, known := s.verdicts[r.Address]; known && string(hashOf(r.Address)) == string(hashOf(address)) {
			return f
		}
	}
	return backends.Fail(backends.Temporary, "the message was not sent")
}
