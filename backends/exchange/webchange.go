package exchange

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
)

// Remove deletes messages, or moves them to Deleted Items, without a receipt to those who sent them. What is in Deleted Items itself is
// deleted in either case.
func (m *webDrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	how := ews.SoftDelete
	switch {
	case disposal != backends.DisposalRemove && disposal != backends.DisposalTrash:
		return nil, backends.Fail(backends.Unsupported, "Exchange has no %s", disposal)
	case m.ctx.Err() != nil:
		return nil, errClosed
	case disposal == backends.DisposalTrash && !m.trash:
		how = ews.MoveToDeletedItems
	case m.store.settings.Removal == removalHard:
		how = ews.HardDelete
	}
	removals := make([]backends.Removal, 0, len(ids))
	for chunk := range slices.Chunk(ids, webChanges) {
		failed, err := m.change(ctx, chunk, func(ctx context.Context, ids []ews.ID) ([]*backends.Failure, error) {
			return m.remove(ctx, ids, how)
		})
		if err != nil && len(removals) == 0 {
			return nil, err
		}
		for _, id := range chunk {
			r := backends.Removal{ID: id, Failure: failed[id]}
			if err != nil {
				r.Failure = backends.AsFailure(err)
			}
			removals = append(removals, r)
		}
	}
	return removals, nil
}

// remove deletes items. Where the server cannot be told to suppress receipts, nobody is to want one any more.
func (m *webDrop) remove(ctx context.Context, ids []ews.ID, how ews.Disposal) ([]*backends.Failure, error) {
	if m.receipts && how != ews.MoveToDeletedItems {
		if _, err := m.client.ForgetReceipts(ctx, ids); err != nil {
			return nil, err
		}
	}
	return m.client.DeleteItem(ctx, ids, how)
}

// MarkSeen implements [backends.Marker]: no receipt is sent.
func (m *webDrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	for chunk := range slices.Chunk(ids, webChanges) {
		failed, err := m.change(ctx, chunk, m.client.MarkRead)
		if err != nil {
			return err
		}
		for _, id := range chunk {
			if failed[id] != nil {
				return failed[id]
			}
		}
	}
	return nil
}

// change does something to messages that may be done again, and returns what it has failed with for which: nothing, for one that is gone.
func (m *webDrop) change(
	ctx context.Context, ids []backends.MessageID, do func(context.Context, []ews.ID) ([]*backends.Failure, error),
) (failed map[backends.MessageID]*backends.Failure, err error) {
	err = m.do(ctx, func(ctx context.Context) error {
		failed = make(map[backends.MessageID]*backends.Failure)
		found, err := m.find(ctx, ids)
		if err != nil || len(found) == 0 {
			return err
		}
		var there []backends.MessageID
		var named []ews.ID
		for _, id := range ids {
			if known, is := found[id]; is && !slices.Contains(there, id) {
				there, named = append(there, id), append(named, known)
			}
		}
		failures, err := do(ctx, named)
		for try := 1; backends.KindOf(err) == backends.Temporary && try < againMost && ctx.Err() == nil; try++ {
			failures, err = do(ctx, named)
		}
		if err != nil {
			return err
		}
		for i, f := range failures {
			if f != nil && !ews.Refused(f, ews.ItemNotFound) {
				failed[there[i]] = notGone(f)
			}
		}
		return nil
	})
	return failed, err
}

// notGone is the failure of a message that is there still. What was not found is something else, such as Deleted Items: nobody is to take it for the
// message.
func notGone(f *backends.Failure) *backends.Failure {
	if f.Kind == backends.NotFound {
		return backends.Fail(backends.Temporary, "%w", f)
	}
	return f
}
