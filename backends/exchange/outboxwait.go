package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/pause"
)

// notifies is a transport that waits until the server has notifications. MAPI over HTTP does; RPC over TCP is not asked to.
type notifies interface {
	// Wait says whether any have come, before the server or the context has had enough.
	Wait(ctx context.Context) (bool, error)
}

// lookPause is between two looks at a folder in which something happens all the time that is nothing to be sent.
const lookPause = time.Second

// waiting hands over what is due in a folder, or, where that is nothing, what comes within the time of the request. A server that tells of nothing
// is not waited for.
func (c *collection) waiting(ctx context.Context, w *openOutbox) error {
	server, can := w.session.http.(notifies)
	until := time.Now().Add(min(c.request.Wait, backends.CollectWaitMost))
	failed, rest := false, time.Duration(0)
	for {
		left := time.Until(until)
		can = can && left > 0 && w.register(ctx) == nil // before the look: what comes after it is told
		if err := c.from(ctx, w); err != nil || c.taken > 0 || !can {
			return err
		}
		if !w.next.IsZero() {
			left = min(left, time.Until(w.next))
		}
		came, err := wait(ctx, server, left)
		switch {
		case ctx.Err() != nil:
			return backends.Fail(backends.Temporary, "collect: %w", context.Cause(ctx))
		case err != nil && (failed || !errors.Is(err, rop.ErrLost)): // some answer what they do not know as if the session context were lost
			w.store.log.Debug().Err(err).Msg("the server is not waited for: it tells of no notifications")
			return nil
		case err != nil || came:
			_ = pause.For(ctx, rest)
			failed, rest = err != nil, lookPause
		}
	}
}

// wait waits for notifications for a time. That it is over is no error.
func wait(ctx context.Context, server notifies, most time.Duration) (came bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	came, err = server.Wait(ctx)
	if ctx.Err() != nil {
		return false, nil
	}
	return came, err
}

// register asks for notifications of the folder, unless that was done, and forgets those that have come. MS-OXCNOTIF §3.1.4.3.
func (w *openOutbox) register(ctx context.Context) error {
	return w.do(ctx, func(ctx context.Context) error {
		c := w.session
		c.ops.Notifications()
		if w.registration != nil && w.registered == c.generation {
			return nil
		}
		var b rop.Batch
		o, _ := rop.Open(&b, c.logon, &rop.RegisterNotification{
			NotificationTypes: rop.NotifyObjectCreated | rop.NotifyObjectModified | rop.NotifyObjectMoved | rop.NotifyObjectCopied, FolderID: c.fid,
		})
		if err := errors.Join(c.ops.Do(ctx, &b), b.Err()); err != nil {
			return err
		}
		w.registration, w.registered = o, c.generation
		return nil
	})
}
