package maildrop

import (
	"context"
	"io"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
)

// accuses says whether a failure may be a message's own (I8). It is not if the client caused it by
// leaving, if its kind says nothing about the message, or if the store's maildrop had ended by then.
func (d *drop) accuses(ctx context.Context, err error) bool {
	switch kind := backends.KindOf(err); kind {
	case 0, backends.NotFound, backends.Throttled, backends.InUse, backends.BadCredentials:
		return false
	case backends.Poison:
		return ctx.Err() == nil
	}
	return ctx.Err() == nil && backends.AsFailure(err).RetryAfter == 0 && !d.ended.Load()
}

// suspected says whether a message has failed before. Such a message is fetched alone, so that no
// other fails with it.
func (d *drop) suspected(i int) bool {
	_, is := d.unavailable.entry(i, folder.Suspected)
	return is
}

// company counts the fetches that run beside the one that the client waits for: those ahead, and
// those that measure sizes.
type company struct {
	mu           sync.Mutex
	begun, going int64
}

func (c *company) join() { c.change(1, 1) }

func (c *company) leave() { c.change(0, -1) }

func (c *company) change(begun, going int64) {
	c.mu.Lock()
	c.begun += begun
	c.going += going
	c.mu.Unlock()
}

// now marks a point in time, for [company.since]. A fetch that has ended since then counts as company
// too: it may be what caused the failure.
func (c *company) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun - c.going
}

// since says whether any other fetch has run at any time since a mark.
func (c *company) since(then int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun != then
}

// alone ends all other fetches, and keeps them from beginning again until resume is called: messages
// that are fetched together may fail together, which says nothing about any one of them. It is called
// by the goroutine that serves the client.
func (d *drop) alone() (resume func()) {
	if d.ahead != nil {
		d.ahead.quiet()
	}
	if d.sizes == nil {
		return func() {}
	}
	return d.sizes.quiet()
}

// ask fetches a message that a client waits for. If it fails while others are being fetched, it is
// fetched again alone. If it fails alone, it may be held, and then its notice is returned.
func (d *drop) ask(ctx context.Context, i, top int) (*reading, error) {
	alone, resume := d.suspected(i), func() {}
	defer func() { resume() }()
	if alone {
		resume = d.alone()
		d.examine(ctx, i)
	}
	for {
		since := d.company.now()
		r, err := d.fetch(ctx, i, top)
		switch {
		case err == nil || !d.accuses(ctx, err):
			return r, err
		case !alone && d.company.since(since):
			alone, resume = true, d.alone()
		case !d.failed(ctx, i, err): // held now, so that the next fetch is of its notice
			return nil, err
		}
	}
}

// failedMidway finds out whether a message is to blame that failed after its first octets were sent.
// The client sees the connection drop in any case (I3). since is the mark of [company.now] from when
// the message was asked for.
func (d *drop) failedMidway(ctx context.Context, i, top int, since int64, err error) {
	if !d.accuses(ctx, err) {
		return
	}
	if d.company.since(since) {
		defer d.alone()()
		again := d.readAway(ctx, i, top)
		if again == nil {
			d.log(zerolog.WarnLevel).Err(err).Str("id", string(d.list.id(i))).Msg("a message failed midway, and could be had when nothing else was under way")
			return
		}
		err = again
	}
	d.failed(ctx, i, err)
}

// readAway reads a message to its end and discards it. It may be that the client was told another size:
// that is no failure of the message.
func (d *drop) readAway(ctx context.Context, i, top int) error {
	r, err := d.fetchUncounted(ctx, i, top)
	if err != nil {
		return err
	}
	r.told = -1
	_, err = r.WriteTo(io.Discard)
	_ = r.Close() // it has come, or not
	return err
}

func (d *drop) request(i, top int) backends.FetchRequest {
	request := backends.FetchRequest{ID: d.list.id(i), Rendering: d.rendering}
	if top >= 0 {
		request.Top, request.Lines = true, top
	}
	return request
}
