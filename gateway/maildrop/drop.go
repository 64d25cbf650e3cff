package maildrop

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/stores"
)

// fetchesAtOnce is how many messages of a maildrop are fetched at the same time from a store that does
// not say how many it gives.
const fetchesAtOnce = 8

// removalsAtATime bounds the time of one call, for stores that have no limit of their own.
const removalsAtATime = 1000

// drop is a maildrop in the TRANSACTION state (RFC 1939 §5): open, locked and listed. It implements
// [pop3.Maildrop], whose message numbers start at 1; the snapshot's indexes start at 0.
//
// The messages that a client is likely to ask for next are fetched ahead, see ahead.
type drop struct {
	o           *Options
	id          string        // the session's; empty: there is none, see Inventory
	store       *stores.Store // as it was when the maildrop was opened
	folder      string
	inner       backends.Maildrop
	utf8        bool             // the client takes UTF-8 in headers
	device      *devices.Session // that has logged in; nil: none
	lock        folder.Lock
	box         folder.Known // by what the folder is remembered
	known       *index.Folder
	list        *snapshot
	sizes       *measurer // nil: all sizes are known
	ahead       *ahead    // nil: nothing has been read yet
	company     company
	gone        map[int]bool // messages that the client knows to be gone
	unavailable unavailable
	ended       atomic.Bool // the store's maildrop has come to an end by itself
	unwatch     func() bool // ends the wait for that; nil: it tells of none
	marks       readMarks
	policy      *policy.Policy
	rendering   backends.Rendering   // what the store is asked for, as far as it renders
	opens       bool                 // TNEF in messages is opened
	deletable   *bool                // nil: the store has not been asked yet
	due         []backends.MessageID // kept messages whose time is over
	leave       func()               // counts the session out; nil: it was not counted
	space       listRoom

	messageIDs messageIDs

	closing sync.Once
	closed  error
}

// log begins a line of the log, as [session.log] does.
func (d *drop) log(level zerolog.Level) *zerolog.Event {
	e := d.o.Log.WithLevel(level)
	if d.id != "" {
		e = e.Str("session", d.id)
	}
	return e.Str("store", d.store.Name).Str("account", d.inner.Opened().Account.ID)
}

// mailbox is the folder as the store names it.
func (d *drop) mailbox() folder.Identity { return mailboxOf(d.store.Name, d.folder, d.inner.Opened()) }

func mailboxOf(storeName, name string, opened backends.Opened) folder.Identity {
	return folder.Identity{
		Store: storeName, Account: opened.Account.ID, FormerIDs: opened.Account.FormerIDs,
		Folder: opened.FolderID, Name: name,
	}
}

// prepare takes the exclusive lock and then the list (RFC 1939 §4), so that no other session changes
// the folder in between. The lock's key is what the store says that it has opened. Until the lock is
// held nothing else is asked of the store, and nothing is changed except that a folder may get its
// key.
func (d *drop) prepare(ctx context.Context) error {
	mailbox := d.mailbox()
	if mailbox.Account == "" {
		return backends.Fail(backends.Temporary, "the store has named no account")
	}
	if err := d.enabled(); err != nil {
		return err
	}
	var err error
	if d.box, err = d.o.Keys.Find(ctx, mailbox); err != nil {
		return backends.Fail(backends.Temporary, "%w", err)
	}
	key := mailbox.Lock(d.box)
	lock, err := folder.Await(ctx, d.o.Locks, key, d.o.LockWait)
	if err != nil {
		return err
	}
	d.lock = lock
	if err := d.o.tooSoon(ctx, key); err != nil {
		return err
	}
	if d.box, err = d.o.Keys.TakeOver(ctx, mailbox, d.box); err != nil {
		return backends.Fail(backends.Temporary, "%w", err)
	}
	if err := d.openIndex(ctx); err != nil {
		return err
	}
	from, young := d.listed()
	if d.list, err = d.takeSnapshot(ctx, from); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if err := d.hideKept(ctx); err != nil {
		return err
	}
	d.admit(ctx, young)
	if d.inner.Opened().AfterLoss != nil {
		d.unwatch = d.inner.Opened().AfterLoss(func() { d.ended.Store(true) })
	}
	if !d.list.complete() {
		d.sizes = newMeasurer(d)
	}
	return d.o.opened(ctx, key)
}

// readAhead is the session's reading ahead. It is made for the first message, as many sessions only
// ask for STAT or UIDL. It is nil if the store gives one message at a time.
func (d *drop) readAhead() *ahead {
	many, ok := d.inner.(backends.ManyFetcher)
	if d.ahead != nil || !ok || d.fetchesAtOnce() == 1 {
		return d.ahead
	}
	a := &ahead{
		store: many, form: d.rendering, id: d.list.id, size: d.list.size, skip: d.notAhead,
		company: &d.company, count: d.Len(), budget: d.o.Ahead, left: d.o.AheadPerSession,
		last: want{-1, -1}, step: 1,
	}
	a.open = func(ctx context.Context, w want, since int64, c backends.Content) *reading {
		return d.watched(ctx, w.index, w.top, true, since, c)
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	d.ahead = a
	return a
}

// fetchesAtOnce is how many messages the store gives at the same time.
func (d *drop) fetchesAtOnce() int {
	most := d.store.Description.Limits.FetchesAtOnce
	if most <= 0 {
		return fetchesAtOnce
	}
	return min(most, 4*fetchesAtOnce)
}

// notAhead says whether a message is not to be read ahead: one that has failed before is asked for
// by itself, and one that is held not at all.
func (d *drop) notAhead(i int) bool {
	_, held := d.unavailable.entry(i, folder.Held)
	return held || d.suspected(i)
}

// login returns the drop with what the engine has to know of it. Accessed, for LAST (RFC 1460 §6), comes
// from the store's marks of messages that are read.
func (d *drop) login() *pop3.Login {
	return &pop3.Login{
		Maildrop: d, User: d.inner.Opened().Account.ID, Accessed: d.list.seen, AfterLoss: d.inner.Opened().AfterLoss, MayDelete: d.mayDelete,
		Expire: d.policy.Expire(), IdleTimeout: d.policy.Idle, SessionLimit: d.policy.Session, Over: d.over,
	}
}

// over ends the session of a device that is off now.
func (d *drop) over(ctx context.Context) error {
	if d.device == nil {
		return nil
	}
	if err := d.device.Over(ctx); err != nil {
		return &pop3.Error{Code: "AUTH", Text: err.Error()}
	}
	return nil
}

// Len implements [pop3.Maildrop].
func (d *drop) Len() int { return len(d.list.entries) }

// UIDL implements [pop3.Maildrop].
func (d *drop) UIDL(n int) string {
	if n < 1 || n > d.Len() {
		return ""
	}
	return d.list.uidl(n - 1)
}

// index checks a number that the engine has checked already.
func (d *drop) index(n int) (int, error) {
	if n < 1 || n > d.Len() {
		return 0, &pop3.Error{Text: "no such message"}
	}
	return n - 1, nil
}

// Size implements [pop3.Maildrop]: the size in octets that LIST and STAT tell (RFC 1939 §5). A size
// that the store does not know exactly is found by reading the message once (I6).
//
// A message that is gone has the size 0, and one that cannot be rendered has the size of its notice,
// so that STAT does not fail for all messages because of one (I8).
func (d *drop) Size(ctx context.Context, n int) (int64, error) {
	i, err := d.index(n)
	if err != nil {
		return 0, err
	}
	if size, known := d.list.size(i); known {
		return size, nil
	}
	size, err := d.sizes.size(ctx, i)
	if err != nil {
		return 0, replies.POP3(err)
	}
	return size, nil
}

// measure reads a message to know its size. For a client that waits for it, a failure counts.
func (d *drop) measure(ctx context.Context, i int, client bool) (int64, error) {
	get := d.ask
	if !client {
		get = d.fetchUncounted
	}
	r, err := get(ctx, i, -1)
	if err != nil {
		return 0, err
	}
	_, err = r.WriteTo(io.Discard)
	if e := r.Close(); err == nil {
		err = e
	}
	return r.passed.Octets(), err
}

// Open implements [pop3.Maildrop] for RETR (RFC 1939 §5) and TOP (RFC 1939 §7). The size of a whole
// message is found first, because the response to RETR begins with it (I6).
func (d *drop) Open(ctx context.Context, n, top int) (pop3.Content, error) {
	i, err := d.index(n)
	if err != nil {
		return nil, err
	}
	if d.lock.Lost() {
		return nil, replies.POP3(backends.Fail(backends.Temporary, "the lock on the maildrop is lost"))
	}
	if top < 0 {
		if _, err := d.Size(ctx, n); err != nil {
			return nil, err
		}
	}
	asked := time.Now()
	var r *reading
	ahead, ok := d.readAhead(), false
	if ahead != nil && (top < 0 || !d.opens) { // a top may need the whole message then
		r, err, ok = ahead.take(ctx, want{i, top})
	}
	if !ok {
		r, err = d.ask(ctx, i, top)
	}
	if backends.KindOf(err) == backends.NotFound {
		return nil, d.vanished(i, err)
	}
	if err != nil {
		return nil, replies.POP3(err)
	}
	d.told(i)
	r.asked = asked
	return r, nil
}

// vanished is the response for a message that is gone. It counts as a client's mistake when the client
// has been told before.
func (d *drop) vanished(i int, err error) error {
	told := d.gone[i]
	if d.gone == nil {
		d.gone = make(map[int]bool)
	}
	d.gone[i] = true
	return &pop3.Error{Text: "the message is gone: another session has removed it", Err: err, Mistake: told}
}

// fetch opens a message for a client, or its notice if the message is held. The caller counts a
// failure to open; a failure while it is read is counted by the reading.
func (d *drop) fetch(ctx context.Context, i, top int) (*reading, error) {
	return d.open(ctx, i, top, true)
}

// fetchUncounted opens a message that no client waits for. Its failures do not count: a client that
// asks for the message will meet them.
func (d *drop) fetchUncounted(ctx context.Context, i, top int) (*reading, error) {
	return d.open(ctx, i, top, false)
}

func (d *drop) open(ctx context.Context, i, top int, counts bool) (*reading, error) {
	if e, held := d.unavailable.entry(i, folder.Held); held {
		return d.noticeOf(i, top, e), nil
	}
	since := d.company.now()
	inner, err := d.inner.Fetch(ctx, d.request(i, top))
	if err != nil {
		return nil, err
	}
	if d.opens && top >= 0 {
		if inner, err = d.openedTop(ctx, i, top, inner); err != nil {
			return nil, err
		}
	}
	return d.watched(ctx, i, top, counts, since, inner), nil
}

// mayDelete refuses DELE where the store cannot do with messages of this mailbox what the policy says.
// Otherwise QUIT would tell of it, when the client takes them for deleted. The store is asked once, and
// what else it fails with is told at QUIT.
func (d *drop) mayDelete(ctx context.Context) error {
	if d.deletable == nil {
		_, err := d.inner.Remove(ctx, nil, d.policy.Disposal)
		can := backends.KindOf(err) != backends.Unsupported
		if !can {
			d.log(zerolog.WarnLevel).Err(err).Stringer("deleted", d.policy.Disposal).
				Msg("DELE is refused: messages of this mailbox cannot be disposed of as the policy says")
		}
		d.deletable = &can
	}
	if *d.deletable {
		return nil
	}
	return &pop3.Error{Code: "SYS/PERM", Text: "messages of this mailbox cannot be deleted"}
}

// Update implements [pop3.Maildrop]: it removes exactly the marked messages, by their ids (I4). "In no
// case may the server remove any messages not marked as deleted" (RFC 1939 §6).
func (d *drop) Update(ctx context.Context, deleted []int) error {
	if len(deleted) == 0 {
		return nil
	}
	marked := make([]int, 0, len(deleted))
	for _, n := range deleted {
		i, err := d.index(n)
		if err != nil {
			return err
		}
		if !d.gone[i] { // one that is back has not been seen by the client
			marked = append(marked, i)
		}
	}
	rest, err := d.dismiss(ctx, marked)
	if err != nil {
		return &pop3.Error{Code: "SYS/TEMP", Text: "nothing was removed", Err: err}
	}
	if len(rest) == 0 {
		return nil
	}
	if d.policy.Keep > 0 {
		return d.keep(ctx, rest)
	}
	removed, err := d.remove(ctx, rest)
	if err == nil {
		d.marks.forget(rest)
		return nil
	}
	code := backends.AsFailure(err).Reply().POP3
	if code != "SYS/PERM" {
		code = "SYS/TEMP"
	}
	return &pop3.Error{
		Code: code, Err: err,
		Text: fmt.Sprintf("%d of %d deleted messages were not removed", len(rest)-removed, len(rest)),
	}
}

// remove removes as many messages as possible. The error is that of the first message that remains;
// RFC 1939 §6 allows that only some are removed.
func (d *drop) remove(ctx context.Context, messages []int) (removed int, first error) {
	for batch := range slices.Chunk(messages, d.batch()) {
		if err := d.lock.Held(ctx); err != nil {
			return removed, err // another session may have the maildrop now
		}
		n, err := d.removeBatch(ctx, batch)
		removed += n
		if first == nil {
			first = err
		}
		if err != nil && ctx.Err() != nil {
			break
		}
	}
	return removed, first
}

// ids are the ids of some messages.
func (d *drop) ids(messages []int) []backends.MessageID {
	ids := make([]backends.MessageID, 0, len(messages))
	for _, i := range messages {
		ids = append(ids, d.list.id(i))
	}
	return ids
}

func (d *drop) removeBatch(ctx context.Context, messages []int) (removed int, first error) {
	ids := d.ids(messages)
	removals, err := d.inner.Remove(ctx, ids, d.policy.Disposal)
	if err == nil && len(removals) != len(ids) {
		err = backends.Fail(backends.Temporary, "the store answered for %d of %d removals", len(removals), len(ids))
	}
	if err != nil {
		for _, i := range messages {
			d.deletion(i, "unknown", err)
		}
		return 0, err
	}
	for i, r := range removals {
		var err error
		switch {
		case r.ID != ids[i]:
			err = backends.Fail(backends.Temporary, "the store answered for another message than asked")
		case r.Failure != nil && r.Failure.Kind != backends.NotFound: // gone is gone
			err = r.Failure
		default:
			removed++
		}
		outcome := "removed"
		if err != nil {
			outcome = "failed"
		}
		d.deletion(messages[i], outcome, err)
		if first == nil {
			first = err
		}
	}
	return removed, first
}

// batch is how many ids the store takes at once.
func (d *drop) batch() int {
	most := d.store.Description.Limits.RemovalsAtATime
	if most <= 0 {
		return removalsAtATime
	}
	return min(most, removalsAtATime)
}

// Close implements [pop3.Maildrop]. The lock is released last (RFC 1939 §6), after this session has
// closed the store's maildrop.
func (d *drop) Close() error {
	d.closing.Do(func() {
		if d.ahead != nil {
			d.ahead.close()
		}
		if d.sizes != nil {
			d.sizes.close()
		}
		if d.list != nil {
			d.flush()
		}
		d.markRead()
		d.removeDue()
		if d.unwatch != nil {
			d.unwatch()
		}
		d.closed = d.inner.Close()
		if d.lock != nil {
			d.lock.Release()
		}
		if d.leave != nil {
			d.leave()
		}
		d.space.giveBack()
	})
	return d.closed
}
