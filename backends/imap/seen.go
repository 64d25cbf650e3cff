package imap

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// MarkSeen implements [backends.Marker]: \Seen, by UID (RFC 9051 §6.4.6). UIDs that are gone are
// passed over by the server.
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	var set imap.UIDSet
	for _, id := range ids {
		if uid, ok := m.uid(id); ok { // another UIDVALIDITY: gone already
			set.AddNum(uid)
		}
	}
	if len(set) == 0 {
		return nil
	}
	if err := m.replaced(); err != nil {
		return err
	}
	seen := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagSeen}}
	_, err := exchange(ctx, m, func() (struct{}, error) { return struct{}{}, m.conn.client.Store(set, seen, nil).Close() })
	if err != nil {
		return failure("mark as read", err, backends.Permanent)
	}
	return nil
}
