package maildrop

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/gateway/folder"
)

// unavailable is what a session knows of the messages that their store cannot give (I8).
type unavailable struct {
	mu      sync.Mutex
	entries map[int]folder.QuarantineEntry // suspected and held ones
	proven  map[int]bool                   // suspected ones beside which another message could be had
	counted map[int]bool                   // those whose failure has been counted in this session
	noticed map[int]bool                   // those whose notice has been counted
}

// quarantineTimeout bounds what the quarantine's database may take of a session.
const quarantineTimeout = 5 * time.Second

func (u *unavailable) entry(i int, s folder.QuarantineState) (folder.QuarantineEntry, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e, ok := u.entries[i]
	return e, ok && e.State == s
}

func (u *unavailable) remember(i int, e folder.QuarantineEntry) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.entries == nil {
		u.entries = make(map[int]folder.QuarantineEntry)
	}
	u.entries[i] = e
}

// once says yes the first time, for each message.
func (u *unavailable) once(of *map[int]bool, i int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if *of == nil {
		*of = make(map[int]bool)
	}
	before := (*of)[i]
	(*of)[i] = true
	return !before
}

func (u *unavailable) isProven(i int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.proven[i]
}

func (d *drop) entryFor(i int) folder.Message {
	return folder.Message{Key: d.box.Key, ID: d.list.id(i), UIDL: d.list.uidl(i)}
}

// admit puts what is remembered of the folder's messages into the list: what is hidden is left
// out, and then what the policy does not show; what is held has the size of its notice, and what
// was released its new unique-id. Without its memory the gateway goes on: the store will say again
// what it cannot give.
func (d *drop) admit(ctx context.Context, young func(i int) bool) {
	entries, err := d.o.Quarantine.In(ctx, d.box.Key)
	if err != nil {
		d.log.Error().Err(err).Msg("the quarantine cannot be read; its messages are asked for again")
	}
	known := d.still(entries)
	if len(known) > 0 {
		d.list.filter(func(i int) bool { return known[d.list.id(i)].State != folder.Hidden })
	}
	d.arrange(young)
	if len(known) == 0 {
		return
	}
	for i := range d.list.entries {
		e, is := known[d.list.id(i)]
		if !is {
			continue
		}
		if folder.Renamed(e.UIDL) {
			d.list.rename(i, e.UIDL)
		}
		if e.State != folder.Released {
			d.unavailable.remember(i, e)
		}
		if e.State == folder.Held {
			d.list.setSize(i, int64(len(d.notice(i, e))))
		}
	}
}

// still gives those that are there, and has the others forgotten.
func (d *drop) still(entries []folder.QuarantineEntry) map[backends.MessageID]folder.QuarantineEntry {
	if len(entries) == 0 {
		return nil
	}
	remembered := make(map[backends.MessageID]folder.QuarantineEntry, len(entries))
	for _, e := range entries {
		remembered[e.ID] = e
	}
	known := make(map[backends.MessageID]folder.QuarantineEntry, len(entries))
	for i := range d.list.entries {
		if e, is := remembered[d.list.id(i)]; is {
			known[e.ID] = e
			delete(remembered, e.ID)
		}
	}
	var gone []string
	for _, e := range remembered {
		gone = append(gone, e.Number)
	}
	d.quarantine("forget messages that are gone", func(ctx context.Context, w *folder.Quarantine) error { return w.Forget(ctx, gone) })
	return known
}

// quarantine does something with the quarantine that no client waits for the outcome of.
func (d *drop) quarantine(what string, f func(context.Context, *folder.Quarantine) error) {
	ctx, cancel := context.WithTimeout(context.Background(), quarantineTimeout)
	defer cancel()
	if err := f(ctx, d.o.Quarantine); err != nil {
		d.log.Error().Err(err).Msg("the quarantine could not " + what)
	}
}

// failed notes that the store could not give a message, with nothing else under way, and says
// whether it is held now. A further failure of a suspected message does not count, unless another
// one could be had beside it.
func (d *drop) failed(ctx context.Context, i int, err error) bool {
	if !d.accuses(ctx, err) {
		return false
	}
	kind := backends.KindOf(err)
	if _, held := d.unavailable.entry(i, folder.Held); held {
		return true
	}
	if _, suspected := d.unavailable.entry(i, folder.Suspected); suspected && kind != backends.Poison && !d.unavailable.isProven(i) {
		return false
	}
	if !d.unavailable.once(&d.unavailable.counted, i) && kind != backends.Poison {
		return false
	}
	e := d.count(i, backends.AsFailure(err), kind == backends.Poison)
	d.unavailable.remember(i, e)
	if e.State != folder.Held {
		d.log.Warn().Err(err).Str("id", string(e.ID)).Str("number", e.Number).Int64("failures", e.Failures).Msg("the store could not give a message")
		return false
	}
	d.list.setSize(i, int64(len(d.notice(i, e))))
	d.log.Error().Err(err).Str("id", string(e.ID)).Str("number", e.Number).Msg("the store cannot give a message; a notice is served for it")
	return true
}

// count has a failure written down. Beyond the bound, and without a database, it is this
// session's alone.
func (d *drop) count(i int, failure *backends.Failure, hold bool) (e folder.QuarantineEntry) {
	none := (*folder.Quarantine)(nil)
	e, _ = none.Failed(context.Background(), d.entryFor(i), failure, hold) // none cannot fail
	d.unavailable.mu.Lock()
	full := len(d.unavailable.entries) >= folder.EntriesMost
	d.unavailable.mu.Unlock()
	if full {
		return e
	}
	d.quarantine("note a failure", func(ctx context.Context, w *folder.Quarantine) error {
		noted, err := w.Failed(ctx, d.entryFor(i), failure, hold)
		if err == nil {
			e = noted
		}
		return err
	})
	return e
}

// examine looks, before a suspected message is asked for again, whether another one can be had: a
// store that gives none has another trouble than this message.
func (d *drop) examine(ctx context.Context, i int) {
	if _, suspected := d.unavailable.entry(i, folder.Suspected); !suspected {
		return
	}
	if d.othersWork(ctx, i) {
		d.unavailable.once(&d.unavailable.proven, i)
	}
}

func (d *drop) othersWork(ctx context.Context, i int) bool {
	other := -1
	for j := range d.list.entries {
		d.unavailable.mu.Lock()
		_, known := d.unavailable.entries[j]
		d.unavailable.mu.Unlock()
		if j != i && !known {
			other = j
			break
		}
	}
	if other < 0 {
		return d.store.Health(ctx) == nil
	}
	content, err := d.inner.Fetch(ctx, backends.FetchRequest{ID: d.list.id(other), Top: true, Rendering: d.o.Rendering})
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, content)
	_ = content.Close() // it has come, or not
	return err == nil
}

// recovered notes that a message could be had after all.
func (d *drop) recovered(i int) {
	e, suspected := d.unavailable.entry(i, folder.Suspected)
	if !suspected {
		return
	}
	d.unavailable.mu.Lock()
	delete(d.unavailable.entries, i)
	d.unavailable.mu.Unlock()
	d.quarantine("forget a message that could be had", func(ctx context.Context, w *folder.Quarantine) error {
		return w.Forget(ctx, []string{e.Number})
	})
}

// noticeOf is the notice that is served for a message that is held.
func (d *drop) noticeOf(i, top int, e folder.QuarantineEntry) *reading {
	var text io.Reader = strings.NewReader(d.notice(i, e))
	if top >= 0 {
		text = crlf.Top(text, top)
	}
	return &reading{source: io.NopCloser(text), drop: d, index: i, top: top, notice: true, size: -1, told: -1}
}

// told counts that a client was given a notice, once a session.
func (d *drop) told(i int) {
	e, held := d.unavailable.entry(i, folder.Held)
	if !held || !d.unavailable.once(&d.unavailable.noticed, i) {
		return
	}
	d.quarantine("count a notice", func(ctx context.Context, w *folder.Quarantine) error { return w.Served(ctx, e.Number) })
}

// dismiss takes the notices out of what a client has deleted: the message behind one, which
// nobody has seen, stays in the store, and is hidden until the administrator releases it. It
// gives the messages that are to be removed.
func (d *drop) dismiss(ctx context.Context, deleted []int) (rest []int, err error) {
	if d.policy.NoticeRemoves {
		return deleted, nil
	}
	var numbers []string
	for _, i := range deleted {
		if e, held := d.unavailable.entry(i, folder.Held); held {
			numbers = append(numbers, e.Number)
			continue
		}
		rest = append(rest, i)
	}
	if len(numbers) == 0 {
		return rest, nil
	}
	if err := d.lock.Held(ctx); err != nil {
		return nil, err // somebody else has the mailbox, or may
	}
	d.log.Info().Strs("numbers", numbers).Msg("the client has deleted notices; the messages stay in the store")
	return rest, d.o.Quarantine.Hide(ctx, numbers)
}
