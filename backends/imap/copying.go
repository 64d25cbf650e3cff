package imap

import (
	"context"
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
	// copyEvery is how often it is looked for copies that are to be made, and the first pause after one that has failed.
	copyEvery = 15 * time.Second
	// providersCopy is how long a server has to put a copy of its own into the Sent folder of a mailbox that another one has sent for: it may
	// be set to (Exchange Online: MessageCopyForSentAsEnabled), and does so some time after it has taken the message.
	providersCopy = time.Minute
	// copyEnds is how long a copy that is under way has when the store ends: nobody knows the end of an APPEND that is broken off. The gateway
	// gives a process two seconds.
	copyEnds = time.Second
)

// copying makes the copies of what is sent. A message is on the disk before it is sent, who were sent it before that is answered, and its copy
// is made beside the sending.
type copying struct {
	folder        *copies
	queue         *copyQueue
	temporary     *tempfolder.Folder // the state folder where there is none; nil: there is one
	providersTime time.Duration      // providersCopy
	stop          context.CancelFunc
	ctx           context.Context //nolint:containedctx // of the work, which ends with the store

	workMu sync.Mutex // held while work begins
	ended  bool
	work   sync.WaitGroup
}

// startCopying makes the folder and begins to look into it, where the settings want copies.
func (s *Store) startCopying() error {
	if s.settings.Sending.Sent == "" {
		return nil
	}
	every, wait := copyEvery, providersCopy
	if s.copyTimes != nil {
		every, wait = s.copyTimes()
	}
	c := &copying{queue: newCopyQueue(s.settings.Sending.Copies, every, s.settings.actsForUsers()), providersTime: wait}
	state, err := s.stateDir, error(nil)
	if state == "" { // nothing outlasts this process
		if c.temporary, err = tempfolder.New("", "sent"); err == nil {
			state = c.temporary.Path
		}
	}
	if err == nil {
		c.folder, err = newCopies(state)
	}
	if err != nil {
		return backends.Fail(backends.Temporary, "the folder for copies of what is sent: %w", err)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	s.copying = c
	c.beside(func() {
		for {
			s.look(c.ctx)
			s.copyNow(nil)
			if !pause.For(c.ctx, every) {
				return
			}
		}
	})
	return nil
}

// beside does something beside, unless the work has ended.
func (c *copying) beside(do func()) bool {
	c.workMu.Lock()
	defer c.workMu.Unlock()
	if !c.ended {
		c.work.Go(do)
	}
	return !c.ended
}

// drain ends the work where another process goes on with it: where a copy needs the credential of who has sent the message, or its folder is
// this process's own, none does. c may be nil.
func (c *copying) drain() {
	if c != nil && c.queue.acts && c.temporary == nil {
		c.queue.close() // what is under way is made: broken off, the other process might look for it before the server has it, and make another
	}
}

// end ends the work. c may be nil.
func (c *copying) end() {
	if c == nil {
		return
	}
	c.queue.close()
	c.queue.idle(copyEnds)
	c.stop()
	c.workMu.Lock()
	c.ended = true
	c.workMu.Unlock()
	c.work.Wait()
	if c.temporary != nil {
		_ = c.temporary.Remove() // the next one sweeps it
	}
}

// sendAndCopy sends a message that a copy is to be made of. It is on the disk before it leaves, so that the copy is made whatever ends.
func (s *Store) sendAndCopy(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader, submit func(io.Reader) ([]backends.Verdict, error)) ([]backends.Verdict, error) {
	m := copiedMessage{store: s, credential: c, delivery: d, name: nameOf(s.loginName(c), d.Key)}
	if err := m.keep(ctx, content); err != nil {
		return nil, err
	}
	if m.kept != nil {
		defer m.kept.close()
		content = m.kept.reader()
	}
	verdicts, err := submit(content)
	switch {
	case sentToSomebody(verdicts):
		m.sent(ctx, verdicts)
	case m.kept != nil && uncertain(verdicts, err):
		m.unsure()
	case m.isNew:
		m.discard()
	}
	m.store.copying.queue.ended(m.name)
	return verdicts, err
}

// copiedMessage is a message with a copy while it is sent.
type copiedMessage struct {
	store      *Store
	credential backends.Credential
	delivery   backends.Delivery
	name       string
	kept       *lockedMessage // nil: no copy is to be made, or somebody else is about to
	isNew      bool           // it was kept by this attempt
	noRoom     bool
}

// keep has the message on the disk, if it is not there yet, its copy is not made, and there is room.
func (m *copiedMessage) keep(ctx context.Context, content io.Reader) error {
	folder, queue, mailbox := m.store.copying.folder, m.store.copying.queue, mailboxOf(m.credential)
	before, err := folder.known(m.name)
	if err != nil {
		return err
	}
	if m.kept = folder.open(m.name); m.kept != nil {
		if err := folder.shared.Sync(folder.shared.Mark()); err != nil { // who has kept it may not have come so far
			m.kept.close()
			return backends.Fail(backends.Temporary, "keep a message: %w", err)
		}
		return nil
	}
	if _, there := folder.isThere(m.name); there || before != nil && !before.Copied.IsZero() {
		return nil
	}
	queue.wait(ctx, mailbox)
	if m.noRoom = !queue.enter(m.name, m.delivery.Key, mailbox, m.delivery.Size); m.noRoom {
		m.store.log.Warn().Str("mailbox", mailbox).Str("key", m.delivery.Key).Msg("a message is sent without a copy for the Sent folder: too many wait to be made (submission.copies)")
		return nil
	}
	kept, err := folder.keep(m.name, record{Mailbox: mailbox, Key: m.delivery.Key, Kept: time.Now()}, content)
	if err != nil {
		queue.leave(m.name)
		return err
	}
	m.kept, m.isNew = kept, before == nil || before.Sent.IsZero() // one without its message is of a process that ended while it kept it
	return nil
}

// discard takes away what nobody was sent.
func (m *copiedMessage) discard() {
	c := m.store.copying
	m.kept.discard()
	c.folder.remove(m.name)
	c.queue.leave(m.name)
}

// unsure keeps a message of which nobody knows whether it was sent.
func (m *copiedMessage) unsure() {
	c, r := m.store.copying, &record{Mailbox: mailboxOf(m.credential), Key: m.delivery.Key, Kept: time.Now()}
	if before, err := c.folder.read(m.name); err == nil && before != nil && !before.Kept.IsZero() {
		r = before
	}
	if !r.Sent.IsZero() {
		return // to others, and its copy is made
	}
	c.queue.unsure(m.name, r, m.kept.size)
	m.store.log.Warn().Str("mailbox", r.Mailbox).Str("key", r.Key).Str("file", c.folder.path(m.name, messageEnd)).Time("until", r.Kept.Add(giveUpAfter)).
		Msg("nobody knows whether a message was sent: it is kept in a file, and its copy for the Sent folder is made if it turns out that it was")
}

// sent notes who has been sent the message, and has its copy made. That it cannot be noted is no reason to say that it was not sent.
func (m *copiedMessage) sent(ctx context.Context, verdicts []backends.Verdict) {
	if m.noRoom {
		return
	}
	s, c, r := m.store, m.store.copying, m.whatWasSent(verdicts)
	if err := c.folder.note(m.name, r); err != nil {
		r.Due = r.Sent
		s.log.Warn().Err(err).Str("key", r.Key).Msg("a message was sent, and it cannot be noted: if the process ends before its copy is made, none is made")
	} else if before, err := c.folder.read(m.name); !m.isNew && err == nil && before != nil {
		r = *before
	}
	if m.kept == nil {
		return
	}
	m.kept.close()
	b := c.queue.owe(m.name, &r, m.kept.size, &m.credential)
	if b == nil {
		return
	}
	s.copyNow(b)
	if c.temporary != nil { // it goes with this process
		c.queue.tried(ctx, m.name)
	}
}

// whatWasSent is what is to be noted of the message after an attempt.
func (m *copiedMessage) whatWasSent(verdicts []backends.Verdict) record {
	now, others := time.Now(), false
	r := record{Mailbox: mailboxOf(m.credential), Key: m.delivery.Key, Sent: now, Due: now, Others: &others}
	if m.store.saves() { // whoever sends for the mailbox has the server's copy, and the mailbox may get one, too
		r.Due = now.Add(m.store.copying.providersTime)
	}
	for _, v := range verdicts {
		if v.Failure == nil {
			r.Recipients = append(r.Recipients, v.Recipient)
		} else {
			others = others || v.Failure.Temporary()
		}
	}
	return r
}

// uncertain says whether somebody may have been sent a message.
func uncertain(verdicts []backends.Verdict, err error) bool {
	return backends.KindOf(err) == backends.Uncertain || slices.ContainsFunc(verdicts, func(v backends.Verdict) bool {
		return v.Failure != nil && v.Failure.Kind == backends.Uncertain
	})
}

// mailboxOf is whose mailbox a credential opens.
func mailboxOf(c backends.Credential) string {
	if c.ActAs != "" {
		return c.ActAs
	}
	return c.User
}

// copyWith has the copies for a mailbox made that somebody has just opened: of a store that does not let the gateway act for its users nobody
// else can.
func (s *Store) copyWith(c backends.Credential) {
	if s.copying == nil || s.settings.actsForUsers() {
		return
	}
	if b := s.copying.queue.opened(fold.Lower(mailboxOf(c)), c); b != nil {
		s.copyNow(b)
	}
}
