//go:build linux

package growth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi/msg"
)

// compoundFiles are files that Outlook might have saved.
var compoundFiles = []pass{
	{"a compound file: a directory whose sectors form a loop", 1000, func(t *testing.T, n int) {
		malformed(t, compoundFile(n, func(number, first int) int { return first + (number+1)%(n-first) }))
	}},
	{"a compound file: a directory of all sectors", 1000, func(t *testing.T, n int) {
		malformed(t, compoundFile(n, func(number, _ int) int { return number + 1 })) // out of the file
	}},
	{"a compound file: directories that are one chain, of streams and of storages in storages", 1000, func(_ *testing.T, n int) {
		readFile(directoryFile(n, func(i int) (right, child uint32) { return uint32(i+1) % uint32(n), none }, 0))
		readFile(directoryFile(n, func(i int) (right, child uint32) { return none, uint32(i + 1) }, 0))
	}},
	{"a compound file: a stream whose sectors form a loop", 50_000, func(_ *testing.T, n int) {
		readFile(directoryFile(2, func(int) (right, child uint32) { return none, none }, n))
	}},
	{"a compound file: a DIFAT that is a loop", 2000, func(t *testing.T, n int) {
		file := compoundFile(n, func(number, _ int) int { return number })
		binary.LittleEndian.PutUint32(file[68:], uint32(n-1)) // zeros, which lead to sector 0, and so on
		binary.LittleEndian.PutUint32(file[72:], uint32(n/128))
		malformed(t, file)
	}},
}

// none is the number of no entry, MS-CFB §2.6.1, and the end of a chain of sectors is endOfChain, §2.1.
const (
	none       = 0xFFFF_FFFF
	endOfChain = 0xFFFF_FFFE
)

// readFile reads a file that may have anything wrong with it.
func readFile(file []byte) {
	if f, err := msg.Read(bytes.NewReader(file), int64(len(file))); err == nil {
		sink += f.Message.Len()
	}
}

// directoryFile is a compound file with so many entries in its directory (MS-CFB §2.6), the first of which has the second as its child. link says
// what each of the others leads to. Streams have so many octets, which are all in one sector that leads to itself.
func directoryFile(entries int, link func(i int) (right, child uint32), octets int) []byte {
	le := binary.LittleEndian
	var loop int // the sector
	sectors := (entries+3)/4 + 2
	sectors += sectors / 127
	file := compoundFile(sectors, func(number, first int) int {
		if loop = first + (entries+3)/4; number == loop-1 {
			return endOfChain
		}
		return min(number+1, loop)
	})
	first := loop - (entries+3)/4
	for i := range entries {
		entry := file[(first+1)*512+128*i:]
		name := "__properties_version1.0"
		if i != 1 {
			name = fmt.Sprintf("__substg1.0_%04X0102", i)
		}
		for at, c := range []byte(name) {
			entry[2*at] = c
		}
		le.PutUint16(entry[64:], uint16(2*len(name)+2))
		right, child := link(i)
		kind := byte(2) // a stream
		switch {
		case i == 0:
			kind, right, child = 5, none, 1 // the root
		case child != none:
			kind = 1 // a storage
		}
		if right == 0 {
			right = none
		}
		if int64(child) == int64(entries) {
			child = none
		}
		entry[66] = kind
		le.PutUint32(entry[68:], none)
		le.PutUint32(entry[72:], right)
		le.PutUint32(entry[76:], child)
		le.PutUint32(entry[116:], uint32(loop))
		le.PutUint32(entry[120:], uint32(octets))
	}
	return append(file, make([]byte, octets)...)
}

func malformed(t *testing.T, file []byte) {
	t.Helper()
	if _, err := msg.Read(bytes.NewReader(file), int64(len(file))); !errors.Is(err, msg.ErrMalformed) {
		t.Error(err)
	}
}

// compoundFile is one of n sectors with the FAT in the first of them (MS-CFB §2.2 and §2.3). The directory begins behind
// it and goes on where next says.
func compoundFile(n int, next func(number, first int) int) []byte {
	const sector = 512
	le := binary.LittleEndian
	first := (n + sector/4 - 1) / (sector / 4)
	file := make([]byte, (n+1)*sector)
	copy(file, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")
	le.PutUint16(file[30:], 9) // the sector's size, as a power of two
	le.PutUint32(file[44:], uint32(first))
	le.PutUint32(file[48:], uint32(first))
	for i := range first {
		le.PutUint32(file[76+4*i:], uint32(i))
	}
	for number := first; number < n; number++ {
		le.PutUint32(file[sector+4*number:], uint32(next(number, first)))
	}
	return file
}
