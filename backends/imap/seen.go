package imap

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// MarkSeen implements [backends.Marker]: \Seen, by UID (RFC 9051 §6.4.6). UIDs that are gone are
// passed over.
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	set := m.uids(ids)
	if len(set) == 0 {
		return nil
	}
	if err := m.replaced(); err != nil {
		return err
	}
	seen := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagSeen}}
	_, err := exchange(ctx, m, func() (struct{}, error) { return struct{}{}, m.change(set, seen) })
	if err != nil {
		return failure("mark as read", err, backends.Permanent)
	}
	return nil
}
