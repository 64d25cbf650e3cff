package exchange

import (
	"context"
	"encoding/hex"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// replicas are the GUIDs that the replicas in ids of objects stand for in a mailbox, MS-OXCDATA §2.2.1.1. The zero value is ready.
type replicas struct {
	guids   map[uint16]mapi.GUID
	numbers map[mapi.GUID]uint16
}

func (r *replicas) learn(number uint16, guid mapi.GUID) {
	if r.guids == nil {
		r.guids, r.numbers = make(map[uint16]mapi.GUID), make(map[mapi.GUID]uint16)
	}
	r.guids[number], r.numbers[guid] = guid, number
}

// idSize is that of a LongTermID without its padding, in hexadecimal digits.
const idSize = 2 * (16 + 6)

// lasting returns the id of an object in all sessions. It asks the server about a replica that is not known yet.
func (c *session) lasting(ctx context.Context, id mapi.ObjectID) (string, error) {
	guid, known := c.replicas.guids[id.Replica]
	if !known {
		var b rop.Batch
		reply := rop.On(&b, c.logon, &rop.LongTermIDFromID{ObjectID: id})
		if err := c.ops.Do(ctx, &b); err != nil {
			return "", err
		}
		if err := reply.Err(); err != nil {
			return "", err
		}
		guid = reply.LongTermID.Database
		c.replicas.learn(id.Replica, guid)
	}
	return lastingID(mapi.LongTermID{Database: guid, Counter: id.Counter}), nil
}

// lastingID is the id of an object in all sessions.
func lastingID(l mapi.LongTermID) string {
	return hex.EncodeToString(append(l.Database[:], l.Counter[:]...))
}

// current returns the ids that objects have in this session. One that the server does not know is not among them.
func (c *session) current(ctx context.Context, ids []backends.MessageID) (map[backends.MessageID]mapi.ObjectID, error) {
	found := make(map[backends.MessageID]mapi.ObjectID, len(ids))
	asked := make(map[mapi.GUID]*rop.ObjectIDReply)
	parsed := make(map[backends.MessageID]mapi.LongTermID, len(ids))
	var b rop.Batch
	for _, id := range ids {
		l, ok := parseID(id)
		if !ok {
			continue
		}
		parsed[id] = l
		if _, known := c.replicas.numbers[l.Database]; !known && asked[l.Database] == nil {
			asked[l.Database] = rop.On(&b, c.logon, &rop.IDFromLongTermID{LongTermID: l})
		}
	}
	if len(asked) > 0 {
		if err := c.ops.Do(ctx, &b); err != nil {
			return nil, err
		}
	}
	for guid, reply := range asked {
		if reply.Err() == nil {
			c.replicas.learn(reply.ObjectID.Replica, guid)
		}
	}
	for id, l := range parsed {
		if number, known := c.replicas.numbers[l.Database]; known {
			found[id] = mapi.ObjectID{Replica: number, Counter: l.Counter}
		}
	}
	return found, nil
}

// parseID takes an id apart, if it can be one.
func parseID(id backends.MessageID) (l mapi.LongTermID, ok bool) {
	octets, err := hex.DecodeString(string(id))
	if err != nil || len(id) != idSize || hex.EncodeToString(octets) != string(id) {
		return l, false
	}
	copy(l.Database[:], octets)
	copy(l.Counter[:], octets[len(l.Database):])
	return l, true
}
