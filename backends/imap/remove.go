package imap

import (
	"cmp"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// Remove removes by UID and nothing else, and asks afterwards what is still there.
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	removals := make([]backends.Removal, len(ids))
	for i, id := range ids {
		removals[i].ID = id
	}
	if len(ids) == 0 {
		_, err := exchange(ctx, m, func() (struct{}, error) { return struct{}{}, m.can(disposal) })
		return nil, failure("ask for a way to remove", err, backends.Permanent)
	}
	r := removal{set: m.uids(ids), disposal: disposal}
	if len(r.set) == 0 {
		return removals, nil
	}
	if err := m.replaced(); err != nil {
		return nil, err
	}
	remove := func() (imap.UIDSet, error) { return m.remove(&r) }
	left, err := exchange(ctx, m, remove)
	if m.brokeOff(ctx, err) {
		// Some may have been removed, or be marked only, which no list would have any more.
		left, err = exchange(ctx, m, remove)
		if m.brokeOff(ctx, err) {
			_, _ = exchange(ctx, m, func() (struct{}, error) { return struct{}{}, m.unmark(r.own()) }) // the failure is told already
		}
	}
	if err != nil {
		return nil, failure("remove", err, backends.Permanent)
	}
	for i, id := range ids {
		if uid, ok := m.uid(id); ok && left.Contains(uid) {
			removals[i].Failure = backends.Fail(backends.Temporary, "the server still has message %d", uid)
		}
	}
	return removals, nil
}

// removal is one call of Remove, over the connections that it takes.
type removal struct {
	set      imap.UIDSet
	disposal backends.Disposal
	before   imap.UIDSet // what was marked when it began, see mark; nil: not asked
}

// own is what nobody else had marked.
func (r *removal) own() imap.UIDSet { return without(r.set, r.before) }

// remove returns the UIDs that were to go and are still there.
func (m *maildrop) remove(r *removal) (imap.UIDSet, error) {
	switch r.disposal {
	case backends.DisposalMark:
		return nil, m.mark(r)
	case backends.DisposalTrash:
		return m.moveToTrash(r.set)
	case backends.DisposalRemove:
		return m.expunge(r.set)
	}
	return nil, errUnknown(r.disposal)
}

// can says whether the server has what a disposal needs.
func (m *maildrop) can(disposal backends.Disposal) error {
	switch disposal {
	case backends.DisposalMark:
		return nil
	case backends.DisposalTrash:
		_, err := m.trash()
		return err
	case backends.DisposalRemove:
		return m.canExpunge()
	}
	return errUnknown(disposal)
}

func errUnknown(disposal backends.Disposal) error {
	return backends.Fail(backends.Unsupported, "disposal %d is not known", disposal)
}

// trash is the folder for deleted mail, where messages can be moved to it.
func (m *maildrop) trash() (string, error) {
	if !m.conn.client.caps.Has(imap.CapMove) {
		if err := m.canExpunge(); err != nil {
			return "", err
		}
	}
	return m.conn.client.special("trash", m.store.settings.Trash, imap.MailboxAttrTrash)
}

// canExpunge: EXPUNGE alone would remove what others have marked, too.
func (m *maildrop) canExpunge() error {
	if m.conn.client.caps.Has(imap.CapUIDPlus) {
		return nil
	}
	return backends.Fail(backends.Unsupported, "the server has no UIDPLUS (RFC 4315): single messages cannot be removed; use the mark disposal")
}

// moveToTrash is UID MOVE (RFC 6851), or where the server has none its parts, one after the
// other: nothing may go before its copy is there.
func (m *maildrop) moveToTrash(set imap.UIDSet) (imap.UIDSet, error) {
	client := m.conn.client
	trash, err := m.trash()
	if err != nil {
		return nil, err
	}
	if set, err = m.there(set); err != nil || len(set) == 0 {
		return nil, err
	}
	if client.caps.Has(imap.CapMove) {
		if _, err := client.Move(set, trash).Wait(); err != nil {
			return nil, err
		}
		return m.remaining(set)
	}
	if _, err := client.Copy(set, trash).Wait(); err != nil {
		return nil, err
	}
	return m.expunge(set)
}

// expunge sends STORE, UID EXPUNGE and the question what is left without waiting in between:
// the server does them in order (RFC 9051 §5.5 allows it, as each is about UIDs).
func (m *maildrop) expunge(set imap.UIDSet) (imap.UIDSet, error) {
	client := m.conn.client
	if err := m.canExpunge(); err != nil {
		return nil, err
	}
	store := client.Store(set, deleted(), nil)
	expunge := client.UIDExpunge(set)
	errStore := store.Close()
	errExpunge := expunge.Close()
	if errStore == nil && errExpunge == nil {
		left, err := m.remaining(set)
		if err == nil && len(left) > 0 {
			err = m.unmark(left)
		}
		if !isRefusal(err) {
			return left, err
		}
		errExpunge = err
	}
	// What was not removed is marked, and would be in no list any more.
	if err := m.unmark(set); err != nil {
		return nil, err
	}
	return nil, cmp.Or(errStore, errExpunge)
}

// remaining asks which messages of a set are still there. A server that refuses to search (RFC 9051
// §6.4.4) is asked for the messages themselves: what was removed must not be told as there.
func (m *maildrop) remaining(set imap.UIDSet) (left imap.UIDSet, err error) {
	client := m.conn.client
	found, err := client.search(&imap.SearchCriteria{UID: []imap.UIDSet{set}})
	if err == nil {
		return imap.UIDSetNum(found...), nil
	}
	if !isRefusal(err) {
		return nil, err
	}
	// The size is asked for because a response without one is taken for news of flags.
	err = client.fetchListed(set, &imap.FetchOptions{UID: true, RFC822Size: true}, func(one listed) {
		if set.Contains(one.uid) {
			left.AddNum(one.uid)
		}
	})
	return left, err
}

// special is the folder that is marked with an attribute (RFC 6154), unless a setting names one.
func (c *client) special(setting, name string, attribute imap.MailboxAttr) (string, error) {
	if name != "" {
		return name, nil
	}
	list, err := c.List("", "*", &imap.ListOptions{ReturnSpecialUse: c.caps.Has(imap.CapSpecialUse)}).Collect()
	if err != nil {
		return "", err
	}
	for _, box := range list {
		if slices.Contains(box.Attrs, attribute) {
			return box.Mailbox, nil
		}
	}
	return "", backends.Fail(backends.Unsupported, "the server marks no folder as %s: set %q", attribute, setting)
}
