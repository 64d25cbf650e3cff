package imap

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

// keepAlive is how often an idle session says NOOP: under the half hour that RFC 9051 §5.4
// gives it, and under the ten minutes after which some firewalls forget a connection.
const keepAlive = 4 * time.Minute

// maildrop is one selected mailbox on a connection of its own.
type maildrop struct {
	store    *Store
	conn     *connection
	account  backends.Account
	validity uint32
	exists   uint32 // messages when the mailbox was opened

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
	name := "INBOX"
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
	return nil
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

func (m *maildrop) keepAlive(ctx context.Context) {
	defer close(m.done)
	ticker := time.NewTicker(keepAlive)
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

// List yields the messages by UID, which is the order in which they came (RFC 9051 §2.3.1.1).
// What is marked as deleted is left out: it is what DisposalMark leaves behind.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		entries, err := exchange(ctx, m, m.fetchList)
		if err != nil {
			yield(backends.Entry{}, failure("list", err, backends.Temporary))
			return
		}
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// listed is one message of the list.
type listed struct {
	uid     imap.UID
	sized   bool
	deleted bool
	entry   backends.Entry
}

// fetchList asks until the answer is complete: news of flags that come at the same time may
// be taken for the answer about a message, and that one is then missing.
func (m *maildrop) fetchList() ([]backends.Entry, error) {
	for range 5 {
		found, complete, err := m.fetchListOnce()
		if err != nil {
			return nil, err
		}
		if complete {
			return m.entries(found), nil
		}
	}
	return nil, backends.Fail(backends.Temporary, "the server's list of messages is not complete")
}

func (m *maildrop) fetchListOnce() (found []listed, complete bool, err error) {
	if m.exists == 0 {
		return nil, true, nil
	}
	all := imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}
	command := m.conn.client.Fetch(all, &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true, Flags: true})
	found = make([]listed, 0, m.exists)
	complete = true
	for message := command.Next(); message != nil; message = command.Next() {
		l := readListed(message)
		if l.uid == 0 || !l.sized {
			complete = false
			continue
		}
		found = append(found, l)
	}
	if err := command.Close(); err != nil {
		return nil, false, err
	}
	now := m.conn.client.Mailbox()
	return found, complete && now != nil && len(found) >= int(min(m.exists, now.NumMessages)), nil
}

func readListed(message *imapclient.FetchMessageData) listed {
	var l listed
	for item := message.Next(); item != nil; item = message.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			l.uid = item.UID
		case imapclient.FetchItemDataRFC822Size:
			l.entry.Size, l.sized = item.Size, true
		case imapclient.FetchItemDataInternalDate:
			l.entry.Received = item.Time.UTC()
		case imapclient.FetchItemDataFlags:
			l.deleted = slices.Contains(item.Flags, imap.FlagDeleted)
			l.entry.Seen = slices.Contains(item.Flags, imap.FlagSeen)
		}
	}
	return l
}

// entries sorts the list by UID and leaves out what is marked as deleted.
func (m *maildrop) entries(found []listed) []backends.Entry {
	slices.SortFunc(found, func(a, b listed) int { return cmp.Compare(a.uid, b.uid) })
	exact := !m.store.liar.Load()
	entries := make([]backends.Entry, 0, len(found))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range found {
		if _, twice := m.sizes[l.uid]; twice || l.deleted {
			continue
		}
		m.sizes[l.uid] = l.entry.Size
		l.entry.ID, l.entry.Exact = m.id(l.uid), exact
		entries = append(entries, l.entry)
	}
	return entries
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
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
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
	unselected := client.Caps().Has(imap.CapUnselect) && !m.busy()
	if unselected {
		_, err := call(ctx, client, func() (struct{}, error) { return struct{}{}, client.Unselect().Wait() })
		unselected = err == nil
	}
	m.store.pool.release(m.conn, unselected)
	m.exchanges.Wait()
	return nil
}
