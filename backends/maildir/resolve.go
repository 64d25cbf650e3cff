package maildir

import (
	"context"

	"github.com/dipylon/dipylon/backends"
)

// Resolve implements [backends.Receiver].
func (s *Store) Resolve(ctx context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
	use, err := s.inUse()
	if err != nil {
		return nil, err
	}
	if err := use.rootIsThere(); err != nil {
		return nil, err
	}
	d := use.accounts.directory()
	verdicts := make([]backends.Verdict, len(query.Recipients))
	for i, recipient := range backends.Addresses(query.Recipients) {
		if err := ctx.Err(); err != nil {
			return nil, backends.Fail(backends.Temporary, "resolving: %w", err)
		}
		verdicts[i] = backends.Verdict{
			Recipient: recipient, Failure: use.mayTake(d, recipient, query.Size), Account: use.accountOf(d, recipient),
		}
		a := use.recipient(d, recipient)
		if a == nil {
			continue
		}
		verdicts[i].Directory = &backends.DirectoryEntry{Address: a.address.String()}
		if verdicts[i].Failure == nil && use.quotaOf(a) <= 0 {
			verdicts[i].Holds = lookEvery // what changes the answer is told of then
		}
	}
	return verdicts, nil
}

// mayTake says whether a message of this size would be taken; nil: it would.
func (u *inUse) mayTake(d *directory, recipient string, size int64) *backends.Failure {
	a := u.recipient(d, recipient)
	if a == nil {
		return d.noSuchRecipient(recipient)
	}
	if int64(u.MessageLimit) > 0 && size > int64(u.MessageLimit) {
		return tooLarge(size, int64(u.MessageLimit))
	}
	box := u.boxes.of(a.address)
	release, failure := box.reserve(u.quotaOf(a), max(size, 1))
	if failure == nil {
		release(false)
	}
	return failure
}

// accountOf is the id of the account whose own an address is. Who gets the mail of a domain, or of
// its postmaster, may not send as everybody there.
func (u *inUse) accountOf(d *directory, recipient string) string {
	address, err := parseAddress(recipient)
	if err != nil {
		return ""
	}
	if a := d.byOwnAddress(address, string(u.DetailSeparator)); a != nil {
		return a.address.String()
	}
	return ""
}

// noFile is the failure of whatever needs the accounts where there is no file of them; nil: there is one.
func (d *directory) noFile() *backends.Failure {
	if d.nowhere == "" {
		return nil
	}
	return backends.Fail(backends.Temporary, "there is no accounts file %s: mount its disk, or make the first account (dipylon maildir user add)", d.nowhere)
}

func (d *directory) noSuchRecipient(recipient string) *backends.Failure {
	if failure := d.noFile(); failure != nil {
		return failure
	}
	return backends.Fail(backends.NotFound, "no account takes mail for %q", recipient).Say("there is no such mailbox here")
}

func tooLarge(size, limit int64) *backends.Failure {
	return backends.Fail(backends.TooLarge, "%d octets, %d are allowed", size, limit)
}

// quotaOf is what an account's mailbox may hold; 0: no bound.
func (u *inUse) quotaOf(a *account) int64 {
	if a.quota > 0 {
		return a.quota
	}
	return int64(u.Quota)
}

// recipient finds who takes mail for an address; nil: nobody.
func (u *inUse) recipient(d *directory, recipient string) *account {
	if local, err := parseLocal(recipient); err == nil && local == postmaster {
		return u.postmasterOf(d) // RFC 5321 §4.5.1: without a domain, too
	}
	a, err := parseAddress(recipient)
	if err != nil {
		return nil
	}
	if a.local == postmaster && d.mail[a] == nil && (u.domains[a.domain] || d.hasDomain(a.domain)) {
		return u.postmasterOf(d)
	}
	return d.byRecipient(a, string(u.DetailSeparator))
}

const postmaster = "postmaster"

// postmasterOf is the account of the settings, or the first one.
func (u *inUse) postmasterOf(d *directory) *account {
	if found := d.mail[u.Postmaster.address]; found != nil {
		return found
	}
	if len(d.accounts) > 0 {
		return d.accounts[0]
	}
	return nil
}

// hasDomain says whether an account has its address in this domain.
func (d *directory) hasDomain(domain string) bool {
	for _, a := range d.accounts {
		if a.address.domain == domain {
			return true
		}
	}
	return false
}
