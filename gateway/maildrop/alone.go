package maildrop

import (
	"context"
	"io"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
)

// accuses says whether a failure may be a message's own. What the client has caused by leaving,
// and what says nothing of the message, does not count; nor does anything once the store's maildrop
// has come to an end (I8).
func (d *drop) accuses(ctx context.Context, err error) bool {
	switch kind := backends.KindOf(err); kind {
	case 0, backends.NotFound, backends.Throttled, backends.InUse, backends.BadCredentials:
		return false
	case backends.Poison:
		return ctx.Err() == nil
	}
	return ctx.Err() == nil && backends.AsFailure(err).RetryAfter == 0 && !d.ended.Load()
}

// suspected says whether a message has failed before. It is asked for by itself, so that no other
// fails with it.
func (d *drop) suspected(i int) bool {
	_, is := d.unavailable.entry(i, folder.Suspected)
	return is
}

// company is what is under way beside the message that the client waits for: read ahead, or to know
// its size.
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

// now is what there is of it. A message that was asked for then has been accompanied if
// [company.since] says so later: what has ended meanwhile counts, as it may be what did the harm.
func (c *company) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun - c.going
}

// since says whether anything has been under way at any time since then.
func (c *company) since(then int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun != then
}

// alone ends what else is under way, and keeps it from beginning again until resume: what a store
// gives together may fail together, and that would say nothing of any one message. It is for the
// goroutine that serves the client.
func (d *drop) alone() (resume func()) {
	if d.ahead != nil {
		d.ahead.quiet()
	}
	if d.sizes == nil {
		return func() {}
	}
	return d.sizes.quiet()
}

// ask fetches a message that a client waits for. One that fails with others under way is asked for
// again by itself; one that fails by itself may be given up for a notice.
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

// failedMidway is for a message that has failed after its beginning had come. It is the client's
// to hear of that; here it is found out whose failure it was. It was asked for when the company was
// since.
func (d *drop) failedMidway(ctx context.Context, i, top int, since int64, err error) {
	if !d.accuses(ctx, err) {
		return
	}
	if d.company.since(since) {
		defer d.alone()()
		if again := d.readAway(ctx, i, top); again == nil {
			d.log.Warn().Err(err).Str("id", string(d.list.id(i))).Msg("a message failed midway, and could be had when nothing else was under way")
			return
		} else if !d.accuses(ctx, again) {
			return
		}
	}
	d.failed(ctx, i, err)
}

// readAway reads a message to its end for nobody.
func (d *drop) readAway(ctx context.Context, i, top int) error {
	c, err := d.inner.Fetch(ctx, d.request(i, top))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, struct{ io.Reader }{c})
	_ = c.Close() // it has come, or not
	return err
}

func (d *drop) request(i, top int) backends.FetchRequest {
	request := backends.FetchRequest{ID: d.list.id(i), Rendering: d.o.Rendering}
	if top >= 0 {
		request.Top, request.Lines = true, top
	}
	return request
}
