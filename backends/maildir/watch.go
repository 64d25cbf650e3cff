package maildir

import (
	"context"
	"maps"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// lookEvery is how often the accounts file is looked at for those who watch: one stat each time.
const lookEvery = time.Second

// Watch implements [backends.Watcher]: it tells of accounts whose entry in the accounts file has
// changed, come or gone. Mail is not told of.
func (s *Store) Watch(ctx context.Context, tell func(backends.Hint)) error {
	use, err := s.inUse()
	if err != nil {
		return err
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last := use.accounts.directory()
	for {
		select {
		case <-ctx.Done():
			return backends.AsFailure(ctx.Err())
		case <-look.C:
		}
		if use, err = s.inUse(); err != nil {
			return err
		}
		now := use.accounts.directory()
		if now != last {
			for _, h := range changedAccounts(last, now) {
				tell(h)
			}
		}
		last = now
	}
}

// changedAccounts says of which accounts two readings of the file differ in who may log in, and how.
func changedAccounts(before, after *directory) (hints []backends.Hint) {
	old, fresh := before.standing(), after.standing()
	for id, now := range fresh {
		switch was, there := old[id]; {
		case !there || was.disabled != now.disabled:
			hints = append(hints, backends.Hint{Kind: backends.HintAccount, Account: id})
		case was != now:
			hints = append(hints, backends.Hint{Kind: backends.HintCredentials, Account: id})
		}
	}
	maps.DeleteFunc(old, func(id string, _ standing) bool { _, there := fresh[id]; return there })
	for id := range old {
		hints = append(hints, backends.Hint{Kind: backends.HintAccount, Account: id})
	}
	return hints
}

// standing is what of an account decides about logins.
type standing struct {
	generation, rights string
	disabled           bool
}

func (d *directory) standing() map[string]standing {
	all := make(map[string]standing, len(d.accounts))
	for _, a := range d.accounts {
		rights := ""
		for _, box := range a.opens {
			rights += box.String() + "\n"
		}
		for _, address := range a.view().Addresses {
			rights += address + "\n"
		}
		all[a.address.String()] = standing{a.generation(), rights, a.disabled}
	}
	return all
}
