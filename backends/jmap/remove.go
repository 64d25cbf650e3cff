package jmap

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

// Remove takes messages out of the mailbox. One that is in no other is destroyed; one that is
// in others, too, only leaves this one.
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if disposal != backends.DisposalRemove && (disposal != backends.DisposalTrash || m.trash == "") {
		return nil, backends.Fail(backends.Unsupported, "disposal %d: JMAP has no mark for deleted mail, or there is no mailbox with the role trash", disposal)
	}
	if err := m.ctx.Err(); err != nil {
		return nil, errClosed
	}
	ctx, cancel := m.bound(ctx)
	defer cancel()
	removals := make([]backends.Removal, 0, len(ids))
	for batch := range slices.Chunk(ids, min(500, m.session.Capabilities.Core.MaxObjectsInSet)) {
		done, err := m.removeBatch(ctx, batch, disposal)
		if err != nil {
			return nil, err
		}
		removals = append(removals, done...)
	}
	return removals, nil
}

// learn asks for messages that this session has not listed.
func (m *maildrop) learn(ctx context.Context, ids []backends.MessageID) error {
	unknown := []string{}
	m.mu.Lock()
	for _, id := range ids {
		if _, known := m.emails[string(id)]; !known && isID(string(id)) {
			unknown = append(unknown, string(id))
		}
	}
	m.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	results, err := m.store.request(ctx, m.session, call{"Email/get", map[string]any{
		"accountId": m.session.mailAccount(), "ids": unknown, "properties": emailProperties,
	}})
	if err != nil {
		return err
	}
	var got struct {
		List []email `json:"list"`
	}
	if err := results[0].into(&got); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range got.List {
		if e.MailboxIDs[m.box.ID] {
			m.emails[e.ID] = e
		}
	}
	return nil
}

func (m *maildrop) removeBatch(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if err := m.learn(ctx, ids); err != nil {
		return nil, err
	}
	destroy, update := []string{}, map[string]any{}
	m.mu.Lock()
	for _, id := range ids {
		e, known := m.emails[string(id)]
		switch {
		case !known: // nothing of this mailbox
		case disposal == backends.DisposalTrash:
			update[e.ID] = map[string]any{"mailboxIds": map[string]bool{m.trash: true}}
		case len(e.MailboxIDs) > 1:
			update[e.ID] = map[string]any{"mailboxIds/" + m.box.ID: nil}
		default:
			destroy = append(destroy, e.ID)
		}
	}
	m.mu.Unlock()
	removals := make([]backends.Removal, len(ids))
	for i, id := range ids {
		removals[i].ID = id
	}
	if len(destroy)+len(update) == 0 {
		return removals, nil
	}
	results, err := m.store.request(ctx, m.session, call{"Email/set", map[string]any{
		"accountId": m.session.mailAccount(), "destroy": destroy, "update": update,
	}})
	if err != nil {
		return nil, err
	}
	var got struct {
		NotDestroyed map[string]setError `json:"notDestroyed"`
		NotUpdated   map[string]setError `json:"notUpdated"`
	}
	if err := results[0].into(&got); err != nil {
		return nil, err
	}
	for i, id := range ids {
		for _, refused := range []map[string]setError{got.NotDestroyed, got.NotUpdated} {
			if e, ok := refused[string(id)]; ok && e.Type != "notFound" {
				removals[i].Failure = e.failure("remove")
			}
		}
	}
	return removals, nil
}
