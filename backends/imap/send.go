package imap

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/remote"
)

var _ backends.SessionSender = (*Store)(nil)

// Send submits through the store's own submission server, with the client's credential: a sending
// session of one message.
func (s *Store) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	session, err := s.OpenSending(ctx, c)
	if err != nil {
		return nil, err
	}
	defer session.Close() //nolint:errcheck // the message has its verdicts
	return session.Send(ctx, d, content)
}

// OpenSending begins a sending session: one connection to the submission server, which logs in with the
// first message, and again where the server has ended it.
func (s *Store) OpenSending(_ context.Context, c backends.Credential) (backends.Sending, error) {
	if s.settings.Sending.Address == "" {
		return nil, backends.Fail(backends.Unsupported, "submission.address is not set")
	}
	if err := s.accepts(c); err != nil {
		return nil, err
	}
	return &sendSession{store: s, credential: c}, nil
}

// sendSession is a sending session.
type sendSession struct {
	store      *Store
	credential backends.Credential
	client     *smtpclient.Client // nil: there is no connection
	closed     bool
}

// Close implements [backends.Sending].
func (t *sendSession) Close() error {
	t.closed = true
	t.hangUp()
	return nil
}

// hangUp ends the connection, if there is one.
func (t *sendSession) hangUp() {
	if t.client != nil {
		_ = t.client.Close() // what was sent was answered
	}
	t.client = nil
}

// Send implements [backends.Sending]. What the submission server answers is the verdict. A copy goes to
// the Sent folder where the settings name one. That server cannot be asked what became of an earlier
// attempt: a retry leaves out the recipients that this process knows to have been sent the message, and
// nobody else.
func (t *sendSession) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if t.closed {
		return nil, backends.SendingClosed()
	}
	s, c := t.store, t.credential
	end, err := s.inFlight.Begin(ctx, "send "+d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	if t.client == nil {
		if t.client, err = s.dialSubmission(ctx, c); err != nil {
			return nil, err
		}
	}
	account, left := s.loginName(c), d
	if s.copies(c) && d.Retry {
		before, err := s.copying.folder.sentTo(account, d.Key) // by a process before this one
		if err != nil {
			return nil, err
		}
		s.sent.Add(account, d.Key, before...)
	}
	left.Recipients = backends.To(s.sent.Left(account, d)...)
	verdicts, err := s.sendTo(ctx, c, t.client, left, content)
	if !t.client.Alive() {
		t.hangUp()
	}
	if err != nil {
		return nil, failure("submit", err, backends.Temporary)
	}
	return s.sent.Note(account, d, verdicts), nil
}

// sendTo sends to those who have not been sent the message.
func (s *Store) sendTo(ctx context.Context, c backends.Credential, client *smtpclient.Client, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if len(d.Recipients) == 0 {
		_, err := io.Copy(io.Discard, content)
		return nil, err
	}
	envelope := smtpclient.Envelope{ReversePath: d.From, Recipients: backends.Addresses(d.Recipients), Size: d.Size, EightBit: d.Body == backends.Body8BitMIME, UTF8: d.SMTPUTF8, Priority: d.Priority}
	if !s.copies(c) {
		return s.submit(ctx, c, client, envelope, content)
	}
	return s.sendAndCopy(ctx, c, d, content, func(content io.Reader) ([]backends.Verdict, error) {
		return s.submit(ctx, c, client, envelope, content)
	})
}

func (s *Store) submit(ctx context.Context, c backends.Credential, client *smtpclient.Client, envelope smtpclient.Envelope, content io.Reader) ([]backends.Verdict, error) {
	outcomes, err := client.Send(ctx, envelope, content)
	if refused := (*smtpclient.ReplyError)(nil); errors.As(err, &refused) && refused.Command == "AUTH" {
		return nil, s.submissionRefused(c, refused.Reply) // by a connection that followed another
	}
	if err != nil {
		return nil, remote.SendFailure("submit", err)
	}
	verdicts := remote.Verdicts(client.Server(), outcomes)
	for i := range verdicts {
		if verdicts[i].Failure == nil {
			verdicts[i].Action = backends.ActionRelayed
		}
	}
	return verdicts, nil
}

func sentToSomebody(verdicts []backends.Verdict) bool {
	for _, v := range verdicts {
		if v.Failure == nil {
			return true
		}
	}
	return false
}

func (s *Store) dialSubmission(ctx context.Context, c backends.Credential) (*smtpclient.Client, error) {
	address := s.settings.Sending.Address
	config := s.tls.Clone()
	if s.settings.Name == "" {
		config.ServerName, _ = hostPort(address)
	}
	client, err := smtpclient.Dial(ctx, "tcp", address, smtpclient.Options{
		Hello: s.hostname, TLS: remote.Secured(s.settings.Sending.TLS, config), Timeouts: smtpclient.Within(time.Duration(s.settings.Timeout)), Auth: s.submissionAuth(c), TempDir: s.stateDir,
	})
	var refused *smtpclient.ReplyError
	if errors.As(err, &refused) && refused.Command == "AUTH" {
		return nil, s.submissionRefused(c, refused.Reply)
	}
	if known := (*backends.Failure)(nil); errors.As(err, &known) { // there is no token
		return nil, known
	}
	if err != nil && refused == nil && ctx.Err() == nil { // a server that answers may answer others otherwise
		return nil, backends.AsFailure(remote.ConnectFailure(address, noTLS, err)).OfStore()
	}
	return client, remote.ConnectFailure(address, noTLS, err)
}

// submissionRefused is what a refused login means. One of the gateway's own is for the administrator to put right: no user
// can, and nobody's mail is to come back for it.
func (s *Store) submissionRefused(c backends.Credential, r smtpclient.Reply) *backends.Failure {
	f := remote.LoginFailure(r)
	// Exchange Online answers so where New-ServicePrincipal was given another object's id.
	_, text := r.Enhanced()
	wrongObject := strings.Contains(strings.ToLower(text), "storedrv")
	if !s.byToken(c) || !wrongObject && (f.Kind == backends.Temporary || f.Kind == backends.Throttled) {
		return f
	}
	return backends.Fail(backends.Temporary, "the submission server does not let %s in with the gateway's token (Microsoft: SMTP.SendAsApp with consent, Add-RecipientPermission … SendAs, SMTP AUTH enabled for tenant and mailbox; New-ServicePrincipal with the object id of the enterprise application, not that of the app registration): %w", s.submitter(c.User), f).
		WithCode("4.7.8").Say("the mail server ahead does not let this gateway send now, tell your administrator")
}

func (s *Store) submissionAuth(c backends.Credential) func(context.Context, []string) (sasl.Client, error) {
	user := s.loginName(c)
	switch c.Kind {
	case backends.CredentialToken:
		return func(_ context.Context, offered []string) (sasl.Client, error) {
			return newBearer(offered, s.settings.Sending.Address, bearerName(c, user), string(c.Secret))
		}
	case backends.CredentialImpersonation:
		if s.tokens != nil {
			return s.submitByToken(c)
		}
		return smtpclient.Plain(user, s.settings.Master.User, s.settings.Master.Password)
	}
	return smtpclient.Plain(c.ActAs, user, string(c.Secret))
}

// messageID is a message's Message-ID; empty: it has none.
func messageID(message io.Reader) string {
	h, _, err := header.Read(message, header.Most)
	if err != nil {
		return ""
	}
	if ids := h.All("Message-ID"); len(ids) > 0 {
		return ids[0].Value()
	}
	return ""
}
