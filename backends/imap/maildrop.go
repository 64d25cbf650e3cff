package imap

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// maildrop is one selected mailbox on a connection of its own.
type maildrop struct {
	store    *Store
	conn     *connection
	account  backends.Account
	validity uint32
	exists   uint32 // messages when the mailbox was opened
	folderID string

	mu        sync.Mutex
	sizes     map[imap.UID]int64 // RFC822.SIZE, as listed
	waitFor   map[place][]*part
	exchanges sync.WaitGroup // with answers still to come
	waiting   int            // how many they are
	closed    bool
	stop      context.CancelFunc // of the keep-alive
	done      chan struct{}      // closed when the keep-alive has ended
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
	m := &maildrop{store: s, conn: conn, account: s.account(request.Credential), sizes: make(map[imap.UID]int64), waitFor: make(map[place][]*part), done: make(chan struct{})}
	if err := m.selectFolder(ctx, request.Folder); err != nil {
		s.pool.release(conn, healthy(err))
		return nil, err
	}
	var alive context.Context
	alive, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	go m.keepAlive(alive)
	return m, nil
}

// healthy says whether a connection can still be used after an error.
func healthy(err error) bool {
	f := backends.AsFailure(err)
	return f == nil || f.Kind == backends.NotFound || f.Kind == backends.Permanent
}

func (m *maildrop) selectFolder(ctx context.Context, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(m.store.settings.Timeout))
	defer cancel()
	name := m.store.settings.Folder
	if folder != "" {
		if strings.ContainsAny(folder, "\x00\r\n*%") {
			return backends.Fail(backends.NotFound, "no folder can be called %q", folder)
		}
		delimiter, err := m.delimiter(ctx, folder)
		if err != nil {
			return err
		}
		name = strings.ReplaceAll(folder, "/", delimiter)
	}
	data, err := call(ctx, m.conn.client, func() (*imap.SelectData, error) { return m.conn.client.Select(name, nil).Wait() })
	if err != nil {
		err = failure("select "+name, err, backends.NotFound)
		if backends.KindOf(err) == backends.Unsupported { // CANNOT: no folder can have such a name
			err = backends.Fail(backends.NotFound, "%w", err)
		}
		return err
	}
	// The library tells its own view of the mailbox only some time after the answer.
	m.validity, m.exists = data.UIDValidity, data.NumMessages
	m.folderID, err = m.canonical(ctx, name)
	return err
}

// delimiter asks for the server's hierarchy delimiter (RFC 9051 §6.3.9.7), where one is needed.
func (m *maildrop) delimiter(ctx context.Context, folder string) (string, error) {
	if !strings.Contains(folder, "/") {
		return "/", nil
	}
	list, err := call(ctx, m.conn.client, func() ([]*imap.ListData, error) { return m.conn.client.List("", "", nil).Collect() })
	if err != nil {
		return "", failure("ask for the delimiter", err, backends.Temporary)
	}
	if len(list) == 0 || list[0].Delim == 0 {
		return "/", nil
	}
	return string(list[0].Delim), nil
}

// keepAlive says NOOP now and then: a session may be idle for as long as its client pleases.
func (m *maildrop) keepAlive(ctx context.Context) {
	defer close(m.done)
	ticker := time.NewTicker(time.Duration(m.store.settings.Pool.Noop))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = call(ctx, m.conn.client, func() (struct{}, error) { return struct{}{}, m.conn.client.Noop().Wait() })
		}
	}
}

func (m *maildrop) Account() backends.Account { return m.account }

// FolderID implements [backends.Identified].
func (m *maildrop) FolderID() string { return m.folderID }

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
		exact := m.sizesAreTrue(ctx, entries)
		for _, e := range entries {
			e.Exact = exact
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

// exchange runs an exchange with the server and leaves it running when the context ends: the
// connection, and with it the session, goes on.
func exchange[T any](ctx context.Context, m *maildrop, run func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	var none T
	if !m.background(func() {
		value, err := run()
		results <- result{value, err}
	}, nil) {
		return none, backends.Fail(backends.Temporary, "%w", errClosed)
	}
	select {
	case r := <-results:
		return r.value, m.conn.client.explain(r.err)
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// replaced says whether the mailbox is another one than was listed: what was a message's UID
// may be another message's now (RFC 9051 §2.3.1.1). The session is over, and touches nothing.
func (m *maildrop) replaced() error {
	now := m.conn.client.wire.uidValidity()
	if now == m.validity || now == 0 {
		return nil
	}
	return backends.Fail(backends.Temporary, "the mailbox was replaced while it was open: its UIDVALIDITY was %d and is %d", m.validity, now).
		Say("the mailbox was replaced meanwhile, log in again")
}

// busy says whether answers are still to come.
func (m *maildrop) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting > 0
}

// Close gives the connection back, when the mailbox is unselected without an EXPUNGE.
func (m *maildrop) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.stop()
	<-m.done
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := m.conn.client
	unselected := client.caps.Has(imap.CapUnselect) && !m.busy()
	if unselected {
		_, err := call(ctx, client, func() (struct{}, error) { return struct{}{}, client.Unselect().Wait() })
		unselected = err == nil
	}
	m.store.pool.release(m.conn, unselected)
	m.exchanges.Wait()
	return nil
}
