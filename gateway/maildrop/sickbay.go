package maildrop

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/quarantine"
)

// sickbay is what a session knows of the messages that their store cannot give (I8).
type sickbay struct {
	mu      sync.Mutex
	entries map[int]quarantine.Entry // suspected and held ones
	proven  map[int]bool             // suspected ones beside which another message could be had
	counted map[int]bool             // those whose failure has been counted in this session
	noticed map[int]bool             // those whose notice has been counted
}

// wardTimeout bounds what the quarantine's database may take of a session.
const wardTimeout = 5 * time.Second

func (b *sickbay) entry(i int, s quarantine.State) (quarantine.Entry, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.entries[i]
	return e, ok && e.State == s
}

func (b *sickbay) remember(i int, e quarantine.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		b.entries = make(map[int]quarantine.Entry)
	}
	b.entries[i] = e
}

// once says yes the first time, for each message.
func (b *sickbay) once(of *map[int]bool, i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *of == nil {
		*of = make(map[int]bool)
	}
	before := (*of)[i]
	(*of)[i] = true
	return !before
}

func (b *sickbay) isProven(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proven[i]
}

func (d *drop) room() quarantine.Folder {
	return quarantine.Folder(d.box.Key)
}

func (d *drop) patient(i int) quarantine.Message {
	return quarantine.Message{Folder: d.room(), ID: d.list.id(i), UIDL: d.list.uidl(i)}
}

// admit puts what is remembered of the folder's messages into the list: what is hidden is left
// out, and then what the policy does not show; what is held has the size of its notice, and what
// was released its new unique-id. Without its memory the gateway goes on: the store will say again
// what it cannot give.
func (d *drop) admit(ctx context.Context, young func(i int) bool) {
	entries, err := d.o.Quarantine.In(ctx, d.room())
	if err != nil {
		d.log.Error().Err(err).Msg("the quarantine cannot be read; its messages are asked for again")
	}
	known := d.still(entries)
	if len(known) > 0 {
		d.list.filter(func(i int) bool { return known[d.list.id(i)].State != quarantine.Hidden })
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
		if quarantine.Renamed(e.UIDL) {
			d.list.rename(i, e.UIDL)
		}
		if e.State != quarantine.Released {
			d.sick.remember(i, e)
		}
		if e.State == quarantine.Held {
			d.list.setSize(i, int64(len(d.notice(i, e))))
		}
	}
}

// still gives those that are there, and has the others forgotten.
func (d *drop) still(entries []quarantine.Entry) map[backends.MessageID]quarantine.Entry {
	if len(entries) == 0 {
		return nil
	}
	remembered := make(map[backends.MessageID]quarantine.Entry, len(entries))
	for _, e := range entries {
		remembered[e.ID] = e
	}
	known := make(map[backends.MessageID]quarantine.Entry, len(entries))
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
	d.ward("forget messages that are gone", func(ctx context.Context, w *quarantine.Ward) error { return w.Forget(ctx, gone) })
	return known
}

// ward does something with the quarantine that no client waits for the outcome of.
func (d *drop) ward(what string, f func(context.Context, *quarantine.Ward) error) {
	ctx, cancel := context.WithTimeout(context.Background(), wardTimeout)
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
	if _, held := d.sick.entry(i, quarantine.Held); held {
		return true
	}
	if _, suspected := d.sick.entry(i, quarantine.Suspected); suspected && kind != backends.Poison && !d.sick.isProven(i) {
		return false
	}
	if !d.sick.once(&d.sick.counted, i) && kind != backends.Poison {
		return false
	}
	e := d.count(i, backends.AsFailure(err), kind == backends.Poison)
	d.sick.remember(i, e)
	if e.State != quarantine.Held {
		d.log.Warn().Err(err).Str("id", string(e.ID)).Str("number", e.Number).Int64("failures", e.Failures).Msg("the store could not give a message")
		return false
	}
	d.list.setSize(i, int64(len(d.notice(i, e))))
	d.log.Error().Err(err).Str("id", string(e.ID)).Str("number", e.Number).Msg("the store cannot give a message; a notice is served for it")
	return true
}

// count has a failure written down. Beyond the bound, and without a database, it is this
// session's alone.
func (d *drop) count(i int, failure *backends.Failure, hold bool) (e quarantine.Entry) {
	none := (*quarantine.Ward)(nil)
	e, _ = none.Failed(context.Background(), d.patient(i), failure, hold) // none cannot fail
	d.sick.mu.Lock()
	full := len(d.sick.entries) >= quarantine.FolderMost
	d.sick.mu.Unlock()
	if full {
		return e
	}
	d.ward("note a failure", func(ctx context.Context, w *quarantine.Ward) error {
		noted, err := w.Failed(ctx, d.patient(i), failure, hold)
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
	if _, suspected := d.sick.entry(i, quarantine.Suspected); !suspected {
		return
	}
	if d.othersWork(ctx, i) {
		d.sick.once(&d.sick.proven, i)
	}
}

func (d *drop) othersWork(ctx context.Context, i int) bool {
	other := -1
	for j := range d.list.entries {
		d.sick.mu.Lock()
		_, sick := d.sick.entries[j]
		d.sick.mu.Unlock()
		if j != i && !sick {
			other = j
			break
		}
	}
	if other < 0 {
		return d.store.Backend.Health(ctx) == nil
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
	e, suspected := d.sick.entry(i, quarantine.Suspected)
	if !suspected {
		return
	}
	d.sick.mu.Lock()
	delete(d.sick.entries, i)
	d.sick.mu.Unlock()
	d.ward("forget a message that could be had", func(ctx context.Context, w *quarantine.Ward) error {
		return w.Forget(ctx, []string{e.Number})
	})
}

// noticeOf is the notice that is served for a message that is held.
func (d *drop) noticeOf(i, top int, e quarantine.Entry) pop3.Content {
	text := d.notice(i, e)
	if top >= 0 {
		return io.NopCloser(crlf.Top(strings.NewReader(text), top))
	}
	return io.NopCloser(strings.NewReader(text))
}

// told counts that a client was given a notice, once a session.
func (d *drop) told(i int) {
	e, held := d.sick.entry(i, quarantine.Held)
	if !held || !d.sick.once(&d.sick.noticed, i) {
		return
	}
	d.ward("count a notice", func(ctx context.Context, w *quarantine.Ward) error { return w.Served(ctx, e.Number) })
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
		if e, held := d.sick.entry(i, quarantine.Held); held {
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
