package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/content"
)

// Session is a device that has logged in. It belongs to one connection.
type Session struct {
	*Device
	registry *Registry
	version  int64
}

// SessionOf gives the device of a login; nil: it is none. r may be nil, where there are no devices.
func (r *Registry) SessionOf(ctx context.Context, name string) (*Session, error) {
	switch {
	case name == "":
		return nil, nil
	case r == nil:
		return nil, errors.New("there are no devices here")
	}
	session, err := r.Session(ctx, name)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "device %s: %w", name, err)
	}
	return session, nil
}

// Session gives the device of a login.
func (r *Registry) Session(ctx context.Context, name string) (*Session, error) {
	t, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	d := t.byName[name]
	if d == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return &Session{Device: d, registry: r, version: t.version}, nil
}

// overMost is how long a command waits to hear that it is not the last one.
const overMost = 2 * time.Second

// Over says why the device's session ends now, in words for the device's log; nil: it goes on. While the database does not
// answer it goes on: nothing can be taken in then anyway.
func (s *Session) Over(ctx context.Context) error {
	if !s.Expires.IsZero() && !s.registry.o.Now().Before(s.Expires) {
		return fmt.Errorf("the device %s has expired", s.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, overMost)
	defer cancel()
	t, err := s.registry.now(ctx)
	if err != nil || t.version == s.version {
		return nil //nolint:nilerr // see above
	}
	d := t.now(s.Device)
	switch {
	case d == nil:
		return fmt.Errorf("the device %s was removed", s.Name)
	case d.Disabled:
		return fmt.Errorf("the device %s is switched off", s.Name)
	case !d.logsInAs(s.Device):
		return fmt.Errorf("how the device %s logs in was changed: connect again", s.Name)
	}
	s.Device, s.version = d, t.version
	return nil
}

// Sender is the address that all of its mail is from; not ok: it may say one itself.
func (s *Session) Sender() (box address.Mailbox, ok bool) {
	box, err := address.Parse(s.Sending.Sender)
	return box, err == nil
}

// MaySend says whether it may send as an address; not known: its account's rights say.
func (s *Session) MaySend(box address.Mailbox) (may, known bool) {
	sender, forced := s.Sender()
	switch {
	case forced && sender.EqualFold(box):
		return true, true
	case len(s.Sending.Senders) > 0:
		return matches(s.Sending.Senders, box), true
	}
	return false, forced
}

// MayReach says whether it may send to an address.
func (s *Session) MayReach(box address.Mailbox) bool {
	return len(s.Sending.Recipients) == 0 || matches(s.Sending.Recipients, box)
}

// Mail is what is done to the header of its mail.
func (s *Session) Mail() content.DeviceMail {
	m := content.DeviceMail{
		Name: s.Sending.SenderName, Keep: s.Sending.KeepFrom, SubjectPrefix: s.Sending.SubjectPrefix, Charset: s.Sending.Charset, Now: s.registry.o.Now(),
	}
	m.Sender, _ = s.Sender()
	return m
}

// Take counts a message for so many recipients, and says how long it waits before it leaves. The error says that the
// device has sent more than it may: it is a [*backends.Failure] of the kind Throttled, or Permanent where the message alone has
// more recipients than a day. GiveBack takes it off again if the message was not taken.
func (s *Session) Take(ctx context.Context, recipients int) (wait time.Duration, giveBack func(context.Context), err error) {
	if most := s.Sending.RecipientsPerDay; most > 0 && recipients > most {
		return 0, nil, s.neverFits(recipients)
	}
	var taken []func(context.Context)
	giveBack = func(ctx context.Context) {
		for _, back := range taken {
			back(ctx)
		}
	}
	for _, day := range []struct {
		what       string
		want, most int
	}{{ofMessages, 1, s.Sending.PerDay}, {ofRecipients, recipients, s.Sending.RecipientsPerDay}} {
		back, err := s.takeOfDay(ctx, day.what, day.want, day.most)
		if err != nil {
			giveBack(ctx)
			return 0, nil, err
		}
		taken = append(taken, back)
	}
	id, sending := s.Password, s.Sending
	wait, ok := s.registry.paces.take(id, sending, s.registry.o.Now())
	if !ok {
		giveBack(ctx)
		return 0, nil, s.tooMuch("more than its rate lets leave within a day waits already")
	}
	taken = append(taken, func(context.Context) { s.registry.paces.giveBack(id, sending) })
	return wait, giveBack, nil
}

// What is counted of a device's day, in the words of who has sent too much.
const ofMessages, ofRecipients = "messages", "recipients"

// dayOf is what a device's day is counted under.
func dayOf(device, what string) string { return "device:" + device + ":" + what }

// takeOfDay counts what is bounded for 24 hours.
func (s *Session) takeOfDay(ctx context.Context, what string, want, most int) (back func(context.Context), err error) {
	counts := s.registry.o.Counts
	if most == 0 || counts == nil {
		return func(context.Context) {}, nil
	}
	key := dayOf(s.Name, what)
	giveBack := func(n int) func(context.Context) {
		return func(ctx context.Context) {
			if err := counts.GiveBack(ctx, key, n); err != nil {
				s.registry.o.Log.Warn().Err(err).Str("device", s.Name).Msg("a message that was not taken counts for the device's day")
			}
		}
	}
	taken, again, err := counts.Take(ctx, key, want, most)
	switch {
	case err != nil:
		return nil, backends.Fail(backends.Temporary, "device %s: %w", s.Name, err)
	case taken < want:
		giveBack(taken)(ctx)
		return nil, s.tooMuch(fmt.Sprintf("it may send %d %s in 24 hours; there is room again at %s UTC", most, what, again.UTC().Format("2006-01-02 15:04")))
	}
	return giveBack(want), nil
}

func (s *Session) tooMuch(why string) error {
	said := "the device " + s.Name + " has sent too much: " + why + ", or ask who looks after this gateway"
	return backends.Fail(backends.Throttled, "device %s: %s", s.Name, why).Say(said).WithCode("4.7.1")
}

// neverFits refuses a message for good that no day has room for: a device that tries it again would do so for ever.
func (s *Session) neverFits(recipients int) error {
	why := fmt.Sprintf("may send to %d recipients in 24 hours, and this message has %d: send it to fewer", s.Sending.RecipientsPerDay, recipients)
	return backends.Fail(backends.Permanent, "device %s %s", s.Name, why).Say("the device " + s.Name + " " + why).WithCode("5.5.3")
}

// Failed notes that something of the device's went wrong, in words.
func (s *Session) Failed(what string) { s.registry.Note(s.Name, Use{Failed: what}) }

// Used notes that the device has logged in.
func (s *Session) Used(from string) { s.registry.Note(s.Name, Use{From: from}) }

// Done counts a message of the device's by what became of it: taken, deferred, refused.
func (s *Session) Done(outcome string) {
	if s.registry.o.Observe != nil {
		s.registry.o.Observe(s.Name, outcome)
	}
}

// IsKnown says whether what the device may send as is known without asking the store of its account.
func (s *Session) IsKnown() bool { return s.Sending.Sender != "" || len(s.Sending.Senders) > 0 }
