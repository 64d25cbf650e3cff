package exchange

import (
	"context"
	"errors"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

const (
	removalsMost = 500 // ids of one Remove
	chunkMost    = 60  // messages that one request is about: each is opened where the server says that some were left
)

// Remove deletes messages, or moves them to Deleted Items, without a receipt to those who sent them. What is in Deleted Items itself is
// deleted in either case.
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if disposal != backends.DisposalRemove && disposal != backends.DisposalTrash {
		return nil, backends.Fail(backends.Unsupported, "Exchange has no %s", disposal)
	}
	if m.ctx.Err() != nil {
		return nil, errClosed
	}
	removals := make([]backends.Removal, 0, len(ids))
	for chunk := range slices.Chunk(ids, chunkMost) {
		var failed map[backends.MessageID]error
		err := m.do(ctx, func(ctx context.Context) (err error) {
			failed, err = m.remove(ctx, chunk, disposal)
			return err
		})
		if err != nil && len(removals) == 0 {
			return nil, err
		}
		for _, id := range chunk {
			r := backends.Removal{ID: id, Failure: backends.AsFailure(failed[id])}
			if err != nil {
				r.Failure = backends.AsFailure(err)
			}
			removals = append(removals, r)
		}
	}
	return removals, nil
}

// remove removes messages, and returns those that are still there. It is one's turn.
func (m *maildrop) remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) (map[backends.MessageID]error, error) {
	c := m.session
	current, err := c.current(ctx, ids)
	if err != nil || len(current) == 0 {
		return nil, err
	}
	var b rop.Batch
	folder := c.begin(&b)
	reply := m.removal(&b, folder, objectsOf(current), disposal)
	if err := c.run(ctx, &b); err != nil {
		return nil, err
	}
	refused := reply.Err()
	if refused == nil && !reply.PartialCompletion || lost(refused) {
		return nil, refused
	}
	// Some were left, or were gone already.
	there, err := c.look(ctx, current)
	failed := make(map[backends.MessageID]error, len(there))
	for id := range there {
		if failed[id] = failure(refused); refused == nil {
			failed[id] = backends.Fail(backends.Temporary, "the server has left the message %q where it is, and does not say why", string(id))
		}
	}
	return failed, err
}

// removal adds to a batch what removes messages.
func (m *maildrop) removal(b *rop.Batch, folder *rop.Object, ids []mapi.ObjectID, disposal backends.Disposal) *rop.PartialReply {
	c := m.session
	trash := c.folders[rop.FolderDeletedItems]
	switch {
	case disposal == backends.DisposalTrash && trash != c.fid:
		to, _ := rop.Open(b, c.logon, &rop.OpenFolder{FolderID: trash})
		reply := rop.Move(b, folder, to, &rop.MoveCopyMessages{MessageIDs: ids})
		rop.Release(b, to)
		return reply
	case m.store.settings.Removal == removalHard:
		return rop.On(b, folder, &rop.HardDeleteMessages{DeleteMessages: rop.DeleteMessages{MessageIDs: ids}})
	}
	return rop.On(b, folder, &rop.DeleteMessages{MessageIDs: ids})
}

func objectsOf(ids map[backends.MessageID]mapi.ObjectID) []mapi.ObjectID {
	all := make([]mapi.ObjectID, 0, len(ids))
	for _, id := range ids {
		all = append(all, id)
	}
	return all
}

// look returns the flags of those messages that are in the folder. It is one's turn.
func (c *session) look(ctx context.Context, ids map[backends.MessageID]mapi.ObjectID) (map[backends.MessageID]mapi.Integer32, error) {
	type question struct {
		opened *rop.OpenMessageReply
		values *rop.RowReply
	}
	var b rop.Batch
	folder := c.begin(&b)
	asked := make(map[backends.MessageID]question, len(ids))
	for id, mid := range ids {
		message, opened := rop.Open(&b, folder, &rop.OpenMessage{CodePageID: rop.CodePageOfLogon, FolderID: c.fid, MessageID: mid})
		values := rop.On(&b, message, &rop.GetPropertiesSpecific{PropertyTags: []mapi.Tag{mapi.PidTagParentFolderId, mapi.PidTagMessageFlags}})
		rop.Release(&b, message)
		asked[id] = question{opened, values}
	}
	if err := c.run(ctx, &b); err != nil {
		return nil, err
	}
	there := make(map[backends.MessageID]mapi.Integer32, len(ids))
	for id, q := range asked {
		parent, told := q.values.Value(mapi.PidTagParentFolderId).(mapi.Integer64)
		flags, _ := q.values.Value(mapi.PidTagMessageFlags).(mapi.Integer32)
		err := q.opened.Err()
		if errors.Is(err, rop.NotFound) || errors.Is(err, rop.ObjectDeleted) || told && parent.ObjectID() != c.fid {
			continue
		}
		there[id] = flags // also one that cannot be opened: it is not known to be gone
	}
	return there, nil
}

// MarkSeen implements [backends.Marker]: no receipt is sent.
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	for chunk := range slices.Chunk(ids, chunkMost) {
		if err := m.do(ctx, func(ctx context.Context) error { return m.mark(ctx, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

// mark marks messages as read. It is one's turn.
func (m *maildrop) mark(ctx context.Context, ids []backends.MessageID) error {
	c := m.session
	current, err := c.current(ctx, ids)
	if err != nil || len(current) == 0 {
		return err
	}
	var b rop.Batch
	folder := c.begin(&b)
	reply := rop.On(&b, folder, &rop.SetReadFlags{ReadFlags: rop.ReadSuppressReceipt, MessageIDs: objectsOf(current)})
	if err := c.run(ctx, &b); err != nil {
		return err
	}
	if err := reply.Err(); err != nil || !reply.PartialCompletion {
		return err
	}
	there, err := c.look(ctx, current)
	for id, flags := range there {
		if flags&flagRead == 0 {
			return backends.Fail(backends.Temporary, "the server has not marked the message %q as read, and does not say why", string(id))
		}
	}
	return err
}
