package msg

import (
	"encoding/binary"
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// The storage of the names, and the streams in it: GUIDs, entries, strings. MS-OXMSG §2.2.3.1.
const (
	nameStorage  = "__nameid_version1.0"
	guidStream   = "__substg1.0_00020102"
	entryStream  = "__substg1.0_00030102"
	stringStream = "__substg1.0_00040102"
)

// namedMost is how many named properties there can be: as many as there are ids for them.
const namedMost = 0xFFFE - int(mapi.FirstNamedID)

// Indexes of property sets that are not among the GUIDs of the file, and of the first that is: MS-OXMSG §2.2.3.1.2.
const (
	setMAPI          = 1
	setPublicStrings = 2
	setFirst         = 3
)

// nameMost is how many octets a name has at most: 254 characters, and a NUL in what some write.
const nameMost = 510

// names reads the names of all named properties in the file, MS-OXMSG §2.2.3.
func (f *reader) names(root *storage) {
	s := root.storages[nameStorage]
	if s == nil {
		return
	}
	guids, entries, texts := f.small(s, guidStream), f.small(s, entryStream), f.small(s, stringStream)
	for i := 0; i < len(entries)/8 && i < namedMost; i++ {
		name, index, err := nameOf(entries[8*i:], guids, texts)
		if err != nil {
			f.report(s.where(entryStream), fmt.Errorf("entry %d: %w", i, err), false) // whoever uses it is told of
			continue
		}
		f.named[mapi.FirstNamedID+mapi.ID(index)] = name
	}
}

// small reads a stream that may be kept. One that is not there has no octets.
func (f *reader) small(s *storage, name string) []byte {
	content := s.content(name)
	if content.IsZero() {
		return nil
	}
	octets, err := f.octets(content)
	if err != nil {
		f.report(s.where(name), err, true)
	}
	return octets
}

// nameOf takes an entry: a name and the index of its property, MS-OXMSG §2.2.3.1.2.
func nameOf(entry, guids, texts []byte) (mapi.Named, uint16, error) {
	le := binary.LittleEndian
	identifier, kind, index := le.Uint32(entry), le.Uint16(entry[4:]), le.Uint16(entry[6:])
	var n mapi.Named
	switch set := int(kind >> 1); set {
	case setMAPI:
		n.Set = mapi.PSMapi
	case setPublicStrings:
		n.Set = mapi.PSPublicStrings
	default:
		at := (set - setFirst) * len(n.Set)
		if set < setFirst || at+len(n.Set) > len(guids) {
			return n, 0, fmt.Errorf("property set %d is not there: %w", set, ErrMalformed)
		}
		copy(n.Set[:], guids[at:])
	}
	if int(index) >= namedMost {
		return n, 0, fmt.Errorf("property %d: %w", index, ErrMalformed)
	}
	if kind&1 == 0 {
		n.LID = identifier
		return n, index, nil
	}
	name, err := nameAt(texts, int64(identifier))
	n.Name = name
	return n, index, err
}

// nameAt takes a string of the string stream: its octets are counted in front of it. MS-OXMSG §2.2.3.1.3.
func nameAt(texts []byte, at int64) (string, error) {
	if at+4 > int64(len(texts)) {
		return "", fmt.Errorf("a name at octet %d of %d: %w", at, len(texts), ErrMalformed)
	}
	size := int64(binary.LittleEndian.Uint32(texts[at:]))
	if size == 0 || size > nameMost || at+4+size > int64(len(texts)) {
		return "", fmt.Errorf("a name of %d octets: %w", size, ErrMalformed)
	}
	return text(mapi.PtypString, texts[at+4:at+4+size], 0), nil
}
