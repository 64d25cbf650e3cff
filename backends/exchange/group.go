package exchange

import (
	"bytes"
	"context"
	"errors"
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
	failed     error                // what the server has failed with: whoever asks for what has not come is told
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
	g.from = &source{Reader: newBounded(octets, messageMost)}
	g.reader = fasttransfer.NewReader(g.from, fasttransfer.Options{Keep: func(r io.Reader) (mapi.Content, error) { return g.current.keep(r) }})
	return g, nil
}

// togetherOctets is how much of a stream is read in one turn, beyond the message that is wanted: whoever has to wait for the next turn may
// wait for a reply of others.
const togetherOctets = 1 << 20

// next reads on until it has a message, and what comes behind it at once. It returns nil where the message does not come any more. It is one's turn.
func (g *group) next(id backends.MessageID) (*object, error) {
	o := g.take(id)
	for o == nil && g.reader != nil && slices.Contains(g.expected, id) {
		g.read()
		o = g.take(id)
	}
	if o == nil {
		err := g.failed
		g.failed = nil
		return nil, err
	}
	for begun := g.from.octets; g.reader != nil && len(g.expected) > 0 && g.from.octets-begun < togetherOctets; {
		g.read()
	}
	return o, nil
}

// take returns a message that has been read already, or nil.
func (g *group) take(id backends.MessageID) *object {
	o := g.ahead[id]
	delete(g.ahead, id)
	return o
}

// read reads the next message of the stream. What cannot be read, or is none of the messages that may come, ends the use of the stream: what has not
// come is asked for alone, and tells why, unless it is the server that has failed.
func (g *group) read() {
	g.current = &object{}
	m, err := g.reader.Message()
	if err == nil {
		g.current.message = m
		which, known := identity(m)
		if at := slices.Index(g.expected, which); known && at >= 0 {
			g.expected = slices.Delete(g.expected, at, at+1)
			g.ahead[which] = g.current
			return
		}
	} else if err != io.EOF && !errors.Is(g.from.err, errEndless) {
		g.failed = g.from.err
	}
	g.current.discard()
	g.reader = nil
}

// leave forgets what has come and was not asked for, and has the server forget the stream.
func (g *group) leave(c *session) {
	for _, o := range g.ahead {
		o.discard()
	}
	if g.source != nil {
		c.release(g.generation, g.source)
	}
	g.ahead, g.source, g.reader, g.failed = nil, nil, nil, nil
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
