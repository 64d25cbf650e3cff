package routing

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/stores"
)

// lookupsMost bounds how many addresses a session has its store look up (I11).
const lookupsMost = 16

// lookups are the addresses that a login's store has been asked about.
type lookups struct {
	asked int
	known map[address.Mailbox]backends.SendRight
}

// right is what the account may do with an address (RFC 6409 §6.1). What the login has told is its own.
// Beyond that the store is asked ([backends.SendRights]), or, if it has no such call, whether it delivers
// mail for one of these addresses with a detail (user+detail, RFC 5233) to this account. It is not asked
// about addresses for which it is not believed. An error means an outage.
func (s *submissionSession) right(ctx context.Context, box address.Mailbox) (backends.SendRight, error) {
	who := s.who
	if who.device != nil {
		if may, known := who.device.MaySend(box); may {
			return backends.SendAs, nil
		} else if known {
			return backends.SendNo, nil
		}
	}
	if who.owns.has(box) {
		return backends.SendAs, nil
	}
	if !who.owns.ours.has(box) {
		return backends.SendNo, nil
	}
	store, ask := who.store.Now(), s.asStoreSays
	if store.SendRights == nil {
		if !slices.Contains(who.store.Domains, box.Domain) || !who.owns.mayBeDetail(box) {
			return backends.SendNo, nil
		}
		ask = s.asDetail
	}
	if right, known := who.lookups.known[box]; known {
		return right, nil
	}
	if who.lookups.asked++; who.lookups.asked > lookupsMost {
		return 0, backends.Fail(backends.Throttled, "more than %d senders to be looked up in one session", lookupsMost).
			Say("too many different senders in one session, connect again")
	}
	right, err := ask(ctx, store, box)
	if err != nil {
		return 0, err
	}
	if who.lookups.known == nil {
		who.lookups.known = make(map[address.Mailbox]backends.SendRight)
	}
	who.lookups.known[box] = right
	return right, nil
}

// asStoreSays asks the store for the account's right. What is neither a right nor an outage is none.
func (s *submissionSession) asStoreSays(ctx context.Context, store *stores.Store, box address.Mailbox) (backends.SendRight, error) {
	right, err := store.SendRights.MaySend(ctx, backends.MaySendQuery{Account: s.who.account.ID, Address: box.String(), Peer: peerOf(s.conn, "submission")})
	if f := backends.AsFailure(err); f != nil && f.Temporary() {
		return 0, f
	}
	if err != nil {
		return backends.SendNo, nil
	}
	return right, nil
}

// asDetail says whether an address is the account's with a detail.
func (s *submissionSession) asDetail(ctx context.Context, store *stores.Store, box address.Mailbox) (backends.SendRight, error) {
	account, err := s.accountOf(ctx, store, box)
	if err != nil {
		return 0, err
	}
	if account != "" && account == s.who.account.ID {
		return backends.SendAs, nil
	}
	return backends.SendNo, nil
}

// agent is the address for the Sender field (RFC 5322 §3.6.2) of what the account writes on behalf of
// somebody; empty: it has none that it may send as.
func (s *submissionSession) agent(t *transaction) string {
	box := s.who.address()
	if !t.options.UTF8 && !address.ASCII(box) {
		return ""
	}
	return box
}

// accountOf asks the store for the account of an address. Empty: the address has none, or the store does
// not know. An error means an outage.
func (s *submissionSession) accountOf(ctx context.Context, store *stores.Store, box address.Mailbox) (string, error) {
	if store.Receiver == nil {
		return "", nil
	}
	asked := backends.To(box.String())
	verdicts, err := store.Receiver.Resolve(ctx, backends.ResolveQuery{Recipients: asked, Peer: peerOf(s.conn, "submission"), Accounts: true})
	if err == nil {
		err = receivers.Judged(backends.Uncertain, asked, verdicts)
	}
	if err == nil && verdicts[0].Account != "" {
		return verdicts[0].Account, nil // even if it takes no mail now
	}
	if err == nil && verdicts[0].Failure != nil {
		err = verdicts[0].Failure
	}
	if f := backends.AsFailure(err); f != nil && f.Temporary() {
		return "", f
	}
	return "", nil
}

// mayBeDetail says whether an address begins as one of the account's does.
func (o ownership) mayBeDetail(box address.Mailbox) bool {
	return slices.ContainsFunc(o.own.boxes, func(own address.Mailbox) bool { return box.DetailOf(own) && o.ours.has(own) })
}
