package jmap

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

// MarkSeen implements [backends.Marker]: the keyword $seen (RFC 8621 §4.1.1).
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	if m.ctx.Err() != nil {
		return errClosed
	}
	ctx, cancel := m.bound(ctx)
	defer cancel(nil)
	r, err := m.session.resource(ctx)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id backends.MessageID) bool { return !isID(string(id)) })
	for batch := range slices.Chunk(ids, r.Capabilities.Core.batch(removalsMost, r.Capabilities.Core.ObjectsInSet)) {
		update := make(map[string]any, len(batch))
		for _, id := range batch {
			update[string(id)] = map[string]any{"keywords/$seen": true}
		}
		var got struct {
			NotUpdated map[string]methodError `json:"notUpdated"`
		}
		if err := m.session.request(ctx, call{"Email/set", map[string]any{"update": update}, &got}); err != nil {
			return err
		}
		for _, e := range got.NotUpdated {
			if e.Type != "notFound" { // gone
				return e.failure("mark as read")
			}
		}
	}
	return nil
}
