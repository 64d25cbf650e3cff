package imap

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// maildrop is one selected mailbox on a connection of its own.
type maildrop struct {
	store      *Store
	credential backends.Credential // to open the mailbox again with
	folder     string              // as asked for
	account    backends.Account
	validity   uint32
	folderID   string

	// gate is held for reading by all that is under way on the connection, and for writing by
	// what has to be alone on it, or puts another one in its place.
	gate          sync.RWMutex
	conn          *connection // changes under gate and mu
	exists        uint32      // messages when the mailbox was opened; changes with conn
	detached      bool        // conn has been given back
	reconnections int
	fruitless     atomic.Int32 // reconnections since a message came
	partMost      atomic.Int64 // the longest part that the server gives; 0: any
	partsIgnored  atomic.Bool  // the server gives whole messages in place of parts

	mu         sync.Mutex
	sizes      map[imap.UID]int64 // RFC822.SIZE, as listed
	failed     map[imap.UID]error // messages that cannot be had in this session
	isReplaced bool               // a reconnection has met another mailbox
	replacedBy uint32             // which is that
	news       time.Time          // of the last NOOP before a message
	waitFor    map[place][]*part
	exchanges  sync.WaitGroup // with answers still to come
	waiting    int            // how many they are
	closed     bool
	alive      context.Context    //nolint:containedctx // the session's: it ends with Close
	stop       context.CancelFunc // ends it
	done       chan struct{}      // closed when the keep-alive has ended
}

// Open logs in and selects a mailbox. The context bounds the opening alone.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	if err := s.accepts(request.Credential); err != nil {
		return nil, err
	}
	conn, err := s.acquire(ctx, request.Credential)
	if err != nil {
		return nil, err
	}
	m := &maildrop{
		store: s, conn: conn, credential: request.Credential, folder: request.Folder, account: s.account(request.Credential),
		sizes: make(map[imap.UID]int64), failed: make(map[imap.UID]error),
		waitFor: make(map[place][]*part), done: make(chan struct{}),
	}
	opened, err := m.selectFolder(ctx, conn)
	if err != nil {
		s.pool.release(conn, healthy(err))
		return nil, err
	}
	m.validity, m.exists, m.folderID = opened.validity, opened.exists, opened.folderID
	if m.validity == 0 {
		s.noValidity.Do(func() {
			s.log.Warn().Str("folder", request.Folder).Msg("the IMAP server tells no UIDVALIDITY (RFC 9051 §2.3.1.1): should it make a mailbox anew, clients and the gateway take its messages for those that were there before")
		})
	}
	m.alive, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	go m.keepAlive()
	return m, nil
}

// healthy says whether a connection can still be used after an error.
func healthy(err error) bool {
	f := backends.AsFailure(err)
	return f == nil || f.Kind == backends.NotFound || f.Kind == backends.Permanent
}

// mailbox is what is known of one that was selected.
type mailbox struct {
	validity, exists uint32
	folderID         string
}

func (m *maildrop) selectFolder(ctx context.Context, conn *connection) (opened mailbox, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(m.store.settings.Timeout))
	defer cancel()
	name := m.store.settings.Folder
	if folder := m.folder; folder != "" {
		if strings.ContainsAny(folder, "\x00\r\n*%") || !isPath(folder) {
			return opened, backends.Fail(backends.NotFound, "no folder can be called %q", folder)
		}
		delimiter, err := delimiter(ctx, conn, folder)
		if err != nil {
			return opened, err
		}
		name = strings.ReplaceAll(folder, "/", delimiter)
	}
	data, err := call(ctx, conn.client, func() (*imap.SelectData, error) { return conn.open(name, false) })
	if err != nil {
		err = failure("select "+name, err, backends.NotFound)
		if backends.KindOf(err) == backends.Unsupported { // CANNOT: no folder can have such a name
			err = backends.Fail(backends.NotFound, "%w", err)
		}
		return opened, err
	}
	// The library tells its own view of the mailbox only some time after the answer.
	opened.validity, opened.exists = data.UIDValidity, data.NumMessages
	opened.folderID, err = canonical(ctx, conn, name)
	return opened, err
}

// isPath says whether a folder's path has a name in each of its parts: some servers take others for
// places in their file system.
func isPath(folder string) bool {
	for part := range strings.SplitSeq(folder, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// delimiter asks for the server's hierarchy delimiter (RFC 9051 §6.3.9.7), where one is needed.
func delimiter(ctx context.Context, conn *connection, folder string) (string, error) {
	if !strings.Contains(folder, "/") {
		return "/", nil
	}
	list, err := call(ctx, conn.client, func() ([]*imap.ListData, error) { return conn.client.List("", "", nil).Collect() })
	if err != nil {
		return "", failure("ask for the delimiter", err, backends.Temporary)
	}
	if len(list) == 0 || list[0].Delim == 0 {
		return "/", nil
	}
	return string(list[0].Delim), nil
}

// keepAlive says NOOP now and then: a session may be idle for as long as its client pleases.
func (m *maildrop) keepAlive() {
	defer close(m.done)
	ticker := time.NewTicker(time.Duration(m.store.settings.Pool.Noop))
	defer ticker.Stop()
	for {
		select {
		case <-m.alive.Done():
			return
		case <-ticker.C:
			m.gate.RLock()
			client := m.conn.client
			_, _ = call(m.alive, client, func() (struct{}, error) {
				defer client.wire.expect()()
				return struct{}{}, client.Noop().Wait()
			})
			m.gate.RUnlock()
		}
	}
}

// Opened implements [backends.Maildrop].
func (m *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: m.account, FolderID: m.folderID}
}

// List yields the messages by UID, which is the order in which they came (RFC 9051 §2.3.1.1).
// What is marked as deleted is left out: it is what DisposalMark leaves behind.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		entries, err := exchange(ctx, m, m.fetchList)
		if err == nil {
			err = m.replaced()
		}
		if err != nil {
			yield(backends.Entry{}, failure("list", err, backends.Temporary))
			return
		}
		m.markExact(ctx, entries)
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *maildrop) id(uid imap.UID) backends.MessageID {
	return backends.MessageID(fmt.Sprintf("%d.%d", m.validity, uid))
}

// uid reads an id. One of another UIDVALIDITY names a message that is not there any more.
func (m *maildrop) uid(id backends.MessageID) (imap.UID, bool) {
	validity, uid, ok := strings.Cut(string(id), ".")
	v, err1 := strconv.ParseUint(validity, 10, 32)
	u, err2 := strconv.ParseUint(uid, 10, 32)
	if !ok || err1 != nil || err2 != nil || uint32(v) != m.validity || u == 0 || m.id(imap.UID(u)) != id {
		return 0, false
	}
	return imap.UID(u), true
}

// uids are those of the ids that name messages of this mailbox.
func (m *maildrop) uids(ids []backends.MessageID) (set imap.UIDSet) {
	for _, id := range ids {
		if uid, ok := m.uid(id); ok { // another UIDVALIDITY: gone already
			set.AddNum(uid)
		}
	}
	return set
}

// exchange runs an exchange with the server and leaves it running when the context ends: the
// connection, and with it the session, goes on. One that was lost before it is opened again.
func exchange[T any](ctx context.Context, m *maildrop, run func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	var none T
	if !m.background(func() {
		if err := m.attach(); err != nil {
			results <- result{none, err}
			return
		}
		m.gate.RLock()
		defer m.gate.RUnlock()
		client := m.conn.client
		defer client.wire.allow()()
		value, err := run()
		results <- result{value, client.explain(err)}
	}) {
		return none, backends.Fail(backends.Temporary, "%w", errClosed)
	}
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// replaced says whether the mailbox is another one than was listed: what was a message's UID
// may be another message's now (RFC 9051 §2.3.1.1). The session is over, and touches nothing.
func (m *maildrop) replaced() error {
	m.mu.Lock()
	now, conn, is := m.replacedBy, m.conn, m.isReplaced
	m.mu.Unlock()
	if !is {
		now = conn.client.wire.uidValidity()
		if now == m.validity || now == 0 {
			return nil
		}
	}
	return backends.Fail(backends.Temporary, "the mailbox was replaced while it was open: its UIDVALIDITY was %d and is %d", m.validity, now).
		Say("the mailbox was replaced meanwhile, log in again")
}

// Close gives the connection back, when the mailbox is unselected without an EXPUNGE.
func (m *maildrop) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	busy, conn := m.waiting > 0, m.conn
	m.mu.Unlock()
	m.stop()
	if busy {
		conn.client.end(errClosed) // nobody wants the answers that are still to come
	}
	<-m.done
	m.exchanges.Wait()
	if m.detached {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	unselected := !busy && !m.lost()
	if unselected {
		_, err := call(ctx, m.conn.client, func() (struct{}, error) { return struct{}{}, m.conn.deselect() })
		unselected = err == nil
	}
	m.store.pool.release(m.conn, unselected)
	return nil
}
