package imap

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/remote"
)

var _ backends.Receiver = (*Store)(nil)

// keyField is the header field that a delivery's key is written into, where a master user can
// look for it later: how a retry finds out that the first attempt had succeeded (I2).
const keyField = "Dipylon-Delivery-Key"

// Resolve asks the server, or the list in the settings where there is one.
func (s *Store) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	if s.settings.Allowed != nil {
		return s.resolveFromList(backends.Addresses(q.Recipients)), nil
	}
	// Whose an address with a detail is, the server behind a hop decides, and does not tell.
	switch {
	case s.settings.Delivery.Given():
		return s.hop().Resolve(ctx, q)
	case s.settings.Delivery.Append:
		verdicts := make([]backends.Verdict, len(q.Recipients))
		each(len(verdicts), func(i int) {
			r := q.Recipients[i].Address
			verdicts[i] = backends.Verdict{Recipient: r, Failure: s.resolveByLogin(ctx, r)}
			if verdicts[i].Failure == nil {
				verdicts[i].Account = s.account(impersonation(r)).ID
			}
		})
		return verdicts, nil
	}
	return nil, backends.Fail(backends.Unsupported, "none of delivery.lmtp, delivery.smtp and delivery.append is set")
}

func (s *Store) resolveFromList(recipients []string) []backends.Verdict {
	verdicts := make([]backends.Verdict, len(recipients))
	for i, r := range recipients {
		verdicts[i].Recipient = r
		known := slices.ContainsFunc(*s.settings.Allowed, func(entry string) bool {
			if domain, all := strings.CutPrefix(entry, "@"); all {
				_, d, _ := strings.Cut(r, "@")
				return strings.EqualFold(domain, d)
			}
			if fold.Equal(entry, remote.MailboxOf(r)) {
				verdicts[i].Account = s.account(impersonation(r)).ID
				return true
			}
			return false
		})
		if !known {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "%s is not in the list of recipients", r)
		}
	}
	return verdicts
}

func impersonation(recipient string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialImpersonation, User: remote.MailboxOf(recipient)}
}

// resolveByLogin takes whoever the master user may act for to exist.
func (s *Store) resolveByLogin(ctx context.Context, recipient string) *backends.Failure {
	if _, err := s.verified(ctx, impersonation(recipient)); err != nil {
		return nobody(recipient, err)
	}
	return nil
}

// nobody turns a refusal to act for somebody into "there is no such recipient".
func nobody(recipient string, err error) *backends.Failure {
	f := backends.AsFailure(err)
	if f != nil && (f.Kind == backends.BadCredentials || f.Kind == backends.Permanent) {
		return backends.Fail(backends.NotFound, "the server does not let the master user act for %s: %w", recipient, err)
	}
	return f
}

func (s *Store) hop() remote.Hop {
	return s.settings.Delivery.Hop(s.hostname, s.tls, s.settings.Name, time.Duration(s.settings.Timeout), s.stateDir)
}

// Deliver hands a message to the LMTP or SMTP server, or appends it to each recipient's mailbox.
func (s *Store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	end, err := s.inFlight.Begin(ctx, d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	switch {
	case s.settings.Delivery.Given():
		var delivered func(context.Context, string) (bool, error)
		if s.settings.actsForUsers() {
			delivered = func(ctx context.Context, recipient string) (bool, error) { return s.delivered(ctx, recipient, d.Key) }
		}
		return s.hop().Deliver(ctx, d, s.trace(d, false), content, delivered)
	case s.settings.Delivery.Append:
		return s.deliverAppend(ctx, d, content)
	}
	return nil, backends.Fail(backends.Unsupported, "none of delivery.lmtp, delivery.smtp and delivery.append is set")
}

// trace is what is put in front of a message.
func (s *Store) trace(d backends.Delivery, returnPath bool) string {
	trace := ""
	if returnPath { // final delivery, RFC 5321 §4.4; a server writes it itself
		trace = "Return-Path: <" + d.From + ">\r\n"
	}
	if s.settings.actsForUsers() {
		trace += keyField + ": " + d.Key + "\r\n"
	}
	return trace
}

// delivered looks for a delivery's key in a recipient's mailbox.
func (s *Store) delivered(ctx context.Context, recipient, key string) (bool, error) {
	conn, err := s.acquire(ctx, impersonation(recipient))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	there, err := call(ctx, conn.client, func() (bool, error) {
		return has(conn, s.settings.Delivery.Folder, keyField, key)
	})
	s.pool.release(conn, err == nil)
	return there, failure("look for a delivery", err, backends.Temporary)
}

// deliverAppend appends to some mailboxes at a time. The content is kept meanwhile, as each wants
// it from its start.
func (s *Store) deliverAppend(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	kept, err := remote.Keep(s.stateDir, content)
	if err != nil {
		return nil, err
	}
	defer kept.Discard()
	trace := s.trace(d, true)
	verdicts := make([]backends.Verdict, len(d.Recipients))
	first := make(map[string]int) // two names of one mailbox get one copy
	var boxes []int
	for i, r := range backends.Addresses(d.Recipients) {
		box := fold.Lower(remote.MailboxOf(r))
		if _, twice := first[box]; !twice {
			first[box], boxes = i, append(boxes, i)
		}
	}
	each(len(boxes), func(n int) {
		message := io.MultiReader(strings.NewReader(trace), kept.Reader())
		verdicts[boxes[n]].Failure = s.appendFor(ctx, d.Recipients[boxes[n]].Address, d, message, kept.Size()+int64(len(trace)))
	})
	for i, r := range backends.Addresses(d.Recipients) {
		verdicts[i] = backends.Verdict{Recipient: r, Failure: verdicts[first[fold.Lower(remote.MailboxOf(r))]].Failure}
	}
	return verdicts, nil
}

// recipientsAtOnce is how many recipients' mailboxes are opened at a time for one message.
const recipientsAtOnce = 8

// each does something for 0 to n-1, some at a time, and waits for all.
func each(n int, do func(int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, recipientsAtOnce)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	all.Wait()
}

func (s *Store) appendFor(ctx context.Context, recipient string, d backends.Delivery, message io.Reader, size int64) *backends.Failure {
	mailbox := fold.Lower(remote.MailboxOf(recipient))
	if err := s.paces.wait(ctx, mailbox); err != nil {
		return backends.AsFailure(err)
	}
	if d.Retry {
		if there, err := s.delivered(ctx, recipient, d.Key); err != nil || there {
			s.paces.answered(mailbox, err)
			return backends.AsFailure(err)
		}
	}
	conn, err := s.acquire(ctx, impersonation(recipient))
	if err != nil {
		return nobody(recipient, err)
	}
	err = s.append(ctx, conn, s.settings.Delivery.Folder, message, size, nil)
	s.paces.answered(mailbox, err)
	s.pool.release(conn, err == nil)
	return backends.AsFailure(err)
}
