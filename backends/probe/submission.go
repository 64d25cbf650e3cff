package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// Submission is a server that takes mail, and how it is spoken to.
type Submission struct {
	Address string
	// Options are those that mail is sent with. Auth logs in; nil: nobody does.
	Options smtpclient.Options
	// ByToken says that the login is by a token of the gateway's own, and User who logs in.
	ByToken bool
	User    string
	// Connections is how many connections are configured to be open at a time; 0: it is not looked at.
	Connections int
	// Envelope is of the question whether mail would be taken: it is asked with MAIL and RCPT, and nothing is sent. Without
	// recipients it is not asked.
	Envelope smtpclient.Envelope
}

// connectionsTried bounds how many connections are opened to find out whether so many are taken.
const connectionsTried = 20

// Submit goes the way to a server that takes mail: the steps name, connection, SMTP (with TLS), login, connections and recipient. It
// says whether the login was good, or nobody logged in.
func (w *Way) Submit(s Submission) bool {
	protocol := "SMTP"
	if s.Options.LMTP {
		protocol = "LMTP"
	}
	if !w.Server(s.Address) || !w.Step(protocol+" at "+s.Address, s.greets) {
		return false
	}
	if s.Options.Auth == nil {
		w.recipient(s)
		return true
	}
	if !w.Step("login at "+s.Address, s.logIn) {
		return false
	}
	if s.Connections > 1 {
		w.Step("connections to "+s.Address, s.many)
	}
	w.recipient(s)
	return true
}

func (w *Way) recipient(s Submission) {
	if len(s.Envelope.Recipients) > 0 {
		w.Step("recipient at "+s.Address, s.asks)
	}
}

// greets connects without a login.
func (s Submission) greets(ctx context.Context) (found Found, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := s.Options
	o.Auth = nil
	client, err := smtpclient.Dial(ctx, "tcp", s.Address, o)
	if err != nil {
		return found, s.failed(err)
	}
	defer client.Close() //nolint:errcheck // nothing was sent
	detail := "without TLS"
	if state := client.TLSState(); state != nil {
		found = certificate(*state)
		detail = found.Detail
	}
	if size, is := client.Extension("SIZE"); is && size != "" && size != "0" {
		detail += ", messages of up to " + size + " octets"
	}
	if mechanisms, is := client.Extension("AUTH"); is {
		detail += ", logins by " + mechanisms
	} else if s.Options.Auth != nil {
		return found, Because(MethodNotOffered, backends.Fail(backends.Permanent, "the server offers no login here"))
	}
	found.Detail = detail
	return found, nil
}

// failed gives what a connection has failed with its cause.
func (s Submission) failed(err error) error {
	failure := backends.Fail(backends.Temporary, "%w", err)
	wrong, secured := errors.AsType[*smtpclient.TLSError](err)
	refused, replied := errors.AsType[*smtpclient.ReplyError](err)
	switch {
	case secured && errors.Is(err, smtpclient.ErrNoTLS), secured && replied:
		return Because(NoTLS, failure)
	case secured:
		return Because(TLSCause(wrong.Err), failure)
	case replied && refused.Command == "AUTH":
		return ByReply(failure, refused.Reply, s.ByToken)
	case replied:
		if cause, is := ByText(strings.Join(refused.Lines, " ")); is {
			return Because(cause, failure)
		}
		return Because(TooMuch, failure)
	case errors.Is(err, context.DeadlineExceeded):
		return Because(NoAnswer, failure)
	}
	return ByToken(failure)
}

func (s Submission) dial(ctx context.Context) (*smtpclient.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := smtpclient.Dial(ctx, "tcp", s.Address, s.Options)
	if err != nil {
		return nil, s.failed(err)
	}
	return client, nil
}

func (s Submission) logIn(ctx context.Context) (Found, error) {
	client, err := s.dial(ctx)
	if err != nil {
		return Found{}, err
	}
	_ = client.Close()
	who := s.User
	if who == "" {
		who = "the gateway"
	}
	return Found{Detail: who + " is logged in"}, nil
}

// many opens as many connections as are configured. The logins are those that were good just before.
func (s Submission) many(ctx context.Context) (Found, error) {
	return Many(ctx, s.Connections, func(ctx context.Context) (func(), error) {
		client, err := s.dial(ctx)
		return func() { _ = client.Close() }, err
	})
}

// Many opens connections, each of which the function that comes with it closes, and says whether so many are taken at a time. That
// a server takes fewer is a warning.
func Many(ctx context.Context, configured int, open func(context.Context) (end func(), err error)) (Found, error) {
	wanted := min(configured, connectionsTried)
	var ends []func()
	defer func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}()
	for len(ends) < wanted {
		end, err := open(ctx)
		if err != nil && len(ends) > 0 {
			found := Found{Detail: fmt.Sprintf("%d are taken, and %d are configured: %v", len(ends), configured, err), Warning: ConnectionsOver}
			found.Warning.Advice += fmt.Sprintf(" Set connections to %d at the most.", len(ends))
			return found, nil
		}
		if err != nil {
			return Found{}, err
		}
		ends = append(ends, end)
	}
	if wanted < configured {
		return Found{Detail: fmt.Sprintf("%d at a time are taken, of %d that are configured; more were not tried", wanted, configured)}, nil
	}
	return Found{Detail: fmt.Sprintf("%d at a time are taken", wanted)}, nil
}

// asks whether mail would be taken.
func (s Submission) asks(ctx context.Context) (found Found, err error) {
	client, err := s.dial(ctx)
	if err != nil {
		return found, err
	}
	defer client.Close() //nolint:errcheck // nothing was sent
	outcomes, err := client.Ask(ctx, s.Envelope)
	if err != nil {
		return found, s.failed(err)
	}
	for _, o := range outcomes {
		if _, said := o.Said(); o.Err != nil && !said {
			return found, backends.Fail(backends.Temporary, "%s: %w", o.Recipient, o.Err)
		}
		if reply, said := o.Said(); said && reply.Code/100 != 2 {
			refusal := backends.Fail(backends.Permanent, "%s: %d %s", o.Recipient, reply.Code, strings.Join(reply.Lines, " / "))
			if cause, is := ByText(strings.Join(reply.Lines, " ")); is {
				return found, Because(cause, refusal)
			}
			return found, refusal
		}
	}
	return Found{Detail: fmt.Sprintf("mail from %s for %s would be taken", s.Envelope.ReversePath, strings.Join(s.Envelope.Recipients, ", "))}, nil
}
