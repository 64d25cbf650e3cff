package imap

import (
	"cmp"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// mark marks, and makes sure that nothing else has the mark afterwards where the server's word is not
// enough, see change: the next EXPUNGE of any client would remove it (I4). That is asked by SEARCH, as the
// answers to STORE name other UIDs than they mean there, or none.
func (m *maildrop) mark(r *removal) (err error) {
	if m.conn.client.caps.Has(imap.CapUIDPlus) {
		return m.change(r.set, deleted())
	}
	if r.before == nil {
		if r.before, err = m.marked(); err != nil {
			return err
		}
	}
	var after imap.UIDSet
	if err = m.change(r.set, deleted()); err == nil {
		after, err = m.marked()
	}
	strays := without(without(after, r.set), r.before)
	if err != nil && !isRefusal(err) || err == nil && len(strays) == 0 {
		return err
	}
	strays.AddSet(r.own())
	if err := m.unmark(strays); err != nil {
		return err
	}
	return cmp.Or[error](err, errStray)
}

var errStray = backends.Fail(backends.Temporary, "the server has marked another message as deleted than it was asked to: the mark is taken back, and nothing is removed")

// marked asks which messages have the mark. What is returned is never nil without an error.
func (m *maildrop) marked() (imap.UIDSet, error) {
	found, err := m.conn.client.search(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagDeleted}})
	if err != nil {
		return nil, err
	}
	return append(imap.UIDSet{}, imap.UIDSetNum(found...)...), nil
}

// change adds flags to messages or takes them away.
func (m *maildrop) change(set imap.UIDSet, flags *imap.StoreFlags) error {
	set, err := m.there(set)
	if err != nil || len(set) == 0 {
		return err
	}
	return m.conn.client.Store(set, flags, nil).Close()
}

// there returns those of a set that the server has, where it must not be given others.
//
// QUIRK: UIDs that are gone are passed over (RFC 3501 §6.4.8). GNU Mailutils (3.15) takes one behind the last
// message's for the last message, and refuses a command with another. It has no UIDPLUS; a server without it is
// asked first. That costs one round trip for up to 500 messages, at QUIT, and the whole of a mark takes four
// then, not one. A server with UIDPLUS works by UID (RFC 4315 §2.1) and is not asked: its UID EXPUNGE names the
// UIDs, too. ALL is asked for, as Mailutils answers FETCH and SEARCH of a UID that is gone with another message.
func (m *maildrop) there(set imap.UIDSet) (there imap.UIDSet, err error) {
	client := m.conn.client
	if client.caps.Has(imap.CapUIDPlus) {
		return set, nil
	}
	all, err := client.search(&imap.SearchCriteria{})
	for _, uid := range all {
		if set.Contains(uid) {
			there.AddNum(uid)
		}
	}
	return there, err
}

// unmark takes the mark back. That the server refuses this, too, changes nothing.
func (m *maildrop) unmark(set imap.UIDSet) error {
	back := deleted()
	back.Op = imap.StoreFlagsDel
	err := m.change(set, back)
	if isRefusal(err) {
		m.store.log.Warn().Err(err).Str("account", m.account.ID).Str("uids", set.String()).
			Msg("messages could not be removed, and are still marked as deleted: no session lists them")
		return nil
	}
	return err
}

func deleted() *imap.StoreFlags {
	return &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
}

// without is a set less another one.
func without(set, less imap.UIDSet) (rest imap.UIDSet) {
	uids, _ := set.Nums()
	for _, uid := range uids {
		if !less.Contains(uid) {
			rest.AddNum(uid)
		}
	}
	return rest
}
