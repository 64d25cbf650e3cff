package smtpclient

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Ask says of each recipient whether the server would take mail for it, and takes the
// question back.
func (c *Client) Ask(ctx context.Context, e Envelope) ([]Outcome, error) {
	s := c.sending(e, nil)
	return s.run(ctx)
}

// Send sends one message: an outcome for each recipient, in their order. An error says that the
// connection or the content failed before anybody had got the message.
//
// Recipients that the server does not take together go in several transactions. The content is
// kept meanwhile, in a file if it is large, unless it is an [io.Seeker].
func (c *Client) Send(ctx context.Context, e Envelope, content io.Reader) ([]Outcome, error) {
	s := c.sending(e, content)
	defer s.close()
	return s.run(ctx)
}

// sending is one message on its way: as many transactions as it takes.
type sending struct {
	c        *Client
	e        Envelope
	outcomes []Outcome
	left     []int // the recipients without an outcome
	somebody bool  // a transaction was completed: somebody may have a copy
	begun    bool  // the content has been read from

	content io.Reader // nil: the server is only asked
	replay  io.Seeker // the content, once it can be read again
	start   int64     // where in replay it begins
	kept    *buffer.Buffer
}

func (c *Client) sending(e Envelope, content io.Reader) *sending {
	s := &sending{c: c, e: e, content: content, outcomes: make([]Outcome, len(e.Recipients))}
	for i, r := range e.Recipients {
		s.outcomes[i].Recipient = r
		s.left = append(s.left, i)
	}
	if seeker, ok := content.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			s.replay, s.start = seeker, start
		}
	}
	return s
}

func (s *sending) close() {
	if s.kept != nil {
		_ = s.kept.Discard()
	}
}

func (s *sending) run(ctx context.Context) ([]Outcome, error) {
	defer s.c.during(ctx)()
	if err := s.c.reversePath(s.e.ReversePath); err != nil {
		return nil, err
	}
	for len(s.left) > 0 {
		err := s.step(ctx)
		if err == nil {
			continue
		}
		err = s.c.reason(ctx, err)
		if !s.somebody {
			return nil, err
		}
		s.rest(&UnsentError{err})
	}
	return s.outcomes, nil
}

// rest is the outcome for all who have none.
func (s *sending) rest(err error) {
	for _, i := range s.left {
		s.outcomes[i].Err = err
	}
	s.left = nil
}

// step is one transaction. It gives somebody an outcome, or shows how many fit into one.
func (s *sending) step(ctx context.Context) error {
	c := s.c
	if c.needsAnother() {
		if err := c.reconnect(ctx); err != nil {
			return err
		}
	}
	first := c.transactions == 0
	t, err := c.envelope(s.e, s.group())
	switch {
	case t.mail.Code/100 > 2 && first:
		s.rest(&ReplyError{Reply: t.mail, Command: AtMail})
		c.reset()
		return nil
	case t.mail.Code/100 > 2:
		c.spent = true // it may be enough for one connection; the next one's answer counts
		return nil
	case err != nil && (t.shrank || !first && c.broken != nil):
		return nil // the server has had enough: of recipients, or of transactions
	case err != nil:
		return err
	}
	left := s.settle(t)
	if len(t.taken) == 0 || s.content == nil {
		s.left = left
		c.reset()
		return nil
	}
	return s.deliver(ctx, t.taken, left)
}

// group chooses the recipients of the next transaction.
func (s *sending) group() []int {
	limits := s.c.limits()
	var group []int
	domains := make(map[string]bool)
	for _, i := range s.left {
		if len(group) == limits.recipients {
			break
		}
		domain := domainOf(s.e.Recipients[i])
		if !domains[domain] && len(domains) == limits.domains {
			continue
		}
		domains[domain] = true
		group = append(group, i)
	}
	return group
}

// settle notes the outcomes of RCPT, and returns who has to be asked again. Where nobody has got
// any further it is not the number: then that is the outcome for all who are left.
func (s *sending) settle(t transaction) (left []int) {
	again := make(map[int]bool)
	for _, i := range s.left {
		again[i] = true
	}
	for _, i := range t.taken {
		delete(again, i)
	}
	for i, err := range t.refused {
		s.outcomes[i].Err = err
		delete(again, i)
	}
	stuck := len(again) == len(s.left)
	for _, i := range s.left {
		if !again[i] {
			continue
		}
		if stuck {
			s.outcomes[i].Err = t.last
			continue
		}
		left = append(left, i)
	}
	return left
}

// deliver sends the content for those who were taken.
func (s *sending) deliver(ctx context.Context, taken, left []int) error {
	content, err := s.open(len(left) > 0)
	if err != nil {
		s.c.reset()
		return err
	}
	if err := s.c.transfer(content); err != nil {
		var reply *ReplyError
		if !errors.As(err, &reply) || s.c.broken != nil {
			return s.c.lost(err)
		}
		s.begun = s.begun || reply.Command != AtData
		if s.fewer(reply.Reply, taken, left) {
			return nil
		}
		// What is wrong with the message is wrong with it for the others, too.
		s.rest(reply)
		s.c.reset()
		return nil
	}
	s.begun = true
	if s.c.options.LMTP {
		s.left, s.somebody = left, true
		for _, i := range taken {
			s.outcomes[i].Reply, s.outcomes[i].Err = s.c.answer(ctx, AtEndLMTP)
		}
		return nil
	}
	r, err := s.c.answer(ctx, AtEnd)
	if err != nil && s.fewer(r, taken, left) {
		return nil
	}
	for _, i := range taken {
		s.outcomes[i].Reply, s.outcomes[i].Err = r, err
	}
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		s.left = left
		s.rest(err)
		return nil
	}
	s.left = left
	s.somebody = true
	return nil
}

// fewer has a message that was refused for the number of its recipients, after RCPT had taken them,
// sent to one half at a time. It does not where there is no half, or no content to send again.
func (s *sending) fewer(r Reply, taken, left []int) bool {
	if !overflow(r) || len(taken) < 2 || s.begun && s.replay == nil || s.c.broken != nil {
		return false
	}
	s.left = append(slices.Clone(taken), left...)
	s.c.fits = (len(taken) + 1) / 2
	s.c.reset()
	return true
}

// open gives the content from its start. It is kept where it will be wanted once more: before
// anybody has a copy, so that it is refused to all where it cannot be kept.
func (s *sending) open(again bool) (io.Reader, error) {
	if again && s.replay == nil {
		kept, err := buffer.Fill(buffer.InFolder(s.c.options.TempDir), s.content)
		if err != nil {
			return nil, err
		}
		reader := kept.Reader()
		s.kept, s.content, s.replay, s.start = kept, reader, reader, 0
	}
	if s.begun && s.replay != nil {
		if _, err := s.replay.Seek(s.start, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return s.content, nil
}

// answer takes a reply to the end of the content: there is one with SMTP, and one for each recipient
// that was taken with LMTP (RFC 2033 §4.2). What is not answered is uncertain.
func (c *Client) answer(ctx context.Context, command string) (Reply, error) {
	r, err := c.expectWithin(0, c.options.Timeouts.End)
	switch {
	case err != nil:
		return r, &UncertainError{c.reason(ctx, err)}
	case r.Code/100 != 2:
		return r, &ReplyError{Reply: r, Command: command}
	}
	return r, nil
}
