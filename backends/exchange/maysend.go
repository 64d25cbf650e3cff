package exchange

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/remote"
)

var _ backends.SendRights = (*Store)(nil)

// delegates are the distinguished names of those who may send on behalf of an entry (PidTagAddressBookPublicDelegates, MS-OXOABK §2.2.5.5; the
// directory's publicDelegates, which Set-Mailbox -GrantSendOnBehalfTo sets), as a table's names are asked for: as texts.
var delegates = []mapi.Tag{mapi.NewTag(mapi.PidTagAddressBookPublicDelegates.ID(), mapi.PtypMultipleString)}

// MaySend implements [backends.SendRights]: the address book is asked, by the service account. An address of the account's own it may send as; on behalf
// of others, where they have made it their delegate. Who may send as another, without saying so, no protocol of Exchange tells before it is tried.
func (s *Store) MaySend(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
	if !s.settings.Service.given() {
		return 0, backends.Fail(backends.Unsupported, "it is the service account that asks the address book: service is not set")
	}
	address := fold.Lower(remote.MailboxOf(q.Address))
	verdicts, err := s.resolve(ctx, backends.To(address))
	switch {
	case err != nil:
		return 0, err
	case verdicts[0].Account == "" || q.Account == "":
		return backends.SendNo, nil
	case verdicts[0].Account == q.Account:
		return backends.SendAs, nil
	}
	login := s.asService(s.settings.Service.own())
	return byEither(s, login,
		func() (backends.SendRight, error) { return s.onBehalf(ctx, login, address, q.Account) },
		func() (backends.SendRight, error) { return backends.SendNo, nil }) // ResolveNames tells of no delegates
}

// onBehalf says whether an account is a delegate of who has an address.
func (s *Store) onBehalf(ctx context.Context, login login, address, account string) (backends.SendRight, error) {
	book, err := s.bind(ctx, login)
	if err != nil {
		return 0, err
	}
	defer book.Unbind(ctx) //nolint:errcheck // it ends the connection whatever comes of it
	found, err := book.Resolve(ctx, []string{"=SMTP:" + address}, delegates)
	if err != nil {
		return 0, failure(err)
	}
	if found[0].Outcome != mapihttp.Resolved {
		return backends.SendNo, nil
	}
	all, _ := found[0].Values[0].(mapi.Multiple[mapi.String])
	if slices.ContainsFunc(all, func(dn mapi.String) bool { return accountID(string(dn)) == account }) {
		return backends.SendOnBehalf, nil
	}
	return backends.SendNo, nil
}
