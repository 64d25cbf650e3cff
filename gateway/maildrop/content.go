package maildrop

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// watchdog ends a context when a store gives nothing for too long (I10). It is stopped while the
// client, and not the store, is waited for.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	ctx    context.Context //nolint:containedctx // to ask why it ended
}

// errStalled is the cause of a context that a watchdog has ended.
var errStalled = errors.New("the store stalled")

func newWatchdog(parent context.Context, stall time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watchdog{cancel: cancel, stall: stall, ctx: ctx}
	w.timer = time.AfterFunc(stall, func() { cancel(errStalled) })
	return ctx, w
}

func (w *watchdog) pause()  { w.timer.Stop() }
func (w *watchdog) resume() { w.timer.Reset(w.stall) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain puts the stall in the place of the cancellation that it looks like.
func (w *watchdog) explain(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), errStalled) {
		return backends.Fail(backends.Temporary, "%w: nothing came for %v", errStalled, w.stall)
	}
	return err
}

// content passes a store's content on, watches over it, and counts a whole message, so that a
// size that was not the message's is right the next time it is told.
type content struct {
	inner backends.Content
	drop  *drop
	index int
	whole bool
	count int64
	watch *watchdog
	close sync.Once
}

// writerContent is a content whose inner one can write itself.
type writerContent struct{ *content }

func newContent(d *drop, i int, whole bool, inner backends.Content, watch *watchdog) pop3.Content {
	c := &content{inner: inner, drop: d, index: i, whole: whole, watch: watch}
	watch.pause()
	if _, ok := inner.(io.WriterTo); ok {
		return writerContent{c}
	}
	return c
}

func (c *content) Read(p []byte) (int, error) {
	c.watch.resume()
	n, err := c.inner.Read(p)
	c.watch.pause()
	c.count += int64(n)
	if errors.Is(err, io.EOF) {
		c.complete()
	}
	return n, c.watch.explain(err)
}

// WriteTo implements [io.WriterTo].
func (c writerContent) WriteTo(w io.Writer) (int64, error) {
	c.watch.resume()
	n, err := c.inner.(io.WriterTo).WriteTo(pausing{w, c.watch})
	c.watch.pause()
	c.count += n
	if err == nil {
		c.complete()
	}
	return n, c.watch.explain(err)
}

// pausing keeps a slow client from being taken for a store that stalls.
type pausing struct {
	w     io.Writer
	watch *watchdog
}

func (p pausing) Write(b []byte) (int, error) {
	p.watch.pause()
	defer p.watch.resume()
	return p.w.Write(b)
}

// complete compares what came with what was told.
func (c *content) complete() {
	if !c.whole {
		return
	}
	told, known := c.drop.list.size(c.index)
	if known && told != c.count {
		c.drop.log.Warn().Str("id", string(c.drop.list.id(c.index))).Int64("told", told).Int64("came", c.count).
			Msg("the store told a wrong size")
	}
	c.drop.list.setSize(c.index, c.count)
}

// Close implements [pop3.Content].
func (c *content) Close() (err error) {
	c.close.Do(func() {
		err = c.inner.Close()
		c.watch.stop()
	})
	return err
}
