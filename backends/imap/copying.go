package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/backends/tempfolder"
)

const (
	// copyEvery is how often it is looked for copies that are to be made, and copyMost the longest pause after one that has failed.
	copyEvery = 15 * time.Second
	copyMost  = time.Hour
	// providersCopy is how long a server has to put a copy of its own into the Sent folder of a mailbox that another one has sent for: it may
	// be set to (Exchange Online: MessageCopyForSentAsEnabled), and does so some time after it has taken the message.
	providersCopy = time.Minute
	// waitsLong is when the administrator is told that copies wait.
	waitsLong = time.Hour
)

// copying makes the copies that nobody has made with the sending.
type copying struct {
	*copies
	temporary   *tempfolder.Folder // the state folder where there is none; nil: there is one
	every, wait time.Duration      // copyEvery, providersCopy
	stop        context.CancelFunc
	work        sync.WaitGroup
	ctx         context.Context //nolint:containedctx // of the work, which ends with the store
	looking     sync.Map        // by mailbox: a login looks for what is owed to it

	mu    sync.Mutex
	owed  map[string]waiting   // by name, of the last look
	kept  map[string]time.Time // by name, of the last look: when a copy was made that is only remembered
	tried map[string]attempt   // by name
}

// waiting is a copy that is to be made.
type waiting struct {
	mailbox string
	since   time.Time
}

// attempt is when a copy that could not be made is tried again.
type attempt struct {
	times int
	again time.Time
}

// startCopying makes the folder and begins to look into it, where the settings want copies.
func (s *Store) startCopying() error {
	if s.settings.Sending.Sent == "" {
		return nil
	}
	c := &copying{every: copyEvery, wait: providersCopy, owed: make(map[string]waiting), tried: make(map[string]attempt)}
	state, err := s.stateDir, error(nil)
	if state == "" { // nothing outlasts this process
		if c.temporary, err = tempfolder.New("", "sent"); err == nil {
			state = c.temporary.Path
		}
	}
	if err == nil {
		c.copies, err = newCopies(state)
	}
	if err != nil {
		return backends.Fail(backends.Temporary, "the folder for copies of what is sent: %w", err)
	}
	if s.copyTimes != nil {
		c.every, c.wait = s.copyTimes()
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	s.copying = c
	c.work.Go(func() {
		for {
			s.copyOwed(c.ctx, func(mailbox string) (backends.Credential, bool) {
				return backends.Credential{Kind: backends.CredentialImpersonation, User: mailbox}, s.settings.actsForUsers()
			})
			if !pause.For(c.ctx, c.every) {
				return
			}
		}
	})
	return nil
}

// end ends the work. c may be nil.
func (c *copying) end() {
	if c != nil {
		c.stop()
		c.work.Wait()
		if c.temporary != nil {
			_ = c.temporary.Remove() // the next one sweeps it
		}
	}
}

// sendAndCopy sends a message that a copy is to be made of. It is on the disk before it leaves, so that the copy is made whatever ends.
func (s *Store) sendAndCopy(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader, submit func(io.Reader) ([]backends.Verdict, error)) ([]backends.Verdict, error) {
	folder, name := s.copying, nameOf(s.loginName(c), d.Key)
	before, _ := folder.read(name) // one that cannot be read says nothing
	k := folder.open(name)
	if k == nil && !folder.isThere(name) && (before == nil || before.Copied.IsZero()) {
		var err error
		if k, err = folder.keep(name, content); err != nil {
			return nil, err
		}
		content = k.reader()
	}
	if k != nil {
		defer k.close()
	}
	verdicts, err := submit(content)
	if !sentToSomebody(verdicts) {
		if k != nil && before == nil && !uncertain(verdicts, err) {
			k.discard()
		}
		return verdicts, err
	}
	due := s.noteSent(c, d, name, verdicts)
	if k != nil && !due.After(time.Now()) {
		s.copyNow(ctx, c, k)
	}
	return verdicts, nil
}

// uncertain says whether somebody may have been sent a message.
func uncertain(verdicts []backends.Verdict, err error) bool {
	return backends.KindOf(err) == backends.Uncertain || slices.ContainsFunc(verdicts, func(v backends.Verdict) bool {
		return v.Failure != nil && v.Failure.Kind == backends.Uncertain
	})
}

// noteSent notes who has been sent a message, and says when its copy is due. That it cannot be noted is no reason to say that the message
// was not sent.
func (s *Store) noteSent(c backends.Credential, d backends.Delivery, name string, verdicts []backends.Verdict) (due time.Time) {
	now := time.Now()
	if due = now; s.saves() { // whoever sends for the mailbox has the server's copy, and the mailbox may get one, too
		due = now.Add(s.copying.wait)
	}
	err := s.copying.change(name, func(r *record) {
		if r.Key == "" {
			*r = record{Mailbox: mailboxOf(c), Key: d.Key, Sent: now, Due: due}
		}
		for _, v := range verdicts {
			if v.Failure == nil && !slices.Contains(r.Recipients, v.Recipient) {
				r.Recipients = append(r.Recipients, v.Recipient)
			}
		}
		due = r.Due
	})
	if err != nil {
		s.log.Warn().Err(err).Str("key", d.Key).Msg("a message was sent, and it cannot be noted: its copy for the Sent folder is not made again if it fails now")
		return now
	}
	return due
}

// mailboxOf is whose mailbox a credential opens.
func mailboxOf(c backends.Credential) string {
	if c.ActAs != "" {
		return c.ActAs
	}
	return c.User
}

// copyNow makes a copy, if it is not made. One that fails is tried again.
func (s *Store) copyNow(ctx context.Context, c backends.Credential, k *lockedMessage) {
	if r, err := k.read(k.name); err == nil && r != nil && !r.Copied.IsZero() { // somebody else has made it
		k.discard()
		return
	}
	id := messageID(k.reader())
	begun, err := s.copyToSent(ctx, c, k, id)
	if err == nil || begun && id == "" && !isRefusal(err) { // without an id nobody can ask whether it is there
		if e := k.change(k.name, func(r *record) { r.Copied = time.Now() }); e != nil {
			s.log.Warn().Err(e).Msg("a copy is in the Sent folder, and it cannot be noted")
		}
		k.discard()
		s.copying.made(k.name)
	}
	if err != nil {
		again := s.copying.failed(k.name, backends.AsFailure(err).RetryAfter)
		s.log.Warn().Err(err).Str("mailbox", mailboxOf(c)).Time("again", again).Msg("a message was sent, but no copy is in the Sent folder yet")
	}
}

// made forgets that a copy is to be made.
func (c *copying) made(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.owed, name)
	delete(c.tried, name)
}

// failed says when a copy is tried again.
func (c *copying) failed(name string, after time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := c.tried[name].times
	pause := min(c.every<<min(times, 16), copyMost)
	again := time.Now().Add(max(pause, min(after, copyMost)))
	c.tried[name] = attempt{times + 1, again}
	return again
}

// rests says whether a copy has failed lately.
func (c *copying) rests(name string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.tried[name].again)
}

// copyOwed makes the copies that are due, and tidies up. with gives what a mailbox is opened with; not ok: nothing does.
func (s *Store) copyOwed(ctx context.Context, with func(mailbox string) (backends.Credential, bool)) {
	folder, now := s.copying, time.Now()
	owed, kept := make(map[string]waiting), make(map[string]time.Time)
	err := folder.names(ctx, func(name string) bool {
		if copied, is := folder.keeps(name); is && now.Sub(copied) <= keptFor { // most are such, and nothing is to be done for them
			kept[name] = copied
			return true
		}
		r, err := folder.read(name)
		switch {
		case r == nil: // it is gone
		case err != nil && !errors.Is(err, errDamaged): // the disk does not say it now: the message stays
			s.log.Warn().Err(err).Msg("what is known of a sent message cannot be read: its copy waits")
		case err != nil || !r.Copied.IsZero() && now.Sub(r.Copied) > keptFor:
			folder.forget(name)
		case !r.Copied.IsZero():
			kept[name] = r.Copied
		case !folder.isThere(name): // that the copy is made could not be noted
			if now.Sub(r.Sent) > keptFor {
				folder.forget(name)
			}
		case now.Sub(r.Sent) > giveUpAfter:
			s.log.Error().Str("mailbox", r.Mailbox).Str("key", r.Key).Time("sent", r.Sent).Msg("a message was sent, and for a week no copy could be put into the Sent folder: it is given up")
			folder.forget(name)
		default:
			owed[name] = waiting{r.Mailbox, r.Sent}
			if c, ok := with(r.Mailbox); ok && !now.Before(r.Due) && !folder.rests(name, now) {
				s.copyOne(ctx, c, name)
			}
		}
		return true
	})
	if err == nil {
		err = folder.sweep(now)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn().Err(err).Msg("the folder for copies of what is sent cannot be read")
	}
	folder.look(owed, kept)
}

// keeps says when a copy was made that the last look has found to be made.
func (c *copying) keeps(name string) (copied time.Time, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copied, is = c.kept[name]
	return copied, is
}

// copyOne makes a copy that nobody else is making.
func (s *Store) copyOne(ctx context.Context, c backends.Credential, name string) {
	k := s.copying.open(name)
	if k == nil {
		return
	}
	defer k.close()
	s.copyNow(ctx, c, k)
}

// forget takes a message and what is known of it away.
func (c *copying) forget(name string) {
	if k := c.open(name); k != nil {
		k.discard()
	}
	if !c.isThere(name) {
		c.remove(name)
	}
	c.made(name)
}

// look notes what a look has found.
func (c *copying) look(owed map[string]waiting, kept map[string]time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range owed {
		if r, err := c.read(name); err != nil || r == nil || !r.Copied.IsZero() {
			delete(owed, name)
		}
	}
	c.owed, c.kept = owed, kept
	for name := range c.tried {
		if _, is := owed[name]; !is {
			delete(c.tried, name)
		}
	}
}

// copyFor makes the copies for a mailbox that somebody has just opened: of a store that does not let the gateway act for its users nobody
// else can.
func (s *Store) copyFor(c backends.Credential) {
	folder, mailbox := s.copying, mailboxOf(c)
	if folder == nil || folder.ctx.Err() != nil || s.settings.actsForUsers() || !folder.owes(mailbox) {
		return
	}
	if _, looking := folder.looking.LoadOrStore(mailbox, true); looking {
		return // by one login at a time, as each looks at all that is owed
	}
	folder.work.Go(func() {
		defer folder.looking.Delete(mailbox)
		s.copyOwed(folder.ctx, func(whose string) (backends.Credential, bool) { return c, fold.Equal(whose, mailbox) })
	})
}

// owes says whether copies for a mailbox are to be made.
func (c *copying) owes(mailbox string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.owed {
		if fold.Equal(w.mailbox, mailbox) {
			return true
		}
	}
	return false
}

// warnings tell of copies that have waited for long.
func (c *copying) warnings(now time.Time) (all []backends.Warning) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var since time.Time
	for _, w := range c.owed {
		if since.IsZero() || w.since.Before(since) {
			since = w.since
		}
	}
	if since.IsZero() || now.Sub(since) < waitsLong {
		return nil
	}
	return []backends.Warning{{
		Name: "sent-copies", Kind: backends.WarningOther, Since: since, Text: fmt.Sprintf("%d copies of sent messages could not be put into Sent folders yet", len(c.owed)),
		Advice: "The log says why (no copy is in the Sent folder yet). They are tried for a week.",
	}}
}
