package jmap

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

const (
	removalsMost = 500 // messages that one request removes
	triesMost    = 5   // of a removal, because of changes meanwhile
)

// Remove takes messages out of the mailbox. One that is in no other is destroyed; one that is
// in others, too, only leaves this one.
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if disposal != backends.DisposalRemove && (disposal != backends.DisposalTrash || m.trash == "") {
		return nil, backends.Fail(backends.Unsupported, "disposal %d: JMAP has no mark for deleted mail, or there is no mailbox with the role trash", disposal)
	}
	if m.ctx.Err() != nil {
		return nil, errClosed
	}
	ctx, cancel := m.bound(ctx)
	defer cancel(nil)
	r, err := m.session.resource(ctx)
	if err != nil {
		return nil, err
	}
	removals := make([]backends.Removal, 0, len(ids))
	for batch := range slices.Chunk(ids, r.Capabilities.Core.batch(removalsMost, r.Capabilities.Core.ObjectsInSet)) {
		done, err := m.removeBatch(ctx, batch, disposal)
		if err != nil && len(removals) == 0 {
			return nil, err
		}
		for i := range done {
			if err != nil {
				done[i].Failure = backends.AsFailure(err)
			}
		}
		removals = append(removals, done...)
	}
	return removals, nil
}

// removeBatch looks where the messages are and removes them as they are there: if something
// changes in between (a message could be filed elsewhere, too), it looks again.
func (m *maildrop) removeBatch(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	removals := make([]backends.Removal, len(ids))
	var asked []string
	for i, id := range ids {
		removals[i].ID = id
		if isID(string(id)) {
			asked = append(asked, string(id))
		}
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	for try := 1; ; try++ {
		there, err := m.inMailbox(ctx, asked)
		for i, id := range ids {
			if there.untold[string(id)] {
				removals[i].Failure = backends.Fail(backends.Temporary, "the server does not say whether the message %q is there", id)
			}
		}
		if err != nil || len(there.found) == 0 {
			return removals, err
		}
		refused, untold, err := m.set(ctx, there.found, there.state, disposal)
		if isMethodError(err, "stateMismatch") && try < triesMost {
			continue
		}
		if err != nil {
			return removals, err
		}
		for i, id := range ids {
			if e, ok := there.found[string(id)]; ok && e.MailboxIDs == nil {
				removals[i].Failure = backends.Fail(backends.Temporary, "the server does not say in which mailboxes the message %q is", id)
			}
			if e, ok := refused[string(id)]; ok && e.Type != "notFound" {
				removals[i].Failure = e.failure("remove")
			}
		}
		return removals, m.checkRemoved(ctx, removals, untold)
	}
}

// checkRemoved asks for the messages of which the server has said neither that they were removed nor
// that they were not.
func (m *maildrop) checkRemoved(ctx context.Context, removals []backends.Removal, untold []string) error {
	if len(untold) == 0 {
		return nil
	}
	there, err := m.inMailbox(ctx, untold)
	if err != nil {
		return err
	}
	for i := range removals {
		id := string(removals[i].ID)
		if _, is := there.found[id]; (is || there.untold[id]) && removals[i].Failure == nil && slices.Contains(untold, id) {
			removals[i].Failure = backends.Fail(backends.Temporary, "the server has not removed the message %q, and does not say why", id)
		}
	}
	return nil
}

// set destroys or moves messages, and tells which it could not (RFC 8621 §4.6), and of which the server
// has said nothing.
func (m *maildrop) set(ctx context.Context, found map[string]email, state string, disposal backends.Disposal) (refused map[string]methodError, untold []string, err error) {
	destroy, update := []string{}, map[string]any{}
	for id, e := range found {
		switch {
		case e.MailboxIDs == nil: // destroyed, it might be missing elsewhere
		case disposal == backends.DisposalTrash && m.trash != m.box:
			update[id] = map[string]any{"mailboxIds/" + m.box: nil, "mailboxIds/" + m.trash: true}
		case len(e.MailboxIDs) > 1:
			update[id] = map[string]any{"mailboxIds/" + m.box: nil}
		default:
			destroy = append(destroy, id)
		}
	}
	var got struct {
		Destroyed    texts                      `json:"destroyed"`
		Updated      map[string]json.RawMessage `json:"updated"`
		NotDestroyed map[string]methodError     `json:"notDestroyed"`
		NotUpdated   map[string]methodError     `json:"notUpdated"`
	}
	arguments := map[string]any{"destroy": destroy, "update": update}
	if state != "" {
		arguments["ifInState"] = state
	}
	err = m.session.request(ctx, call{"Email/set", arguments, &got})
	refused = make(map[string]methodError)
	maps.Copy(refused, got.NotDestroyed)
	maps.Copy(refused, got.NotUpdated)
	done := make(map[string]bool)
	for _, id := range got.Destroyed {
		done[id] = true
	}
	for id := range got.Updated {
		done[id] = true
	}
	for id, e := range found {
		if _, is := refused[id]; !is && !done[id] && e.MailboxIDs != nil {
			untold = append(untold, id)
		}
	}
	slices.Sort(untold)
	return refused, untold, err
}
