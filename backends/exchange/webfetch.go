package exchange

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// Fetch reads a message.
func (m *webDrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	return fetchOne(ctx, m, request)
}

// FetchMany implements [backends.ManyFetcher]: messages are asked for together, and read one after the other from the reply.
func (m *webDrop) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	form, err := formOf(request.Rendering)
	switch {
	case err != nil:
		return nil, err
	case m.ctx.Err() != nil:
		return nil, errClosed
	}
	return &webContents{drop: m, ctx: ctx, request: request, form: form, left: slices.Clone(request.IDs)}, nil
}

// webContents are the messages of one FetchMany.
type webContents struct {
	drop    *webDrop
	ctx     context.Context //nolint:containedctx // the request's, which covers all of it
	request backends.FetchManyRequest
	form    mime.Form
	left    []backends.MessageID // of which nothing was given
	tries   int                  // of the first of them
	items   *ews.Items           // that are being read; nil: they have to be asked for
	asked   []ews.ID             // of the first of left, which the reply is still about
	cancel  context.CancelCauseFunc
	all     error // what the others fail with, too: the server is not asked for them
}

// Next implements [backends.Contents]. A reply that ends before its time costs the message that it was about another try, by itself: the others are
// asked for together again.
func (c *webContents) Next(ctx context.Context) (backends.Content, error) {
	for {
		switch err := context.Cause(c.ctx); {
		case c.drop.ctx.Err() != nil:
			return nil, errClosed
		case err != nil:
			return nil, backends.Fail(backends.Temporary, "fetch: %w", err)
		case len(c.left) == 0:
			return nil, io.EOF
		case c.all != nil:
			c.left = c.left[1:]
			return nil, c.all
		case c.items == nil: // of those that are asked for already, the reply is read
			if content := c.drop.counted.content(c.drop.ctx, ctx, c.left[0], c.request); content != nil {
				c.left, c.tries = c.left[1:], 0
				return content, nil
			}
		}
		kept, err := c.next(ctx)
		if c.again(ctx, err) {
			continue
		}
		id := c.left[0]
		c.left, c.tries = c.left[1:], 0
		if err != nil {
			return nil, c.drop.refusal(err)
		}
		return c.content(ctx, id, kept)
	}
}

// again says whether a message is to be asked for once more. What all of a request fails with ends it.
func (c *webContents) again(ctx context.Context, err error) bool {
	var own *ews.ItemError
	switch {
	case err == nil:
		return false
	case errors.As(err, &own):
		return own.Code == ews.BatchStopped && c.try(ctx, own)
	}
	c.end()
	switch backends.KindOf(err) {
	case backends.Temporary:
		return c.try(ctx, err)
	case backends.Throttled, backends.BadCredentials:
		c.all = c.drop.refusal(err)
	}
	return false
}

func (c *webContents) try(ctx context.Context, err error) bool {
	c.end()
	c.tries++
	if c.tries >= againMost || ctx.Err() != nil || errors.Is(err, errClosed) {
		return false
	}
	c.drop.store.log.Debug().Err(err).Str("id", string(c.left[0])).Msg("a message is asked for again")
	return true
}

// end gives up the reply that is being read.
func (c *webContents) end() {
	if c.items != nil {
		c.items.Close()
		c.cancel(nil)
	}
	c.items, c.asked = nil, nil
}

// next reads the first message that is left.
func (c *webContents) next(ctx context.Context) (*kept, error) {
	if len(c.asked) == 0 {
		if err := c.ask(); err != nil {
			return nil, err
		}
	}
	if c.items == nil {
		return nil, gone(c.left[0])
	}
	asked := c.asked[0]
	c.asked = c.asked[1:]
	item, err := c.items.Next()
	if err != nil {
		var own *ews.ItemError
		if errors.As(err, &own) && own.Kind == backends.NotFound {
			return nil, &ews.ItemError{Failure: backends.AsFailure(gone(c.left[0])), Code: own.Code}
		}
		return nil, err
	}
	k, err := keep(item.Content)
	if err != nil {
		return nil, err
	}
	if !sameItem(item, asked, c.left[0]) {
		_ = k.buffer.Discard()
		return nil, backends.Fail(backends.Temporary, "the server gives another message than the one that it was asked for")
	}
	there, err := c.drop.inFolder(ctx, item.Parent)
	if err == nil && !there {
		err = &ews.ItemError{Failure: backends.AsFailure(gone(c.left[0]))}
	}
	if err != nil {
		_ = k.buffer.Discard()
		return nil, err
	}
	if len(c.asked) == 0 {
		// What is behind the last one is read when there is something else to do: the reply has to be whole, and that message was.
		_, _ = c.items.Next()
		c.end()
	}
	return k, nil
}

// sameItem says whether an item is the one that was asked for by its Id, which may be written in another way.
func sameItem(item *ews.Item, asked ews.ID, id backends.MessageID) bool {
	if item.ID.ID == asked.ID {
		return true
	}
	told, err := messageIdentity(*item)
	return err == nil && told == id
}

// ask asks for messages that are left: for as many as one reply is to have, or for the first alone if it was asked for before. Where the
// folder does not have that one, there is no reply to read.
func (c *webContents) ask() error {
	c.end()
	n := c.drop.counted.notKept(c.left[:min(len(c.left), webBatch)], c.request.Rendering)
	if c.tries > 0 {
		n = 1
	}
	ctx, cancel := boundTo(c.ctx, c.drop.ctx)
	found, err := c.drop.find(ctx, c.left[:n])
	if err != nil {
		cancel(nil)
		return err
	}
	var ids []ews.ID
	for _, id := range c.left[:n] {
		known, is := found[id]
		if !is {
			break
		}
		ids = append(ids, known)
	}
	if len(ids) == 0 {
		cancel(nil)
		return nil
	}
	items, err := c.drop.client.GetItem(ctx, ids, true)
	if err != nil {
		cancel(nil)
		return err
	}
	c.items, c.asked, c.cancel = items, ids, cancel
	return nil
}

// Close implements [backends.Contents].
func (c *webContents) Close() error {
	c.end()
	c.left = nil
	return nil
}

// kept is mail that has come whole.
type kept struct {
	buffer *buffer.Buffer
	size   int64 // in canonical form
}

// keep keeps mail, if it is large in a file.
func keep(mail io.Reader) (*kept, error) {
	counter := &crlf.Counter{}
	b, err := buffer.Fill(buffer.Options{}, io.TeeReader(newBounded(mail, messageMost), counter))
	if err != nil {
		return nil, storage(err)
	}
	if b.Size() == 0 {
		_ = b.Discard()
		return nil, &ews.ItemError{Failure: backends.Fail(backends.Poison, "the server gives a message of no octets")}
	}
	return &kept{b, counter.Octets()}, nil
}

// storage is the failure of what could not be kept.
func storage(err error) error {
	var full *buffer.StorageError
	if errors.As(err, &full) {
		return &ews.ItemError{Failure: backends.Fail(backends.Temporary, "keep a message: %w", err)}
	}
	return err
}

// content gives mail as the server has made it, or makes another form of it.
func (c *webContents) content(ctx context.Context, id backends.MessageID, k *kept) (backends.Content, error) {
	if c.form != (mime.Form{}) {
		var err error
		if k, err = c.formed(k); err != nil {
			return nil, err
		}
	}
	if c.request.Counted {
		c.drop.counted.keep(countedKey{id, c.request.Rendering}, k.buffer, k.size)
	}
	return newContent(c.drop.ctx, ctx, k.buffer.Reader(), k.buffer, k.size, c.request), nil
}

// formed makes another form of mail, and discards it.
func (c *webContents) formed(k *kept) (*kept, error) {
	defer k.buffer.Discard()
	o, err := mime.Reader{Skeleton: true}.Read(k.buffer, k.buffer.Size())
	if err != nil {
		return nil, poison("read a message of the server's", err)
	}
	b, size, err := c.drop.store.rendered(o, c.form)
	if err != nil {
		return nil, err
	}
	return &kept{b, size}, nil
}
