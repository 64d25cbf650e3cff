package imap

import (
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

const (
	// askedAtOnce is how many messages one command of the recovery names.
	askedAtOnce = 500
	// recoveryMost is how many commands the recovery gives, and fruitlessRefusals after how many
	// refusals it gives up if nothing has been listed.
	recoveryMost      = 512
	fruitlessRefusals = 16
)

var errRecovery = backends.Fail(backends.Temporary, "the server refuses too much of its list of messages")

// isRefusal says whether the server has refused a command, and the connection goes on.
func isRefusal(err error) bool {
	var said *imap.Error
	return errors.As(err, &said) && said.Type != imap.StatusResponseTypeBye
}

// recovery asks for what the list lacks.
//
// A server may end a list with NO because of one message (RFC 2180 §4.1.2), or give an answer about
// one that nobody can read. Which messages there are is asked by UID SEARCH. Those that are missing
// are asked for by themselves, in halves where that is refused, and without flags and dates where
// nothing else helps. A message about which the server says nothing at all is left out.
type recovery struct {
	*lister
	commands, refusals int
	refused            error // the last refusal
}

func (l *lister) recover(refused error) error {
	if refused != nil && ofEverything(refused) {
		return refused
	}
	r := &recovery{lister: l, refused: refused}
	there, err := r.client.search(&imap.SearchCriteria{})
	if err != nil {
		return err
	}
	var missing []imap.UID
	for _, uid := range there {
		if !l.complete(l.found[uid]) {
			missing = append(missing, uid)
		}
	}
	for part := range slices.Chunk(missing, askedAtOnce) {
		if err := r.ask(part); err != nil {
			return err
		}
	}
	if err := r.flags(); err != nil {
		return err
	}
	return r.leaveOut(missing)
}

// ofEverything says whether a refusal is by its code about more than single messages.
func ofEverything(err error) bool {
	var said *imap.Error
	if !errors.As(err, &said) {
		return false
	}
	switch failures[said.Code].Kind {
	case backends.Throttled, backends.InUse:
		return true
	}
	return said.Code == imap.ResponseCodeUnavailable
}

// search is UID SEARCH (RFC 9051 §6.4.4).
func (c *client) search(criteria *imap.SearchCriteria) ([]imap.UID, error) {
	found, err := c.UIDSearch(criteria, nil).Wait()
	if err != nil {
		return nil, c.explain(err)
	}
	set, _ := found.All.(imap.UIDSet)
	if err := findable(set); err != nil {
		return nil, err
	}
	return found.AllUIDs(), nil
}

// searchedMost is how many messages a search finds at the most: a range of all UIDs that there could be is
// a dozen octets (I11).
const searchedMost = 4 << 20

// findable says what is wrong with what a search has found.
func findable(set imap.UIDSet) error {
	n := uint64(0)
	for _, r := range set {
		if r.Start == 0 || r.Stop == 0 {
			return backends.Fail(backends.Temporary, "the server has found messages without an end: %v", set)
		}
		n += uint64(max(r.Start, r.Stop)-min(r.Start, r.Stop)) + 1
	}
	if n > searchedMost {
		return backends.Fail(backends.Temporary, "the server says that a search has found %d messages", n)
	}
	return nil
}

// ask asks for messages, in halves where the server refuses to answer for all of them.
func (r *recovery) ask(uids []imap.UID) error {
	refused, err := r.fetchSome(uids, true)
	if err != nil {
		return err
	}
	uids = slices.DeleteFunc(slices.Clone(uids), func(uid imap.UID) bool { return r.complete(r.found[uid]) })
	switch {
	case len(uids) == 0:
		return nil
	case refused && len(uids) > 1:
		half := len(uids) / 2
		if err := r.ask(uids[:half]); err != nil {
			return err
		}
		return r.ask(uids[half:])
	}
	return r.askLess(slices.DeleteFunc(uids, func(uid imap.UID) bool { return r.found[uid] != nil && r.found[uid].sized }))
}

// askLess asks for UID and size alone.
func (r *recovery) askLess(uids []imap.UID) error {
	if len(uids) == 0 {
		return nil
	}
	refused, err := r.fetchSome(uids, false)
	if err != nil || !refused || len(uids) == 1 {
		return err
	}
	half := len(uids) / 2
	if err := r.askLess(uids[:half]); err != nil {
		return err
	}
	return r.askLess(uids[half:])
}

func (r *recovery) fetchSome(uids []imap.UID, all bool) (refused bool, err error) {
	if r.commands++; r.commands > recoveryMost {
		return false, errRecovery
	}
	err = r.fetch(imap.UIDSetNum(uids...), all)
	if !isRefusal(err) {
		return false, err
	}
	r.refused = err
	if r.refusals++; r.refusals >= fruitlessRefusals && len(r.found) == 0 || ofEverything(err) {
		return true, err
	}
	return true, nil
}

// flags finds out what is marked, of messages whose own answers do not say it in a way that could be
// read. A server that cannot be asked so leaves them unmarked.
func (r *recovery) flags() error {
	known := func(one *listed) bool { return one.flagged }
	all := true
	for _, one := range r.found {
		all = all && known(one)
	}
	if all {
		return nil
	}
	mark := func(flag imap.Flag, set func(*listed)) error {
		uids, err := r.client.search(&imap.SearchCriteria{Flag: []imap.Flag{flag}})
		if err != nil && !isRefusal(err) {
			return err
		}
		for _, uid := range uids {
			if one := r.found[uid]; one != nil && !one.flagged {
				set(one)
			}
		}
		return nil
	}
	if err := mark(imap.FlagDeleted, func(one *listed) { one.deleted = true }); err != nil {
		return err
	}
	return mark(imap.FlagSeen, func(one *listed) { one.entry.Seen = true })
}

// leaveOut logs the messages that are missing still.
func (r *recovery) leaveOut(missing []imap.UID) error {
	left := slices.DeleteFunc(missing, func(uid imap.UID) bool { return r.found[uid] != nil })
	if len(r.found) == 0 && len(left) > 0 {
		if r.refused != nil {
			return r.refused
		}
		return backends.Fail(backends.Temporary, "the server lists %d messages and says nothing of any that can be read", len(left))
	}
	m := r.maildrop
	for _, uid := range left {
		m.store.log.Warn().Str("account", m.account.ID).Uint32("uid", uint32(uid)).AnErr("refusal", r.refused).
			Msg("a message is left out of the list: the server says nothing of it that can be read")
	}
	return nil
}
