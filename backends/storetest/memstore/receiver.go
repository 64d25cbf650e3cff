package memstore

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// taking is what makes a delivery one (I2): a key, and the recipient it was taken for. They are
// kept as long as the store lives; a store on disk would forget those of last week.
type taking struct {
	key, recipient string
}

// Resolve says which recipients have a mailbox here.
func (s *Store) Resolve(ctx context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
	if err := s.enter(ctx, "resolve"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	verdicts := make([]backends.Verdict, 0, len(query.Recipients))
	for _, r := range backends.Addresses(query.Recipients) {
		_, failure := s.recipient(r, query.Size)
		account := ""
		if a := s.mailboxes[strings.ToLower(r)]; a != nil {
			account = a.public().ID
		}
		if s.list(r) != nil {
			failure = nil
		}
		if fault := s.strike("resolve", within, r); fault != nil {
			failure = fault.failure()
		}
		verdicts = append(verdicts, backends.Verdict{Recipient: r, Failure: failure, Account: account, Directory: s.entry(r)})
	}
	return verdicts, nil
}

// entry is what the directory says of an address; nil: nobody has it. The caller holds s.mu.
func (s *Store) entry(address string) *backends.DirectoryEntry {
	if l := s.list(address); l != nil {
		return &backends.DirectoryEntry{Address: l.Address, Members: l.Members}
	}
	a := s.mailboxes[strings.ToLower(address)]
	if a == nil {
		return nil
	}
	return &backends.DirectoryEntry{Address: a.Address, Preferences: a.Preferences.public()}
}

// list finds the list that an address is of; nil: of none. The caller holds s.mu.
func (s *Store) list(address string) *list {
	i := slices.IndexFunc(s.settings.Lists, func(l list) bool { return strings.EqualFold(l.Address, address) })
	if i < 0 {
		return nil
	}
	return &s.settings.Lists[i]
}

// expand delivers to each member of a list: the failure is that of the first member who has no copy. The
// caller holds s.mu.
func (s *Store) expand(key string, l *list, data []byte) backends.Verdict {
	verdict := backends.Verdict{Action: backends.ActionExpanded}
	for _, member := range l.Members {
		if failure := s.deliver("deliver", key, member, data); failure != nil && verdict.Failure == nil {
			verdict.Action, verdict.Failure = backends.ActionUnset, failure
		}
	}
	return verdict
}

// Deliver files a message into the inbox of each recipient.
func (s *Store) Deliver(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if err := s.enter(ctx, "deliver"); err != nil {
		return nil, err
	}
	data, err := s.read(ctx, delivery, content)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	verdicts := make([]backends.Verdict, 0, len(delivery.Recipients))
	for _, r := range backends.Addresses(delivery.Recipients) {
		if l := s.list(r); l != nil {
			verdict := s.expand(delivery.Key, l, data)
			verdict.Recipient = r
			verdicts = append(verdicts, verdict)
			continue
		}
		verdict := backends.Verdict{Recipient: r, Failure: s.deliver("deliver", delivery.Key, r, data)}
		if verdict.Failure == nil {
			verdict.Destination = "INBOX"
			verdict.Action, verdict.StoredAs = backends.ActionDelivered, s.taken[taking{delivery.Key, strings.ToLower(r)}]
		}
		verdicts = append(verdicts, verdict)
	}
	s.mu.Unlock()
	return verdicts, s.leave(ctx, "deliver")
}

// read takes the content in, whole: this store keeps its mail in memory. Whatever ends it
// before io.EOF leaves nothing behind.
func (s *Store) read(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]byte, error) {
	s.mu.Lock()
	most, trace, tooLarge := s.settings.MessageSize, s.settings.ReturnPath, s.tooLarge()
	s.mu.Unlock()
	if most == 0 {
		most = math.MaxInt64 - 1
	}
	if delivery.Size > most {
		return nil, tooLarge
	}
	var data bytes.Buffer
	if trace {
		data.WriteString("Return-Path: <" + delivery.From + ">\r\n")
	}
	data.Grow(int(max(0, min(delivery.Size, 1<<20))) + bytes.MinRead)
	n, err := io.Copy(&data, io.LimitReader(content, most+1))
	switch {
	case err != nil:
		return nil, backends.Fail(backends.Temporary, "reading the content: %w", err)
	case ctx.Err() != nil:
		return nil, backends.Fail(backends.Temporary, "reading the content: %w", ctx.Err())
	case n > most:
		return nil, tooLarge
	}
	return data.Bytes(), nil
}

// deliver files one recipient's copy, unless it was taken before. The caller holds s.mu.
func (s *Store) deliver(call, key, recipient string, data []byte) *backends.Failure {
	fault := s.strike(call, within, recipient)
	if fault != nil && !fault.Late && !fault.Drop {
		return fault.failure()
	}
	this := taking{key, strings.ToLower(recipient)}
	if _, before := s.taken[this]; before {
		return nil
	}
	a, failure := s.recipient(recipient, int64(len(data)))
	if failure != nil {
		return failure
	}
	s.taken[this] = ""
	if fault == nil || !fault.Drop {
		s.taken[this] = s.add(a.folders[""], data)
		s.hint(backends.Hint{Kind: backends.HintNewMail, Account: a.public().ID})
	}
	if fault != nil && fault.Late {
		return fault.failure()
	}
	return nil
}

// recipient finds whose an address is, if so many octets may come for it. The caller holds s.mu.
func (s *Store) recipient(address string, octets int64) (*account, *backends.Failure) {
	a := s.mailboxes[strings.ToLower(address)]
	switch {
	case a == nil:
		return nil, backends.Fail(backends.NotFound, "recipient %q", address)
	case s.settings.MessageSize > 0 && octets > s.settings.MessageSize:
		return nil, s.tooLarge()
	case !a.room(octets):
		return nil, backends.Fail(backends.OverQuota, "account %s", a.User)
	}
	return a, nil
}

func (s *Store) tooLarge() *backends.Failure {
	return backends.Fail(backends.TooLarge, "the largest message taken has %d octets", s.settings.MessageSize)
}
