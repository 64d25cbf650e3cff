package exchange

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/remote"
)

var _ backends.Receiver = (*Store)(nil)

// delivery is how mail comes in.
type delivery struct {
	remote.HopSettings
	Create bool `json:"create"` // in the Inbox, by the service account
}

func (s *Store) hop() remote.Hop {
	return s.settings.Delivery.Hop(s.hostname, s.certificates, s.settings.Name, s.settings.timeout(), s.stateDir)
}

// Deliver hands a message to the server's own SMTP server, or creates it in the Inbox of each recipient.
func (s *Store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	end, err := s.inFlight.Begin(ctx, d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.ready(); err != nil && !errors.Is(err, errNotLocated) {
		return nil, err
	}
	switch {
	case s.settings.Delivery.Given():
		return s.hop().Deliver(ctx, d, "", content, nil)
	case s.settings.Delivery.Create:
		return s.createFor(ctx, d, content)
	}
	return nil, noDelivery
}

// mailboxesAtOnce is how many mailboxes are opened at a time for one message.
const mailboxesAtOnce = 4

// createFor creates a message in the Inbox of each of its recipients. Several addresses of one mailbox get one copy.
func (s *Store) createFor(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	returnPath := strings.NewReader("Return-Path: <" + d.From + ">\r\n") // RFC 5321 §4.4
	received := d.Received
	if received.IsZero() {
		received = time.Now()
	}
	m, err := s.readMail(io.MultiReader(returnPath, content), mime.Reader{Received: received, Skeleton: true, Domains: s.domains})
	if err != nil {
		return nil, err
	}
	defer m.discard()
	m.message.Set(keyName, mapi.Binary(d.Key))
	m.received = received
	verdicts, err := s.resolve(ctx, d.Recipients)
	if err != nil {
		return nil, err
	}
	first := make(map[string]int) // by account
	var all sync.WaitGroup
	places := make(chan struct{}, mailboxesAtOnce)
	for i, v := range verdicts {
		if _, again := first[v.Account]; again || v.Failure != nil {
			continue
		}
		first[v.Account] = i
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			verdicts[i] = s.createIn(ctx, v, d, m)
		})
	}
	all.Wait()
	for i, v := range verdicts {
		if at, ok := first[v.Account]; ok && v.Failure == nil {
			verdicts[i] = verdicts[at]
			verdicts[i].Recipient = v.Recipient
		}
	}
	return verdicts, nil
}

// createIn creates a message in the Inbox of a recipient.
func (s *Store) createIn(ctx context.Context, v backends.Verdict, d backends.Delivery, m *mail) backends.Verdict {
	verdict := backends.Verdict{Recipient: v.Recipient, Destination: "Inbox"}
	mailbox, err := s.mailboxOf(v.Recipient)
	if err != nil {
		verdict.Destination, verdict.Failure = "", backends.AsFailure(err)
		return verdict
	}
	login := s.asService(mailbox)
	id, err := byEither(s, login,
		func() (backends.MessageID, error) { return s.createByMAPI(ctx, login, d, m.message) },
		func() (backends.MessageID, error) { return s.createByEWS(ctx, login, d, m) })
	verdict.StoredAs = id
	if backends.KindOf(err) == backends.BadCredentials { // nobody has that address any more
		err = backends.Fail(backends.NotFound, "%w", err)
	}
	if verdict.Failure = backends.AsFailure(err); err != nil {
		verdict.Destination, verdict.StoredAs = "", ""
	}
	return verdict
}

// createByMAPI creates a message in an Inbox by MAPI over HTTP, and returns its id, as far as it is known.
func (s *Store) createByMAPI(ctx context.Context, login login, d backends.Delivery, m *mapi.Message) (backends.MessageID, error) {
	c, _, err := s.enter(ctx, login)
	if err != nil {
		return "", err
	}
	defer c.close()
	creation := &creation{session: c, key: d.Key, message: m, look: d.Retry}
	err = c.do(ctx, creation.once)
	return creation.id, err
}

// creation is a message that is created in an Inbox, through sessions that may be lost.
type creation struct {
	*session
	key     string
	message *mapi.Message
	look    bool // an earlier attempt may have created it
	slow    bool // the server may still be at it
	id      backends.MessageID
}

// once creates the message, unless the server has it. It is one's turn.
func (c *creation) once(ctx context.Context) error {
	inbox := c.folders[rop.FolderInbox]
	if c.look {
		found, err := c.madeUnder(ctx, c.key, place{folder: inbox}, place{inbox, true})
		switch {
		case err != nil:
			return err
		case len(found) > 0:
			return c.name(ctx, found[0].id)
		case c.slow:
			return backends.Fail(backends.Temporary, "the server was asked to save the message, did not answer in time, and does not have it yet")
		}
	}
	draft, err := c.create(ctx, inbox, nil, nil, c.message)
	if err != nil {
		return err
	}
	c.look = true
	var b rop.Batch
	saved := rop.Save(&b, draft, draft, &rop.SaveChangesMessage{})
	rop.Release(&b, draft)
	if err := c.ops.Do(ctx, &b); err != nil {
		c.slow = mapihttp.TimedOut(err)
		return err
	}
	if err := saved.Err(); err != nil {
		return err
	}
	return c.name(ctx, saved.MessageID)
}

// name notes the id of the message. That it cannot be told is no reason to say that the message is not there.
func (c *creation) name(ctx context.Context, id mapi.ObjectID) error {
	if lasting, err := c.lasting(ctx, id); err == nil {
		c.id = backends.MessageID(lasting)
	}
	return nil
}
