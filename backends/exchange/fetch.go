package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// Bounds of fetching.
const (
	fetchesAtOnce = lanesMost // of one maildrop
	togetherMost  = 16        // messages that come in one stream
	bufferMost    = 0x7F00
)

// stream is a FastTransfer stream of a message that has begun.
type stream struct {
	id         backends.MessageID
	err        error  // why there is none
	octets     []byte // that have come
	done       bool   // they are all
	generation int    // of the session that the objects belong to
	message    *rop.Object
	source     *rop.Object
}

// open begins the streams of messages with one request, or with as many as the replies need. It is one's turn. The error is
// that of all; each stream has its own.
func (m *reading) open(ctx context.Context, ids []backends.MessageID) ([]*stream, error) {
	c := m.session
	current, err := c.current(ctx, ids)
	if err != nil {
		return nil, err
	}
	var b rop.Batch
	folder := c.begin(&b)
	all := make([]*stream, len(ids))
	var finish []func()
	for i, id := range ids {
		all[i] = &stream{id: id, generation: c.generation}
		mid, known := current[id]
		if !known {
			all[i].err = gone(id)
			continue
		}
		finish = append(finish, c.stream(&b, folder, mid, all[i]))
	}
	if err := c.run(ctx, &b); err != nil {
		return nil, err
	}
	for _, f := range finish {
		f()
	}
	for _, s := range all {
		if lost(s.err) {
			return nil, s.err
		}
	}
	return all, nil
}

func gone(id backends.MessageID) error {
	return backends.Fail(backends.NotFound, "the message %.300q is not in the folder", string(id))
}

// stream adds what begins a stream to a batch. What it returns looks at the replies.
func (c *session) stream(b *rop.Batch, folder *rop.Object, mid mapi.ObjectID, s *stream) (finish func()) {
	message, opened := rop.Open(b, folder, &rop.OpenMessage{CodePageID: rop.CodePageOfLogon, FolderID: c.fid, MessageID: mid})
	where := rop.On(b, message, &rop.GetPropertiesSpecific{PropertyTags: []mapi.Tag{mapi.PidTagParentFolderId}})
	source, copied := rop.Open(b, message, &rop.FastTransferSourceCopyTo{SendOptions: rop.SendUnicode})
	first := rop.On(b, source, &rop.FastTransferSourceGetBuffer{MaximumBufferSize: bufferMost})
	return func() {
		parent, told := where.Value(mapi.PidTagParentFolderId).(mapi.Integer64)
		switch {
		case opened.Err() != nil:
			s.err = opened.Err()
			if errors.Is(s.err, rop.NotFound) || errors.Is(s.err, rop.ObjectDeleted) {
				s.err = gone(s.id)
			}
			return
		case told && parent.ObjectID() != c.fid:
			s.err = gone(s.id)
		case copied.Err() != nil:
			s.err = unreadable(copied.Err())
			c.release(s.generation, message)
			return
		case first.ReturnValue == rop.ServerBusy: // the stream is there, and nothing of it has come
		case first.Err() != nil:
			s.err = unreadable(first.Err())
		case first.TransferStatus == rop.TransferError || first.TransferStatus > rop.TransferDone:
			s.err = backends.Fail(backends.Poison, "the server cannot go on with the message %q", string(s.id))
		default:
			s.octets, s.done = first.TransferBuffer, first.TransferStatus == rop.TransferDone
		}
		if s.err != nil || s.done {
			c.release(s.generation, source, message)
			return
		}
		s.source, s.message = source, message
	}
}

// unreadable is the failure of a message that is there and cannot be read, unless all of the server is busy, or the session lost.
func unreadable(err error) error {
	var code rop.Code
	if lost(err) || !errors.As(err, &code) {
		return err
	}
	switch kind := mapihttp.KindOf(code); kind {
	case backends.Throttled, backends.NotFound:
		return backends.Fail(kind, "%w", err)
	}
	return backends.Fail(backends.Poison, "the server cannot give the message: %w", err)
}

// leave has the server forget what a stream has open.
func (s *stream) leave(c *session) {
	if s.source != nil {
		c.release(s.generation, s.source, s.message)
	}
	s.source, s.message = nil, nil
}

// message reads a stream to its end. One whose session is lost meanwhile is begun anew.
func (m *reading) message(ctx context.Context, s *stream) (*object, error) {
	if s.err != nil {
		return nil, failure(s.err)
	}
	if s.done {
		o, err := readObject(bytes.NewReader(s.octets))
		return o, failure(err)
	}
	var o *object
	err := m.do(ctx, func(ctx context.Context) (err error) {
		if s.source == nil || s.generation != m.session.generation {
			again, err := m.open(ctx, []backends.MessageID{s.id})
			if err != nil {
				return err
			}
			if *s = *again[0]; s.err != nil {
				return s.err
			}
		}
		var octets io.Reader = bytes.NewReader(s.octets)
		if !s.done {
			octets = io.MultiReader(octets, m.session.ops.Download(ctx, s.source))
		}
		o, err = readObject(octets)
		s.leave(m.session) // after a failure, too: the stream is somewhere in its middle
		return err
	})
	return o, err
}

// Fetch reads a message and makes mail of it.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	return fetchOne(ctx, m, request)
}

// fetchOne reads a message as the only one of several.
func fetchOne(ctx context.Context, m backends.ManyFetcher, request backends.FetchRequest) (backends.Content, error) {
	contents, err := m.FetchMany(ctx, backends.FetchManyRequest{
		IDs: []backends.MessageID{request.ID}, Top: request.Top, Lines: request.Lines, Rendering: request.Rendering,
	})
	if err != nil {
		return nil, err
	}
	defer contents.Close()
	return contents.Next(ctx)
}

// FetchMany implements [backends.ManyFetcher]: messages are opened together.
func (m *maildrop) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	form, err := formOf(request.Rendering)
	switch {
	case err != nil:
		return nil, err
	case m.ctx.Err() != nil:
		return nil, errClosed
	}
	bound, cancel := boundTo(ctx, m.ctx)
	return &contents{maildrop: m, ctx: bound, cancel: cancel, request: request, form: form, left: slices.Clone(request.IDs)}, nil
}

// contents are the messages of one FetchMany.
type contents struct {
	maildrop *maildrop
	ctx      context.Context //nolint:containedctx // the request's, which covers all of it
	cancel   context.CancelCauseFunc
	request  backends.FetchManyRequest
	form     mime.Form
	left     []backends.MessageID // that were not asked for yet
	parts    []*part              // of the group that is read
}

// Next implements [backends.Contents].
func (c *contents) Next(ctx context.Context) (backends.Content, error) {
	if err := context.Cause(c.ctx); err != nil {
		return nil, backends.Fail(backends.Temporary, "fetch: %w", err)
	}
	for len(c.parts) > 0 && c.parts[0].given == len(c.parts[0].ids) {
		<-c.parts[0].done // it has nothing to wait for any more
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		if len(c.left) == 0 {
			return nil, io.EOF
		}
		if content := c.maildrop.counted.content(c.maildrop.ctx, ctx, c.left[0], c.request); content != nil {
			c.left = c.left[1:]
			return content, nil
		}
		n := c.maildrop.counted.notKept(c.left[:min(len(c.left), togetherMost)], c.request.Rendering)
		c.parts = c.maildrop.divide(c.ctx, c.left[:n])
		c.left = c.left[n:]
	}
	o, id, err := c.parts[0].next(ctx)
	if err != nil {
		return nil, err
	}
	defer o.discard()
	return c.maildrop.content(ctx, id, o, c.form, c.request)
}

// Close implements [backends.Contents]. What the server has open still it forgets with the next request.
func (c *contents) Close() error {
	c.cancel(nil)
	for _, p := range c.parts {
		p.close()
	}
	c.parts, c.left = nil, nil
	return nil
}
