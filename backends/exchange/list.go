package exchange

import (
	"context"
	"errors"
	"iter"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Bounds of a list.
const (
	pageMost = 4096       // rows that are asked for at once
	listMost = 10_000_000 // messages of a folder: a server that tells of more is not believed
	// beginningsMost is how often one list may begin, because of sessions that are lost meanwhile.
	beginningsMost = 8
)

// listed are the columns of a list.
var listed = []mapi.Tag{mapi.PidTagMid, mapi.PidTagMessageSize, mapi.PidTagMessageDeliveryTime, mapi.PidTagMessageFlags}

// table is the contents table of a folder that is being read.
type table struct {
	object     *rop.Object
	generation int
	left       int // rows that there were at the beginning and have not been read
	begun      int // how often it was read from its beginning
}

// List asks for as many rows with one request as the server gives. Where the session is lost, the table is read anew from its beginning,
// without what was given already.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		t := &table{}
		defer m.leave(t)
		seen := make(map[backends.MessageID]struct{})
		for {
			var page []backends.Entry
			err := m.do(ctx, func(ctx context.Context) (err error) {
				page, err = m.page(ctx, t)
				return err
			})
			if err != nil {
				yield(backends.Entry{}, err)
				return
			}
			for _, e := range page {
				if _, again := seen[e.ID]; again {
					continue
				}
				seen[e.ID] = struct{}{}
				if !yield(e, nil) {
					return
				}
			}
			if t.left <= 0 {
				return
			}
		}
	}
}

// leave has the server forget a table.
func (m *maildrop) leave(t *table) {
	if t.object != nil {
		m.session.release(t.generation, t.object)
	}
}

// page reads the next rows. It is one's turn.
func (m *maildrop) page(ctx context.Context, t *table) ([]backends.Entry, error) {
	c := m.session
	var b rop.Batch
	var counted *rop.RowCountReply
	if t.object == nil || t.generation != c.generation {
		if t.begun++; t.begun > beginningsMost {
			return nil, backends.Fail(backends.Temporary, "the session was lost %d times while the folder was listed", t.begun-1)
		}
		folder := c.begin(&b)
		t.generation = c.generation
		t.object, counted = rop.Open(&b, folder, &rop.GetContentsTable{})
		rop.On(&b, t.object, &rop.SetColumns{PropertyTags: listed})
		rop.On(&b, t.object, &rop.SortTable{SortOrders: []rop.SortOrder{
			{PropertyTag: mapi.PidTagMessageDeliveryTime, Order: rop.SortAscending},
		}})
	}
	rows := rop.On(&b, t.object, &rop.QueryRows{QueryRowsFlags: rop.QueryPackedBuffers, ForwardRead: true, RowCount: pageMost, Columns: listed})
	if err := errors.Join(c.run(ctx, &b), b.Err()); err != nil {
		t.object = nil
		return nil, err
	}
	if counted != nil {
		t.left = int(min(counted.RowCount, listMost))
	}
	entries, err := m.entries(ctx, rows.Rows[:min(len(rows.Rows), t.left)])
	t.left -= len(rows.Rows)
	if rows.Origin == rop.OriginEnd || len(rows.Rows) == 0 {
		t.left = 0
	}
	return entries, err
}

// flagRead is mfRead, MS-OXCMSG §2.2.1.6.
const flagRead = 0x00000001

// entries makes entries of rows.
func (m *maildrop) entries(ctx context.Context, rows [][]mapi.Value) ([]backends.Entry, error) {
	entries := make([]backends.Entry, 0, len(rows))
	for _, row := range rows {
		mid, ok := row[0].(mapi.Integer64)
		if !ok {
			return nil, backends.Fail(backends.Temporary, "the server lists a message without its id")
		}
		id, err := m.session.lasting(ctx, mid.ObjectID())
		if err != nil {
			return nil, err
		}
		e := backends.Entry{ID: backends.MessageID(id), Size: -1}
		if size, ok := row[1].(mapi.Integer32); ok && size > 0 {
			e.Size = int64(size) // of the properties: an estimate of what the mail has
		}
		if received, ok := row[2].(mapi.Time); ok {
			e.Received = received.Time()
		}
		if flags, ok := row[3].(mapi.Integer32); ok {
			e.Seen = flags&flagRead != 0
		}
		entries = append(entries, e)
	}
	return entries, nil
}
