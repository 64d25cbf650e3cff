package exchange

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// group is a FastTransfer stream of several messages, of which many come with one request.
//
// A message says which it is by its entry id. One that is not there is left out by the server, and what cannot be read ends the use of the
// stream: the messages that have not come are asked for alone then, and each has its own failure (I8).
type group struct {
	generation int
	source     *rop.Object
	reader     *fasttransfer.Reader
	from       *source
	current    *object // that is being read
	ahead      map[backends.MessageID]*object
	expected   []backends.MessageID // that may still come
}

// begin begins the stream of messages of the folder. It is one's turn.
func (r *reading) begin(ctx context.Context, ids []backends.MessageID) (*group, error) {
	c := r.session
	current, err := c.current(ctx, ids)
	if err != nil {
		return nil, err
	}
	g := &group{generation: c.generation, ahead: make(map[backends.MessageID]*object)}
	mids := make([]mapi.ObjectID, 0, len(ids))
	for _, id := range ids {
		if mid, known := current[id]; known {
			mids, g.expected = append(mids, mid), append(g.expected, id)
		}
	}
	if len(mids) == 0 {
		return g, nil
	}
	var b rop.Batch
	folder := c.begin(&b)
	messages, copied := rop.Open(&b, folder, &rop.FastTransferSourceCopyMessages{
		MessageIDs: mids, CopyFlags: rop.CopySendEntryID, SendOptions: rop.SendUnicode,
	})
	first := rop.On(&b, messages, &rop.FastTransferSourceGetBuffer{MaximumBufferSize: bufferMost})
	if err := c.run(ctx, &b); err != nil {
		return nil, err
	}
	if copied.Err() != nil {
		return nil, copied.Err()
	}
	g.source = messages
	var octets io.Reader = bytes.NewReader(nil)
	switch {
	case first.ReturnValue == rop.ServerBusy: // the stream is there, and nothing of it has come
	case first.Err() != nil:
		c.release(g.generation, messages)
		return nil, first.Err()
	default:
		octets = bytes.NewReader(first.TransferBuffer)
	}
	if first.Err() != nil || first.TransferStatus != rop.TransferDone {
		octets = io.MultiReader(octets, c.ops.Download(ctx, messages))
	}
	g.from = &source{Reader: octets}
	g.reader = fasttransfer.NewReader(g.from, fasttransfer.Options{Keep: func(r io.Reader) (mapi.Content, error) { return g.current.keep(r) }})
	return g, nil
}

// next reads on until it has a message, and returns nil where that does not come any more. It is one's turn.
func (g *group) next(id backends.MessageID) (*object, error) {
	if o := g.ahead[id]; o != nil {
		delete(g.ahead, id)
		return o, nil
	}
	for g.reader != nil && slices.Contains(g.expected, id) {
		g.current = &object{}
		m, err := g.reader.Message()
		if err != nil {
			g.current.discard()
			g.reader = nil
			if err == io.EOF || g.from.err == nil {
				return nil, nil // what has not come is asked for alone, and tells why
			}
			return nil, g.from.err
		}
		g.current.message = m
		which, known := identity(m)
		at := slices.Index(g.expected, which)
		switch {
		case !known || at < 0: // whichever it is
			g.current.discard()
			g.reader = nil
			return nil, nil
		case which == id:
			g.expected = slices.Delete(g.expected, at, at+1)
			return g.current, nil
		}
		g.expected = slices.Delete(g.expected, at, at+1)
		g.ahead[which] = g.current
	}
	return nil, nil
}

// leave forgets what has come and was not asked for, and has the server forget the stream.
func (g *group) leave(c *session) {
	for _, o := range g.ahead {
		o.discard()
	}
	if g.source != nil {
		c.release(g.generation, g.source)
	}
	g.ahead, g.source, g.reader = nil, nil, nil
}

// identity is the id of a message that came with its entry id (SendEntryId, MS-OXCFXICS §2.2.3.1.1.3.1).
func identity(m *mapi.Message) (backends.MessageID, bool) {
	id, err := mapi.ParseEntryID(m.Bytes(mapi.PidTagEntryId), 0)
	entry, ok := id.(mapi.MessageEntryID)
	if err != nil || !ok {
		return "", false
	}
	return backends.MessageID(lastingID(entry.Message)), true
}
