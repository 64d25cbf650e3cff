package routing

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/spool"
)

// What a Submission does for devices (package devices): clients that may be known without AUTH, whose mail is mended, whose
// peaks wait in the queue, and whose owner is told of what was refused.

// errFailedLogin keeps a client whose login has failed from being taken for the device that is where it is.
var errFailedLogin = &smtp.Error{Code: 530, Enhanced: "5.7.0", Text: "Authentication required: the login has failed, and who tries one is not known by its address"}

// Recognize implements [smtp.Recognizes].
func (s *submissionSession) Recognize(ctx context.Context) (bool, error) {
	switch {
	case s.o.Devices == nil || s.o.Authenticator == nil:
		return false, nil
	case s.failed:
		return false, errFailedLogin
	}
	known, err := s.o.Authenticator.Recognize(ctx, s)
	if err != nil {
		s.leave()
		return false, recognition(err)
	}
	return known, nil
}

// recognition is the reply to MAIL of a device that may not log in: it has said nothing that could be wrong, so 535 is not
// for it.
func recognition(err error) error {
	failure := backends.AsFailure(err)
	if failure.Kind == backends.Permanent {
		return &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: failure.Reply().Text, Err: err}
	}
	return replies.SMTP(err)
}

// Over implements [smtp.Ends]: a device that is off now is told so, whatever it says next.
func (s *submissionSession) Over(ctx context.Context) *smtp.Error {
	if s.who == nil || s.who.device == nil {
		return nil
	}
	if err := s.who.device.Over(ctx); err != nil {
		return &smtp.Error{Code: 421, Enhanced: "4.7.1", Text: err.Error(), Fatal: true}
	}
	return nil
}

// forced is the reverse-path of a message: the device's own, whatever it says, if it has one.
func (s *submissionSession) forced(path address.Path) address.Path {
	if s.who.device != nil {
		if box, forced := s.who.device.Sender(); forced {
			return box.Path()
		}
	}
	return path
}

// noteRefusal remembers what a device was told, for who looks after it.
func (s *submissionSession) noteRefusal(err error) {
	if err != nil && s.who != nil && s.who.device != nil {
		reply := replyOf(err)
		s.who.device.Failed(fmt.Sprintf("%d %s %s", reply.Code, reply.Enhanced, reply.Text))
	}
}

// notTo refuses a recipient that is not the device's.
func (s *submissionSession) notTo(box address.Mailbox) error {
	d := s.who.device
	return &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: backends.SafeText("the device " + d.Name + " may not send to " + box.String() + ", but to " + some(d.Sending.Recipients))}
}

// some are a few of a list, within the bound of a reply line (RFC 5321 §4.5.3.1.5).
func some(list []string) string {
	const most = 3
	if len(list) > most {
		return strings.Join(list[:most], ", ") + " and others"
	}
	return strings.Join(list, ", ")
}

// advice says which sender may be set.
func (i *identity) advice() string {
	if i.device == nil || len(i.device.Sending.Senders) == 0 {
		return i.owns.advice()
	}
	return " to " + backends.SafeText(some(i.device.Sending.Senders))
}

// count counts a message of a device, and has what is above its rate wait. What is returned is to be called with what
// became of the message, and never nil.
func (s *submissionSession) count(ctx context.Context) (done func(context.Context, error), err error) {
	t, device := s.current, s.who.device
	if device == nil {
		return func(context.Context, error) {}, nil
	}
	finish := func(_ context.Context, err error) {
		s.noteRefusal(err)
		device.Done(outcomeWord(err))
	}
	wait, giveBack, err := device.Take(ctx, len(t.to))
	if err != nil {
		return finish, replies.SMTP(err)
	}
	done = func(ctx context.Context, err error) {
		if err != nil {
			giveBack(context.WithoutCancel(ctx))
		}
		finish(ctx, err)
	}
	if wait > 0 {
		return done, t.delay(wait)
	}
	return done, nil
}

func outcomeWord(err error) string {
	switch {
	case err == nil:
		return "taken"
	case replyOf(replies.SMTP(err)).Code < 500:
		return "deferred"
	}
	return "refused"
}

// errPace is for a device above its rate whose mail nobody can keep.
var errPace = backends.Fail(backends.Throttled, "a device is above its rate, and there is no queue for its mail").
	Say("the device sends faster than it may, and there is no queue here: try again later").WithCode("4.7.1")

// delay has all recipients wait in the queue.
func (t *transaction) delay(wait time.Duration) error {
	if !t.o.queueing() || t.from != nil && t.from.Sends {
		return replies.SMTP(errPace)
	}
	for i := range t.to {
		r := &t.to[i]
		if r.wait = wait; r.destination == "" {
			r.destination = route.StoreDestination(r.store.Name)
		}
	}
	t.log.Info().Dur("wait_ms", wait).Msg("the device is above its rate: the message waits in the queue")
	return nil
}

// mendDevice mends the header of a device's message. The body stays as it is.
func (s *submissionSession) mendDevice(p *delivery, h *header.Header, m *message, size int64) {
	if s.who.device == nil {
		return
	}
	mail := s.who.device.Mail()
	mail.UTF8 = s.current.options.UTF8
	mail.Body = func() (seen content.EightBit) {
		if _, err := io.Copy(&seen, m.From(size)); err != nil {
			return content.EightBit{} // what cannot be read fails where it matters
		}
		if seen.Seen { // devices do not say so
			p.envelope.Body = backends.Body8BitMIME
		}
		return seen
	}
	mail.Apply(h)
}

// noteFailures remembers whom a device's message was refused for although it was taken.
func (d *delivery) noteFailures(refused []receivers.Outcome) {
	if d.device == nil {
		return
	}
	for _, o := range refused {
		reply := o.Reply()
		d.device.Failed(fmt.Sprintf("to %s: %s %s", o.Recipient.Address, reply.Enhanced, reply.Text))
		d.device.Done("failed")
	}
}

// origin is the device as the queue has it.
func (d *delivery) origin() spool.Origin {
	if d.device == nil {
		return spool.Origin{}
	}
	return spool.Origin{Device: d.device.Name, Place: d.device.Place, Owner: d.device.Owner}
}

// reportsTo is the device whose owner gets the reports; zero: the sender gets them.
func (d *delivery) reportsTo() notice.Device {
	o := d.origin()
	return notice.Device{Name: o.Device, Place: o.Place, Owner: o.Owner}
}
