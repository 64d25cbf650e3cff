package mapi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Counter is a GlobalCounter, MS-OXCDATA §2.2.1.3: what numbers objects within a database, 48 bits.
type Counter [6]byte

// LongTermID is an identifier that means the same in each session, MS-OXCDATA §2.2.1.3.1.
type LongTermID struct {
	Database GUID // the REPLGUID
	Counter  Counter
}

// AppendTo appends the 24 octets of the structure.
func (id LongTermID) AppendTo(octets []byte) []byte {
	octets = append(append(octets, id.Database[:]...), id.Counter[:]...)
	return append(octets, 0, 0)
}

// LongTermID takes a LongTermID, MS-OXCDATA §2.2.1.3.1.
func (d *Decoder) LongTermID() LongTermID {
	id := LongTermID{Database: d.GUID(), Counter: Counter(d.fixed(6))}
	d.Uint16() // Pad
	return id
}

// ObjectID is the id of a folder or message within a session (FID or MID), MS-OXCDATA §2.2.1.1 and §2.2.1.2.
type ObjectID struct {
	Replica uint16
	Counter Counter
}

// ObjectID returns the id that is in an integer, such as the value of PidTagMid.
func (n Integer64) ObjectID() ObjectID {
	octets := binary.LittleEndian.AppendUint64(nil, uint64(n))
	return ObjectID{binary.LittleEndian.Uint16(octets), Counter(octets[2:])}
}

// Integer returns the id as it is in PidTagMid and PidTagFolderId.
func (id ObjectID) Integer() Integer64 {
	octets := binary.LittleEndian.AppendUint16(nil, id.Replica)
	return Integer64(binary.LittleEndian.Uint64(append(octets, id.Counter[:]...)))
}

// ServerEntry is a PtypServerId of the server's own, MS-OXCDATA §2.11.1.4.
type ServerEntry struct {
	Folder, Message ObjectID // the message is zero if the folder is meant
	Instance        uint32
}

// ParseServerID takes a PtypServerId apart. It says whether it is the server's: what a client defined is its own affair.
func ParseServerID(id ServerID) (ServerEntry, bool) {
	d := NewDecoder(id, Format{})
	ours := d.Uint8()
	entry := ServerEntry{Integer64(d.Uint64()).ObjectID(), Integer64(d.Uint64()).ObjectID(), d.Uint32()}
	if ours != 1 || d.Err() != nil || d.Left() > 0 {
		return ServerEntry{}, false
	}
	return entry, true
}

// ServerID returns the value of the property.
func (s ServerEntry) ServerID() ServerID {
	e := NewEncoder([]byte{1}, Format{})
	e.Uint64(uint64(s.Folder.Integer()))
	e.Uint64(uint64(s.Message.Integer()))
	e.Uint32(s.Instance)
	return e.Octets()
}

// XID is what an object or a change is called all over the world, MS-OXCFXICS §2.2.2.2: the value of
// PidTagSourceKey and PidTagChangeKey.
type XID struct {
	Namespace GUID
	LocalID   string // octets: six of a Counter in source keys of Exchange, and otherwise up to eight or more
}

// xidMost is how many octets a SizedXid can announce.
const xidMost = 255

var errXID = errors.New("an XID has 17 to 255 octets, the first 16 of which are a GUID")

// ParseXID takes an XID apart.
func ParseXID(octets []byte) (XID, error) {
	if len(octets) <= 16 || len(octets) > xidMost {
		return XID{}, fmt.Errorf("%d octets: %w", len(octets), errXID)
	}
	return XID{GUID(octets[:16]), string(octets[16:])}, nil
}

// XID returns the source key of an object.
func (id LongTermID) XID() XID { return XID{id.Database, string(id.Counter[:])} }

// LongTermID returns the object of a source key. It says whether there is one: other clients make XIDs of other sizes.
func (x XID) LongTermID() (LongTermID, bool) {
	if len(x.LocalID) != len(Counter{}) {
		return LongTermID{}, false
	}
	return LongTermID{x.Namespace, Counter([]byte(x.LocalID))}, true
}

// AppendTo appends the octets of the property.
func (x XID) AppendTo(octets []byte) []byte {
	return append(append(octets, x.Namespace[:]...), x.LocalID...)
}

// ParseChangeList takes a PidTagPredecessorChangeList apart, MS-OXCFXICS §2.2.2.3: the changes that an object has seen.
func ParseChangeList(octets []byte) ([]XID, error) {
	d := NewDecoder(octets, Format{})
	var list []XID
	for d.Left() > 0 {
		one := d.take(int(d.Uint8()))
		if d.Err() != nil {
			return nil, d.Err()
		}
		x, err := ParseXID(one)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// NewChangeList makes a PidTagPredecessorChangeList.
func NewChangeList(list []XID) (Binary, error) {
	octets := Binary{}
	for _, x := range list {
		one := x.AppendTo(nil)
		if len(one) <= 16 || len(one) > xidMost {
			return nil, fmt.Errorf("%d octets: %w", len(one), errXID)
		}
		octets = append(append(octets, byte(len(one))), one...)
	}
	return octets, nil
}
