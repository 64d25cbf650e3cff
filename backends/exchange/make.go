package exchange

import (
	"context"
	"errors"
	"fmt"

	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// rowsMost is how many recipients one request names.
const rowsMost = 30

// create makes a message in a folder of a FastTransfer stream, with some properties and recipients, and leaves it open and not saved. What has failed leaves nothing behind
// but an object that the server forgets. It is one's turn.
func (c *session) create(ctx context.Context, folder mapi.ObjectID, set []mapi.Property, rows []rop.RecipientChange, m *mapi.Message) (*rop.Object, error) {
	var b rop.Batch
	c.forget(&b)
	draft, made := rop.Open(&b, c.logon, &rop.CreateMessage{CodePageID: rop.CodePageOfLogon, FolderID: folder})
	var problems *rop.ProblemsReply
	if len(set) > 0 {
		problems = rop.On(&b, draft, &rop.SetProperties{PropertyValues: set})
	}
	for len(rows) > 0 {
		n := min(len(rows), rowsMost)
		rop.On(&b, draft, &rop.ModifyRecipients{RecipientColumns: recipientColumns, RecipientRows: rows[:n]})
		rows = rows[n:]
	}
	to, _ := rop.Open(&b, draft, &rop.FastTransferDestinationConfigure{SourceOperation: rop.DestinationCopyTo})
	err := errors.Join(c.ops.Do(ctx, &b), b.Err())
	if err == nil && problems != nil && len(problems.PropertyProblems) > 0 {
		p := problems.PropertyProblems[0]
		err = fmt.Errorf("set %s: %w", p.PropertyTag, p.ErrorCode)
	}
	if err == nil {
		err = c.upload(ctx, to, m)
	}
	if err != nil {
		if made.Err() == nil {
			c.release(c.generation, draft)
		}
		return nil, err
	}
	c.release(c.generation, to)
	return draft, nil
}

// upload gives the content of a message.
func (c *session) upload(ctx context.Context, to *rop.Object, m *mapi.Message) error {
	u := c.ops.Upload(ctx, to)
	w := fasttransfer.NewSplitWriter(rop.UploadMost, u.Put)
	if err := w.Content(m); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return u.Flush()
}

// folderServerID names a folder, MS-OXCDATA §2.11.1.4.
func folderServerID(folder mapi.ObjectID) mapi.ServerID {
	const ours = 1
	e := mapi.NewEncoder([]byte{ours}, mapi.Format{})
	e.Uint64(uint64(folder.Integer()))
	e.Uint64(0) // MessageId
	e.Uint32(0) // Instance
	return e.Octets()
}

// made is a message that this backend has made.
type made struct {
	place
	id         mapi.ObjectID
	flags      mapi.Integer32
	recipients mapi.Binary // see sentTo
}

// madeMost is how many messages under one key are looked at.
const madeMost = 64

// place is where made messages are looked for.
type place struct {
	folder  mapi.ObjectID
	deleted bool // among those that were deleted and may be recovered; a server that shows none has none
}

// madeUnder finds the messages that were made under a key. It is one's turn.
func (c *session) madeUnder(ctx context.Context, key string, places ...place) ([]made, error) {
	keyTag, sentTag, err := c.ownTags(ctx)
	if err != nil {
		return nil, err
	}
	var b rop.Batch
	searches := make([]search, len(places))
	for i, p := range places {
		searches[i] = c.search(&b, p, keyTag, key)
	}
	if err := c.ops.Do(ctx, &b); err != nil {
		return nil, err
	}
	var all []made
	for _, one := range searches {
		found, err := one.result(key)
		if err != nil && !one.place.deleted {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, c.readRecipients(ctx, all, sentTag)
}

// search is what finds the messages under a key in one place.
type search struct {
	place     place
	restricts *rop.TableStatusReply
	rows      *rop.QueryRowsReply
}

// search adds a search to a batch.
func (c *session) search(b *rop.Batch, p place, keyTag mapi.Tag, key string) search {
	flags := uint8(0)
	if p.deleted {
		flags = rop.TableSoftDeletes
	}
	columns := []mapi.Tag{mapi.PidTagMid, mapi.PidTagMessageFlags, keyTag}
	folder, _ := rop.Open(b, c.logon, &rop.OpenFolder{FolderID: p.folder})
	table, _ := rop.Open(b, folder, &rop.GetContentsTable{TableFlags: flags})
	rop.On(b, table, &rop.SetColumns{PropertyTags: columns})
	value := mapi.Property{Tag: keyTag, Value: mapi.Binary(key)}
	one := search{
		place:     p,
		restricts: rop.On(b, table, &rop.Restrict{Restriction: mapi.PropertyRestriction{Op: mapi.RelEQ, Tag: keyTag, Value: value}}),
		rows:      rop.On(b, table, &rop.QueryRows{ForwardRead: true, RowCount: madeMost, Columns: columns}),
	}
	rop.Release(b, table)
	rop.Release(b, folder)
	return one
}

// result is what a search has found. A server whose restriction let something else through has found nothing.
func (s search) result(key string) (all []made, err error) {
	if err := errors.Join(s.restricts.Err(), s.rows.Err()); err != nil {
		return nil, err
	}
	for _, row := range s.rows.Rows {
		id, ok := row[0].(mapi.Integer64)
		flags, also := row[1].(mapi.Integer32)
		under, _ := row[2].(mapi.Binary)
		if !ok || !also {
			return nil, fmt.Errorf("%w: a message without its id or flags", rop.ErrProtocol)
		}
		if string(under) == key {
			all = append(all, made{place: s.place, id: id.ObjectID(), flags: flags})
		}
	}
	return all, nil
}

// readRecipients reads whom messages were made for.
func (c *session) readRecipients(ctx context.Context, all []made, sentTag mapi.Tag) error {
	if len(all) == 0 {
		return nil
	}
	var b rop.Batch
	var replies []*rop.RowReply
	for _, m := range all {
		message, _ := rop.Open(&b, c.logon, &rop.OpenMessage{CodePageID: rop.CodePageOfLogon, FolderID: m.folder, MessageID: m.id})
		replies = append(replies, rop.On(&b, message, &rop.GetPropertiesSpecific{PropertyTags: []mapi.Tag{sentTag}}))
		rop.Release(&b, message)
	}
	if err := c.ops.Do(ctx, &b); err != nil {
		return err
	}
	for i, reply := range replies {
		if err := reply.Err(); err != nil && !errors.Is(err, rop.NullObject) { // it is gone
			return err
		}
		all[i].recipients, _ = reply.Value(sentTag).(mapi.Binary)
	}
	return nil
}

// ownTags are the tags of our own properties in this mailbox.
func (c *session) ownTags(ctx context.Context) (key, sent mapi.Tag, err error) {
	var b rop.Batch
	ids := rop.On(&b, c.logon, &rop.GetPropertyIDsFromNames{Flags: rop.NamesCreate, PropertyNames: []mapi.Named{keyName, sentName}})
	if err := errors.Join(c.ops.Do(ctx, &b), b.Err()); err != nil {
		return 0, 0, err
	}
	if len(ids.PropertyIDs) != 2 || ids.PropertyIDs[0] == 0 || ids.PropertyIDs[1] == 0 {
		return 0, 0, fmt.Errorf("%w: names without ids", rop.ErrProtocol)
	}
	return mapi.NewTag(ids.PropertyIDs[0], mapi.PtypBinary), mapi.NewTag(ids.PropertyIDs[1], mapi.PtypBinary), nil
}
