package msg

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// dir is a storage that compound writes.
type dir struct {
	streams  map[string][]byte
	storages map[string]*dir
}

func newDir() *dir { return &dir{map[string][]byte{}, map[string]*dir{}} }

func (d *dir) storage(name string) *dir {
	if d.storages[name] == nil {
		d.storages[name] = newDir()
	}
	return d.storages[name]
}

// writer writes compound files, MS-CFB: of version 3 with a shift of 9, and of version 4 with 12.
type writer struct {
	shift   int
	sectors bytes.Buffer
	fat     []uint32
	mini    bytes.Buffer
	miniFAT []uint32
	entries [][]byte
}

// compound returns the octets of a compound file.
func compound(root *dir, shift int) []byte {
	w := &writer{shift: shift}
	w.entry("Root Entry", 5)
	child := w.children(root)
	w.put(0, child, w.chain(w.mini.Bytes()), w.mini.Len())
	return w.finish()
}

const freeSector, fatSector, difatSector = 0xFFFF_FFFF, 0xFFFF_FFFD, 0xFFFF_FFFC

// chain adds octets as sectors of their own, and returns the first.
func (w *writer) chain(octets []byte) uint32 {
	return chainOf(&w.sectors, &w.fat, octets, 1<<w.shift)
}

func chainOf(to *bytes.Buffer, fat *[]uint32, octets []byte, size int) uint32 {
	if len(octets) == 0 {
		return endOfChain
	}
	first := len(*fat)
	for at := 0; at < len(octets); at += size {
		to.Write(octets[at:min(at+size, len(octets))])
		*fat = append(*fat, uint32(len(*fat)+1))
	}
	to.Write(make([]byte, (size-len(octets)%size)%size))
	(*fat)[len(*fat)-1] = endOfChain
	return uint32(first)
}

func (w *writer) entry(name string, kind byte) uint32 {
	e := make([]byte, entrySize)
	for i, unit := range utf16.Encode([]rune(name)) {
		binary.LittleEndian.PutUint16(e[2*i:], unit)
	}
	binary.LittleEndian.PutUint16(e[64:], uint16(2*len(utf16.Encode([]rune(name)))+2))
	e[66], e[67] = kind, 1
	binary.LittleEndian.PutUint32(e[68:], noStream)
	binary.LittleEndian.PutUint32(e[72:], noStream)
	binary.LittleEndian.PutUint32(e[76:], noStream)
	w.entries = append(w.entries, e)
	return uint32(len(w.entries) - 1)
}

func (w *writer) put(entry, child, start uint32, size int) {
	e := w.entries[entry]
	binary.LittleEndian.PutUint32(e[76:], child)
	binary.LittleEndian.PutUint32(e[116:], start)
	binary.LittleEndian.PutUint64(e[120:], uint64(size))
}

// children writes what is in a storage, and returns the root of its tree.
func (w *writer) children(d *dir) uint32 {
	var names []string
	ids := map[string]uint32{}
	for name, octets := range d.streams {
		ids[name] = w.entry(name, 2)
		if len(octets) < 4096 {
			w.put(ids[name], noStream, chainOf(&w.mini, &w.miniFAT, octets, 64), len(octets))
		} else {
			w.put(ids[name], noStream, w.chain(octets), len(octets))
		}
		names = append(names, name)
	}
	for name, sub := range d.storages {
		ids[name] = w.entry(name, 1)
		w.put(ids[name], w.children(sub), 0, 0)
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // MS-CFB §2.6.4
		return cmp.Or(len(a)-len(b), strings.Compare(strings.ToUpper(a), strings.ToUpper(b)))
	})
	return w.tree(names, ids)
}

func (w *writer) tree(names []string, ids map[string]uint32) uint32 {
	if len(names) == 0 {
		return noStream
	}
	middle := len(names) / 2
	id := ids[names[middle]]
	binary.LittleEndian.PutUint32(w.entries[id][68:], w.tree(names[:middle], ids))
	binary.LittleEndian.PutUint32(w.entries[id][72:], w.tree(names[middle+1:], ids))
	return id
}

func octetsOf(numbers []uint32) []byte {
	var octets []byte
	for _, n := range numbers {
		octets = binary.LittleEndian.AppendUint32(octets, n)
	}
	return octets
}

func (w *writer) finish() []byte {
	size := 1 << w.shift
	for len(w.entries)%(size/entrySize) != 0 {
		w.entries = append(w.entries, make([]byte, entrySize))
	}
	for len(w.miniFAT)%(size/4) != 0 {
		w.miniFAT = append(w.miniFAT, freeSector)
	}
	directory := w.chain(bytes.Join(w.entries, nil))
	miniFAT := w.chain(octetsOf(w.miniFAT))
	first := len(w.fat)
	n, difats := w.tables(size / 4)
	header := make([]byte, size)
	le := binary.LittleEndian
	copy(header, signature[:])
	le.PutUint16(header[24:], 0x3E)
	le.PutUint16(header[26:], map[int]uint16{9: 3, 12: 4}[w.shift])
	le.PutUint16(header[28:], 0xFFFE)
	le.PutUint16(header[30:], uint16(w.shift))
	le.PutUint16(header[32:], 6)
	le.PutUint32(header[44:], uint32(n))
	le.PutUint32(header[48:], directory)
	le.PutUint32(header[56:], 4096)
	le.PutUint32(header[60:], miniFAT)
	le.PutUint32(header[64:], uint32(len(w.miniFAT)*4/size))
	le.PutUint32(header[68:], endOfChain)
	le.PutUint32(header[72:], uint32(difats))
	if difats > 0 {
		le.PutUint32(header[68:], uint32(first+n))
	}
	for i := range difatInHeader {
		le.PutUint32(header[difatOffset+4*i:], freeSector)
		if i < n {
			le.PutUint32(header[difatOffset+4*i:], uint32(first+i))
		}
	}
	return slices.Concat(header, w.sectors.Bytes(), octetsOf(w.fat), difat(first, n, difats, size/4))
}

// tables adds the sectors that the FAT is in, and those of the DIFAT, and returns how many they are. MS-CFB §2.3 and §2.5.
func (w *writer) tables(inSector int) (fats, difats int) {
	used := len(w.fat)
	for fats*inSector < used+fats+difats || difats*(inSector-1) < fats-difatInHeader {
		fats = (used + fats + difats + inSector - 1) / inSector
		difats = (max(0, fats-difatInHeader) + inSector - 2) / (inSector - 1)
	}
	for range fats {
		w.fat = append(w.fat, fatSector)
	}
	for range difats {
		w.fat = append(w.fat, difatSector)
	}
	for len(w.fat)%inSector != 0 {
		w.fat = append(w.fat, freeSector)
	}
	return fats, difats
}

// difat returns the sectors that say where the FAT is beyond what the header says, MS-CFB §2.5.1.
func difat(first, fats, difats, inSector int) []byte {
	var all []uint32
	for at := difatInHeader; len(all) < difats*inSector; at++ {
		switch {
		case len(all)%inSector == inSector-1:
			next := uint32(endOfChain)
			if len(all)+1 < difats*inSector {
				next = uint32(first + fats + len(all)/inSector + 1)
			}
			all = append(all, next)
			at--
		case at < fats:
			all = append(all, uint32(first+at))
		default:
			all = append(all, freeSector)
		}
	}
	return octetsOf(all)
}
