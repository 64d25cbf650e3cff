package jmap

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/backends/smtpclient"
)

// identity is an address that the account may send as (RFC 8621 §6).
type identity struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

func identities(into *[]identity) call {
	return call{"Identity/get", map[string]any{"ids": nil, "properties": []string{"id", "email"}}, &struct {
		List *[]identity `json:"list"`
	}{into}}
}

// addresses are all that the account may send as, its own first.
func (s *session) addresses(ctx context.Context, own string) ([]string, error) {
	var known []identity
	if err := s.request(ctx, identities(&known)); err != nil {
		return nil, err
	}
	all := []string{own}
	for _, i := range known {
		address := strings.ToLower(strings.TrimPrefix(i.Email, "*")) // "*@domain" is each of a domain
		if strings.Contains(address, "@") && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, nil
}

// identityFor is the identity that sends as an address.
func identityFor(known []identity, address string) (string, error) {
	_, domain, _ := strings.Cut(address, "@")
	for _, wanted := range []string{address, "*@" + domain} {
		if at := slices.IndexFunc(known, func(i identity) bool { return strings.EqualFold(i.Email, wanted) }); at >= 0 {
			return known[at].ID, nil
		}
	}
	if len(known) == 0 {
		return "", backends.Fail(backends.Permanent, "the account has no identity to send with").Say("this login may not send")
	}
	return known[0].ID, nil // it is the server that judges what may be sent with it
}

// Send imports the message as a draft and submits it (RFC 8621 §7). What was sent is moved to the
// mailbox with the role sent, or destroyed where there is none.
func (s *Store) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if !s.settings.Submission {
		return nil, backends.Fail(backends.Unsupported, "submission is not set")
	}
	session, err := s.login(ctx, c)
	if err != nil {
		return nil, err
	}
	end, err := s.inFlight.Begin(ctx, "send "+d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	kept, err := remote.Keep(s.stateDir, io.MultiReader(strings.NewReader(keyLine(d)), content))
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	sub, err := session.prepare(ctx, d)
	if err != nil {
		return nil, err
	}
	if d.Retry {
		if done, failure, err := sub.before(ctx); done || err != nil {
			return verdictsOn(d.Recipients, failure), err
		}
	}
	blob, err := session.upload(ctx, kept)
	if err != nil {
		return nil, err
	}
	if sub.email, err = session.importBlob(ctx, blob, sub.drafts, "$draft", "$seen"); err != nil {
		return nil, err
	}
	return sub.submit(ctx), nil
}

// submission is one message being sent.
type submission struct {
	*session
	delivery     backends.Delivery
	identity     string
	drafts, sent string // ids of mailboxes; sent is empty where there is none
	email        string // id
}

// prepare finds the mailboxes and the identity.
func (s *session) prepare(ctx context.Context, d backends.Delivery) (*submission, error) {
	var boxes []mailbox
	var known []identity
	if err := s.request(ctx, mailboxes(&boxes), identities(&known)); err != nil {
		return nil, err
	}
	id, err := identityFor(known, d.ReversePath)
	if err != nil {
		return nil, err
	}
	sub := &submission{session: s, delivery: d, identity: id, sent: withRole(boxes, "sent"), drafts: withRole(boxes, "drafts", "sent", "inbox")}
	if sub.drafts == "" {
		return nil, backends.Fail(backends.Permanent, "the account has no mailbox to send from")
	}
	return sub, nil
}

// before looks for what an earlier attempt under the key has left: a message that is no draft any
// more was sent; of one that still is, nobody can tell.
func (s *submission) before(ctx context.Context) (done bool, failure *backends.Failure, err error) {
	found, err := s.withKey(ctx, s.delivery)
	if err != nil || len(found) == 0 {
		return false, nil, err
	}
	if found[0].Keywords["$draft"] {
		failure = backends.Fail(backends.Uncertain, "an earlier attempt has left a draft")
	}
	return true, failure, nil
}

func verdictsOn(recipients []string, f *backends.Failure) []backends.Verdict {
	verdicts := make([]backends.Verdict, len(recipients))
	for i, r := range recipients {
		verdicts[i] = backends.Verdict{Recipient: r, Failure: f}
	}
	return verdicts
}

// submit submits for all recipients together. A server refuses the whole of it for one of them,
// and may not have asked about those after it: then the ones that it does not name go together,
// and each of the others goes by itself. QUIRK: each submission is a request of its own, as Cyrus
// does not begin a new SMTP transaction after one that was refused.
func (s *submission) submit(ctx context.Context) []backends.Verdict {
	all := s.delivery.Recipients
	verdicts := make(map[string]*backends.Failure)
	refused := s.create(ctx, all, verdicts)
	if suspects := refused.suspects(all); len(suspects) > 0 && len(all) > 1 {
		if rest := without(all, suspects); len(rest) > 0 {
			s.create(ctx, rest, verdicts)
		}
		for _, r := range suspects {
			if len(suspects) > 1 || refused.Type != "invalidRecipients" {
				s.create(ctx, []string{r}, verdicts)
			}
		}
	}
	result := make([]backends.Verdict, len(all))
	for i, r := range all {
		result[i] = backends.Verdict{Recipient: r, Failure: verdicts[r]}
	}
	s.tidy(ctx, result)
	return result
}

// suspects are the recipients for whose sake a submission may have been refused.
func (e *methodError) suspects(all []string) (some []string) {
	switch {
	case e == nil:
	case e.Type == "invalidRecipients":
		for _, r := range all {
			if slices.ContainsFunc(e.InvalidRecipients, func(named string) bool { return strings.EqualFold(strings.Trim(named, "<>"), r) }) {
				some = append(some, r)
			}
		}
	case e.Type == "smtpProtocolError", replyOf(e.Description).Code/100 == 4:
		return all // QUIRK: so Cyrus tells of a recipient who is deferred, and not which
	}
	return some
}

func without(all, some []string) (rest []string) {
	for _, r := range all {
		if !slices.Contains(some, r) {
			rest = append(rest, r)
		}
	}
	return rest
}

// created is what a server says of a submission (RFC 8621 §7).
type created struct {
	ID             string                    `json:"id"`
	DeliveryStatus map[string]deliveryStatus `json:"deliveryStatus"`
}

type deliveryStatus struct {
	SMTPReply string `json:"smtpReply"`
	Delivered string `json:"delivered"`
}

// create makes a submission for some recipients, notes their verdicts, and returns the refusal:
// nil for one that was not refused.
func (s *submission) create(ctx context.Context, recipients []string, verdicts map[string]*backends.Failure) *methodError {
	var got struct {
		Created    map[string]created     `json:"created"`
		NotCreated map[string]methodError `json:"notCreated"`
	}
	err := s.request(ctx, s.set(recipients, &got))
	refused, isRefused := got.NotCreated["s"]
	made, isMade := got.Created["s"]
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
		verdicts[r] = f
	}
	switch {
	case f == nil:
		maps.Copy(verdicts, s.status(ctx, made, recipients))
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
		"envelope": map[string]any{"mailFrom": map[string]any{"email": s.delivery.ReversePath}, "rcptTo": to},
	}}}
	if s.sent == "" {
		arguments["onSuccessDestroyEmail"] = []string{"#s"}
	} else {
		arguments["onSuccessUpdateEmail"] = map[string]any{"#s": map[string]any{"mailboxIds": map[string]bool{s.sent: true}, "keywords/$draft": nil}}
	}
	return call{"EmailSubmission/set", arguments, into}
}

// submission is the failure that a refused submission is for its recipients.
func (e methodError) submission() *backends.Failure {
	if e.Type == "invalidRecipients" {
		return backends.Fail(backends.NotFound, "submit: %w", e)
	}
	if reply := replyOf(e.Description); reply.Code/100 == 4 || reply.Code/100 == 5 {
		return smtpclient.FailureOf("submit", reply)
	}
	return e.failure("submit")
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
		if at >= 0 && status.Delivered == "no" {
			failures[group[at]] = status.failure()
		}
	}
	return failures
}

// failure is that of a recipient who does not get the message, for good.
func (d deliveryStatus) failure() *backends.Failure {
	if reply := replyOf(d.SMTPReply); reply.Code/100 == 5 {
		return smtpclient.FailureOf("submit", reply)
	}
	return backends.Fail(backends.Permanent, "submit: not delivered: %.300q", d.SMTPReply)
}

// replyOf reads an SMTP reply in a text, or one that lacks its code and has the enhanced one.
// Code 0: there is none.
func replyOf(text string) smtpclient.Reply {
	first, rest, _ := strings.Cut(text, " ")
	if code, err := strconv.Atoi(first); err == nil && code >= 200 && code < 600 {
		return smtpclient.Reply{Code: code, Lines: []string{rest}}
	}
	if backends.ValidCode(first) {
		return smtpclient.Reply{Code: int(first[0]-'0') * 100, Lines: []string{text}}
	}
	return smtpclient.Reply{}
}

// tidyTime is how long tidying up may take: nobody waits for it but the sender.
const tidyTime = 10 * time.Second

// tidy destroys the draft of a message that nobody was sent. That it cannot be is no reason to
// say anything else. Where it is not known, the draft stays for a retry to see.
func (s *submission) tidy(ctx context.Context, verdicts []backends.Verdict) {
	if slices.ContainsFunc(verdicts, func(v backends.Verdict) bool { return v.Failure == nil || v.Failure.Kind == backends.Uncertain }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	_ = s.request(ctx, call{"Email/set", map[string]any{"destroy": []string{s.email}}, new(struct{})})
}
