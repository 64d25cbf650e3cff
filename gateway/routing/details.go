package routing

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
)

// detailsMost bounds how many addresses with a detail a session has its store look up (I11).
const detailsMost = 16

// details are the addresses with a detail that a login's store has been asked about.
type details struct {
	asked int
	known map[address.Mailbox]bool
}

// own says whether an address is the account's: one that the login has returned, or one of these with a
// detail (user+detail, RFC 5233), if the store delivers mail for it to this account.
func (s *submissionSession) own(ctx context.Context, box address.Mailbox) (bool, error) {
	who := s.who
	if who.owns.has(box) {
		return true, nil
	}
	if !slices.Contains(who.store.Domains, box.Domain) || !who.owns.mayBeDetail(box) {
		return false, nil
	}
	if own, known := who.details.known[box]; known {
		return own, nil
	}
	if who.details.asked++; who.details.asked > detailsMost {
		return false, backends.Fail(backends.Throttled, "more than %d senders with a detail in one session", detailsMost).
			Say("too many different senders in one session, connect again")
	}
	account, err := s.accountOf(ctx, box)
	if err != nil {
		return false, err
	}
	if who.details.known == nil {
		who.details.known = make(map[address.Mailbox]bool)
	}
	own := account != "" && account == who.account.ID
	who.details.known[box] = own
	return own, nil
}

// accountOf asks the store for the account of an address. Empty: the address has none, or the store does
// not know. An error means an outage.
func (s *submissionSession) accountOf(ctx context.Context, box address.Mailbox) (string, error) {
	store := s.who.store.Now()
	if store.Receiver == nil {
		return "", nil
	}
	asked := []string{box.String()}
	verdicts, err := store.Receiver.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(asked...), Peer: peerOf(s.conn, "submission"), Accounts: true})
	if err == nil {
		err = checkVerdicts(asked, verdicts)
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
