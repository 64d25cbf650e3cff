package jmap

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// submit submits for all of these recipients together. A server refuses the whole of it for one of
// them, and may not have asked about those after it: what is refused is submitted again in the
// parts that split makes of it, until each recipient has a verdict. QUIRK: each submission is a
// request of its own, as Cyrus does not begin a new SMTP transaction after one that was refused.
func (s *submission) submit(ctx context.Context, recipients []string) {
	for groups := [][]string{recipients}; len(groups) > 0; {
		group := groups[0]
		refused := s.create(ctx, group)
		if refused != nil && refused.Type == "emailNotFound" && !s.made {
			// Somebody has removed what an earlier attempt had made.
			s.email = ""
			if s.makeDraft(ctx) == nil {
				refused = s.create(ctx, group)
			}
		}
		groups = append(refused.split(group), groups[1:]...)
	}
}

// split says for whom to submit again after the refusal of a submission, and in which parts. What
// concerns the message or who sends it would be refused for each part, too.
func (e *methodError) split(group []string) (parts [][]string) {
	if e == nil || len(group) < 2 {
		return nil
	}
	reply := replyOf(e.Description)
	switch {
	case e.Type == "tooManyRecipients", enhanced(reply).status == "5.3":
		most := len(group) / 2
		if e.MaxRecipients > 0 && e.MaxRecipients < int64(len(group)) {
			most = int(e.MaxRecipients)
		}
		return slices.Collect(slices.Chunk(group, most))
	case e.Type == "invalidRecipients":
		return e.splitInvalid(group)
	case e.Type == "smtpProtocolError", reply.Code/100 == 4:
		return each(group) // QUIRK: so Cyrus tells of a recipient who is deferred, and not which
	}
	return nil
}

// splitInvalid parts the recipients that the server has refused from the others. One that it names
// alone has its verdict. Where it names several the reason given is that of one of them; where it
// names none of them, in the form that we know it by, each may be the one.
func (e *methodError) splitInvalid(group []string) (parts [][]string) {
	named := func(r string) bool {
		return slices.ContainsFunc(e.InvalidRecipients, func(n string) bool { return strings.EqualFold(strings.Trim(n, "<>"), r) })
	}
	var suspects, rest []string
	for _, r := range group {
		if named(r) {
			suspects = append(suspects, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(suspects) == 0 {
		return each(group)
	}
	if len(rest) > 0 {
		parts = append(parts, rest)
	}
	if len(suspects) > 1 {
		parts = append(parts, each(suspects)...)
	}
	return parts
}

// each makes a part of each recipient.
func each(group []string) [][]string { return slices.Collect(slices.Chunk(group, 1)) }

// created is what a server says of a submission (RFC 8621 §7).
type created struct {
	ID             string                    `json:"id"`
	EmailID        string                    `json:"emailId"`
	Envelope       *envelope                 `json:"envelope"`
	UndoStatus     string                    `json:"undoStatus"`
	DeliveryStatus map[string]deliveryStatus `json:"deliveryStatus"`
}

type envelope struct {
	RcptTo []struct {
		Email string `json:"email"`
	} `json:"rcptTo"`
}

type deliveryStatus struct {
	SMTPReply string `json:"smtpReply"`
	Delivered string `json:"delivered"`
}

// create makes a submission for some recipients, notes their verdicts, and returns the refusal:
// nil for one that was not refused.
func (s *submission) create(ctx context.Context, recipients []string) *methodError {
	var got struct {
		Created    map[string]created     `json:"created"`
		NotCreated map[string]methodError `json:"notCreated"`
	}
	err := s.request(ctx, s.set(recipients, &got))
	refused, isRefused := got.NotCreated["s"]
	made, isMade := got.Created["s"]
	if errors.Is(err, errRequestTooLarge) {
		refused, isRefused, err = methodError{Type: "tooManyRecipients", Description: err.Error()}, true, nil
	}
	var f *backends.Failure
	switch {
	case err != nil:
		f = uncertain(err)
	case isRefused:
		f = refused.submission()
	case !isMade:
		f = uncertain(unanswered("submit", errors.New("the response says nothing of it")))
	}
	for _, r := range recipients {
		s.verdicts[r] = f
		s.replies[r] = replyOf(refused.Description)
	}
	switch {
	case f == nil:
		s.draft = false
		maps.Copy(s.verdicts, s.status(ctx, made, recipients))
	case isRefused:
		return &refused
	}
	return nil
}

// set is the call that makes a submission, and of the draft a message that was sent.
func (s *submission) set(recipients []string, into any) call {
	to := make([]any, len(recipients))
	for i, r := range recipients {
		to[i] = map[string]any{"email": r}
	}
	arguments := map[string]any{"create": map[string]any{"s": map[string]any{
		"emailId": s.email, "identityId": s.identity,
		"envelope": map[string]any{"mailFrom": map[string]any{"email": s.delivery.From}, "rcptTo": to},
	}}}
	if s.draft {
		arguments["onSuccessUpdateEmail"] = map[string]any{"#s": s.afterSending()}
	}
	return call{"EmailSubmission/set", arguments, into}
}

// afterSending is what makes of a draft a message that was sent. One that there is no mailbox for
// stays where it is, as other recipients may need it still.
func (s *submission) afterSending() map[string]any {
	update := map[string]any{"keywords/$draft": nil}
	if s.sent != "" {
		update["mailboxIds"] = map[string]bool{s.sent: true}
	}
	return update
}

// status is what is known of recipients once a submission is made: a server that has asked the
// next one already says what that said.
func (s *submission) status(ctx context.Context, made created, group []string) map[string]*backends.Failure {
	if made.DeliveryStatus == nil && made.ID != "" {
		var got struct {
			List []created `json:"list"`
		}
		err := s.request(ctx, call{"EmailSubmission/get", map[string]any{"ids": []string{made.ID}, "properties": []string{"id", "deliveryStatus"}}, &got})
		if err != nil || len(got.List) != 1 {
			return nil // it was made: that is what counts
		}
		made = got.List[0]
	}
	failures := make(map[string]*backends.Failure)
	for recipient, status := range made.DeliveryStatus {
		at := slices.IndexFunc(group, func(r string) bool { return strings.EqualFold(r, recipient) })
		if at >= 0 {
			s.replies[group[at]] = anyReply(status.SMTPReply)
		}
		if at >= 0 && status.Delivered == "no" {
			failures[group[at]] = status.failure()
		}
	}
	return failures
}
