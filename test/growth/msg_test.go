//go:build linux

package growth

import (
	"bytes"
	"encoding/binary"
	"errors"
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
