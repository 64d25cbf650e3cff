package maildrop

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/gateway/folder"
)

// unavailable is what a session knows of the messages that the store cannot give (I8).
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

// admit applies to the list what the quarantine remembers of the folder: hidden messages are left
// out, and then those that the policy does not show; a held message gets the size of its notice
// (RFC 1939 §5: STAT and LIST tell it), and a released one its new unique-id (RFC 1939 §7). If the
// quarantine cannot be read the login goes on: the store will fail again for the messages it cannot
// give.
func (d *drop) admit(ctx context.Context, young func(i int) bool) {
	entries, err := d.o.Quarantine.In(ctx, d.box.Key)
	if err != nil {
		d.log(zerolog.ErrorLevel).Err(err).Msg("the quarantine cannot be read; its messages are asked for again")
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

// still returns the entries of messages that the folder has, and forgets the others.
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

// quarantine calls f with the quarantine store. A failure is logged only.
func (d *drop) quarantine(what string, f func(context.Context, *folder.Quarantine) error) {
	ctx, cancel := context.WithTimeout(context.Background(), quarantineTimeout)
	defer cancel()
	if err := f(ctx, d.o.Quarantine); err != nil {
		d.log(zerolog.ErrorLevel).Err(err).Msg("the quarantine could not " + what)
	}
}

// failed notes that the store could not give a message while nothing else was being fetched, and says
// whether the message is held now. A further failure of a suspected message counts only if another
// message could be fetched at that time.
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
		d.log(zerolog.WarnLevel).Err(err).Str("id", string(e.ID)).Str("number", e.Number).Int64("failures", e.Failures).Msg("the store could not give a message")
		return false
	}
	d.list.setSize(i, int64(len(d.notice(i, e))))
	d.log(zerolog.ErrorLevel).Err(err).Str("id", string(e.ID)).Str("number", e.Number).Msg("the store cannot give a message; a notice is served for it")
	return true
}

// count records a failure. Beyond the bound, and without a database, only this session knows it.
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

// examine checks, before a suspected message is fetched again, whether another message can be fetched.
// If not, the store has a problem of its own, and the message's failure says nothing.
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
	content, err := d.inner.Fetch(ctx, backends.FetchRequest{ID: d.list.id(other), Top: true, Rendering: d.rendering})
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, content)
	_ = content.Close() // it has come, or not
	return err == nil
}

// recovered notes that a suspected message could be fetched.
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

// noticeOf returns the notice for a message that is held, whole or its top (RFC 1939 §7).
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

// dismiss takes the notices out of the messages that a client has deleted, and returns the messages
// that are to be removed. The message behind a notice has not been seen by the user: it stays in the
// store, and is hidden until the administrator releases it.
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
		return nil, err // another session may have the maildrop now
	}
	d.log(zerolog.InfoLevel).Strs("numbers", numbers).Msg("the client has deleted notices; the messages stay in the store")
	return rest, d.o.Quarantine.Hide(ctx, numbers)
}
