package jmap

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
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
		address := fold.Lower(strings.TrimPrefix(i.Email, "*")) // "*@domain" is each of a domain
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
		if at := slices.IndexFunc(known, func(i identity) bool { return fold.Equal(i.Email, wanted) }); at >= 0 {
			return known[at].ID, nil
		}
	}
	if len(known) == 0 {
		return "", backends.Fail(backends.Permanent, "the account has no identity to send with").Say("this login may not send")
	}
	return known[0].ID, nil // it is the server that judges what may be sent with it
}

var _ backends.SessionSender = (*Store)(nil)

// Send submits one message: a sending session of one.
func (s *Store) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	session, err := s.OpenSending(ctx, c)
	if err != nil {
		return nil, err
	}
	defer session.Close() //nolint:errcheck // the message has its verdicts
	return session.Send(ctx, d, content)
}

// OpenSending begins a sending session: one login, which fetches the session resource with the first
// message, and again once the server refuses the credential.
func (s *Store) OpenSending(_ context.Context, c backends.Credential) (backends.Sending, error) {
	if !s.settings.Submission {
		return nil, backends.Fail(backends.Unsupported, "submission is not set")
	}
	return &sending{store: s, credential: c}, nil
}

// sending is a sending session.
type sending struct {
	store      *Store
	credential backends.Credential
	session    *session // nil: not logged in
	closed     bool
}

// Close implements [backends.Sending].
func (t *sending) Close() error {
	t.closed = true
	return nil
}

// Send implements [backends.Sending].
func (t *sending) Send(ctx context.Context, d backends.Delivery, content io.Reader) (verdicts []backends.Verdict, err error) {
	if t.closed {
		return nil, backends.SendingClosed()
	}
	if t.session == nil {
		if t.session, err = t.store.login(ctx, t.credential); err != nil {
			return nil, err
		}
	}
	verdicts, err = t.session.send(ctx, d, content)
	if backends.KindOf(err) == backends.BadCredentials {
		t.session = nil
	}
	return verdicts, err
}

// send imports the message as a draft and submits it (RFC 8621 §7) for the recipients to whom no
// earlier attempt under the key has sent it. What was sent is moved to the mailbox with the role
// sent, or destroyed in the end where there is none.
func (s *session) send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	end, err := s.store.inFlight.Begin(ctx, "send "+d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	kept, err := s.store.keep(keyLine(d), content)
	if err != nil {
		return nil, err
	}
	defer kept.discard()
	sub, err := s.prepare(ctx, d, kept)
	if err != nil {
		return nil, err
	}
	left, err := sub.lookBack(ctx)
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		if err := sub.makeDraft(ctx); err != nil {
			sub.failed(left, err)
			return nil, err
		}
		sub.submit(ctx, left)
	}
	sub.tidy(ctx)
	return sub.result(), nil
}

// submission is one message being sent.
type submission struct {
	*session
	delivery     backends.Delivery
	kept         *message
	identity     string
	drafts, sent string // ids of mailboxes; sent is empty where there is none

	email    string                       // id of the message in the account; empty: there is none yet
	draft    bool                         // it is still a draft
	made     bool                         // by this call
	verdicts map[string]*backends.Failure // by recipient, those that are known; nil: sent
	replies  map[string]smtpclient.Reply  // by recipient: what the server's transport has said
}

// prepare finds the mailboxes and the identity.
func (s *session) prepare(ctx context.Context, d backends.Delivery, kept *message) (*submission, error) {
	var boxes []mailbox
	var known []identity
	if err := s.request(ctx, mailboxes(&boxes), identities(&known)); err != nil {
		return nil, err
	}
	id, err := identityFor(known, d.From)
	if err != nil {
		return nil, err
	}
	sub := &submission{
		session: s, delivery: d, kept: kept, identity: id, verdicts: make(map[string]*backends.Failure),
		replies: make(map[string]smtpclient.Reply),
		sent:    withRole(boxes, "sent"), drafts: withRole(boxes, "drafts", "sent", "inbox"),
	}
	if sub.drafts == "" {
		return nil, backends.Fail(backends.Permanent, "the account has no mailbox to send from").Say("this login has no mailbox to send from")
	}
	return sub, nil
}

// makeDraft imports the message, unless an earlier attempt has done so.
func (s *submission) makeDraft(ctx context.Context) error {
	if s.email != "" {
		return nil
	}
	blob, err := s.upload(ctx, s.kept)
	if err != nil {
		return forSender(err)
	}
	id, err := s.importBlob(ctx, s.delivery, s.kept, blob, s.drafts, "$draft", "$seen")
	if isMethodError(err, "alreadyExists") && id != "" { // the key is in it, so it is this message
		s.email, s.draft = id, true
		return nil
	}
	s.email, s.draft, s.made = id, true, true
	return forSender(err)
}

// failed notes that the message was submitted for none of these.
func (s *submission) failed(recipients []string, err error) {
	for _, r := range recipients {
		s.verdicts[r] = backends.AsFailure(err)
	}
	s.store.attempts.note(s)
}

// forSender: what is full, when a draft cannot be made, is the mailbox of who sends.
func forSender(err error) error {
	if f := backends.AsFailure(err); f != nil && f.Kind == backends.OverQuota {
		return f.Say("your own mailbox is full: the message cannot be put there to be sent")
	}
	return err
}

// result are the verdicts in the order of the recipients.
func (s *submission) result() []backends.Verdict {
	verdicts := make([]backends.Verdict, len(s.delivery.Recipients))
	for i, r := range backends.Addresses(s.delivery.Recipients) {
		verdicts[i] = backends.Verdict{Recipient: r, Failure: s.verdicts[r]}
		reply, failed := s.replies[r], s.verdicts[r] != nil
		switch class := reply.Code / 100; {
		case class == 4 && !failed:
			verdicts[i].Action = backends.ActionDelayed // the server goes on trying (RFC 8621 §7: "queued")
		case class == 0, (class == 2) == failed:
			continue // it is not about this outcome
		}
		verdicts[i].RemoteDiagnostic = reply.Diagnostic()
	}
	return verdicts
}

// tidyTime is how long tidying up may take: nobody waits for it but the sender.
const tidyTime = 10 * time.Second

// tidy destroys the draft of a message that nobody was sent, and what was sent where there is no
// mailbox for it. That it cannot be is no reason to say anything else. Where something is not known,
// or the message is to be tried again for somebody, it stays for a retry to see.
func (s *submission) tidy(ctx context.Context) {
	defer s.store.attempts.note(s)
	sent, open := false, false
	for _, r := range backends.Addresses(s.delivery.Recipients) {
		f := s.verdicts[r]
		if f != nil && f.Kind == backends.Uncertain {
			return
		}
		sent = sent || f == nil
		open = open || f != nil && f.Temporary()
	}
	arguments := make(map[string]any)
	switch unsent := s.made && s.draft && !sent; {
	case s.email == "":
		return
	case unsent, sent && s.sent == "" && !open:
		arguments["destroy"] = []string{s.email}
		s.email = ""
	case sent && s.draft:
		arguments["update"] = map[string]any{s.email: s.afterSending()}
		s.draft = false
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	_ = s.request(ctx, call{"Email/set", arguments, new(struct{})})
}
