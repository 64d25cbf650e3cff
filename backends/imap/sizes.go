package imap

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// sizesAreTrue says whether what the server tells as a size is one. It is believed once a
// message has been read and counted, the first time that there is one.
func (m *maildrop) sizesAreTrue(ctx context.Context, entries []backends.Entry) bool {
	if len(entries) == 0 || m.store.sized.Load() || m.store.liar.Load() {
		return !m.store.liar.Load()
	}
	smallest := slices.MinFunc(entries, func(a, b backends.Entry) int { return cmp.Compare(a.Size, b.Size) })
	uid, _ := m.uid(smallest.ID)
	r := &parts{ctx: ctx, maildrop: m, uid: uid, size: -1}
	defer r.close()
	r.ask()
	var read counter
	_, err := io.Copy(&read, r)
	switch {
	case err != nil: // it is gone, or the connection is: nothing is known yet
		return false
	case int64(read) != smallest.Size:
		m.store.distrust(uid, smallest.Size, int64(read))
		return false
	}
	m.store.sized.Store(true)
	return true
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// distrust takes the server's sizes for estimates from now on.
func (s *Store) distrust(uid imap.UID, told, came int64) {
	if !s.liar.Swap(true) {
		s.log.Warn().Uint32("uid", uint32(uid)).Int64("told", told).Int64("came", came).
			Msg("the IMAP server gives a message another length than its RFC822.SIZE; its sizes count as estimates from now on")
	}
}
