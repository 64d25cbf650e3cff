package msg

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Bounds of a directory.
const (
	entriesMost = 100_000
	// depthMost is how deep storages may lie: two for each message in a message, and one for a recipient.
	depthMost = 2*mapi.DepthMost + 2
	// pathsMost bounds the sum of the depths of storages, as the path of each is kept.
	pathsMost = 1 << 18
)

// Sector numbers with a meaning of their own, MS-CFB §2.1, and the number of no stream, §2.6.1.
const (
	endOfChain = 0xFFFF_FFFE
	noStream   = 0xFFFF_FFFF
)

// The header, MS-CFB §2.2, and an entry of the directory, §2.6.1.
const (
	headerSize    = 512
	difatInHeader = 109
	difatOffset   = 76
	entrySize     = 128
)

var signature = [8]byte{0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1}

// sectors is a compound file as far as its directory has to be found in it.
type sectors struct {
	r       io.ReaderAt
	size    int64
	sector  int64    // octets of one
	fat     []uint32 // the sectors that the FAT is in
	entries []node
}

// node is an entry of the directory, as a node of its tree.
type node struct{ left, right, child uint32 }

// checkDirectory walks through the directory of a compound file, and fails if that has loops, is too large, or too deep.
// mscfb, which reads the file, follows it by recursion and keeps the path of each storage.
func checkDirectory(r io.ReaderAt, size int64) error {
	s := &sectors{r: r, size: size}
	if err := s.header(); err != nil {
		return err
	}
	return s.tree()
}

// read reads octets that must be there.
func (s *sectors) read(at, n int64) ([]byte, error) {
	if at < 0 || at > s.size-n {
		return nil, fmt.Errorf("octets %d to %d of %d: %w", at, at+n, s.size, ErrMalformed)
	}
	octets := make([]byte, n)
	if read, err := s.r.ReadAt(octets, at); int64(read) < n {
		return nil, fmt.Errorf("reading at octet %d: %w", at, err)
	}
	return octets, nil
}

// offset returns where a sector begins: behind the header, which takes one.
func (s *sectors) offset(number uint32) int64 { return (int64(number) + 1) * s.sector }

// header takes what says where the FAT is, MS-CFB §2.2 and §2.5.
func (s *sectors) header() error {
	if s.size < headerSize {
		return ErrNotMSG
	}
	octets, err := s.read(0, headerSize)
	switch {
	case err != nil:
		return err
	case [8]byte(octets) != signature:
		return ErrNotMSG
	}
	le := binary.LittleEndian
	switch shift := le.Uint16(octets[30:]); shift {
	case 9, 12:
		s.sector = 1 << shift
	default:
		return fmt.Errorf("sectors of 2^%d octets: %w", shift, ErrMalformed)
	}
	fats, difats := int64(le.Uint32(octets[44:])), int64(le.Uint32(octets[72:]))
	inSector := s.sector/4 - 1
	if fats > s.size/s.sector || difats > fats/inSector+1 {
		return fmt.Errorf("%d sectors of FAT, in %d of their own, in a file of %d octets: %w", fats, difats, s.size, ErrMalformed)
	}
	s.fat = numbers(octets[difatOffset:], difatInHeader)
	next := le.Uint32(octets[68:])
	for range difats {
		sector, err := s.read(s.offset(next), s.sector)
		if err != nil {
			return err
		}
		s.fat = append(s.fat, numbers(sector, int(inSector))...)
		next = le.Uint32(sector[s.sector-4:])
	}
	return s.chain(le.Uint32(octets[48:]))
}

// chain takes the sectors of the directory.
func (s *sectors) chain(next uint32) error {
	for next != endOfChain {
		sector, err := s.read(s.offset(next), s.sector)
		if err != nil {
			return err
		}
		for ; len(sector) >= entrySize; sector = sector[entrySize:] {
			tree := numbers(sector[68:], 3)
			s.entries = append(s.entries, node{tree[0], tree[1], tree[2]})
		}
		switch n := int64(len(s.entries)); {
		case n*entrySize > s.size:
			return fmt.Errorf("the directory's sectors form a loop: %w", ErrMalformed)
		case n > entriesMost:
			return fmt.Errorf("the directory: %w", ErrTooMuch)
		}
		if next, err = s.next(next); err != nil {
			return err
		}
	}
	return nil
}

// next returns the sector that follows another one, as the FAT has it.
func (s *sectors) next(number uint32) (uint32, error) {
	in := int64(number) * 4 / s.sector
	if in >= int64(len(s.fat)) {
		return 0, fmt.Errorf("sector %d is in no FAT: %w", number, ErrMalformed)
	}
	octets, err := s.read(s.offset(s.fat[in])+int64(number)*4%s.sector, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(octets), nil
}

// tree follows the directory from its root, MS-CFB §2.6.4.
func (s *sectors) tree() error {
	type step struct {
		entry uint32
		depth int
	}
	if len(s.entries) == 0 {
		return fmt.Errorf("no directory: %w", ErrMalformed)
	}
	seen := make([]bool, len(s.entries))
	paths := 0
	for todo := []step{{}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch {
		case at.entry == noStream:
			continue
		case int64(at.entry) >= int64(len(seen)) || seen[at.entry]:
			return fmt.Errorf("entry %d of the directory is not there, or in it twice: %w", at.entry, ErrMalformed)
		case at.depth > depthMost:
			return mapi.ErrDepth
		}
		seen[at.entry] = true
		n := s.entries[at.entry]
		if n.child != noStream {
			paths += at.depth
		}
		if paths > pathsMost {
			return fmt.Errorf("storages in storages: %w", ErrTooMuch)
		}
		todo = append(todo, step{n.left, at.depth}, step{n.right, at.depth}, step{n.child, at.depth + 1})
	}
	return nil
}

func numbers(octets []byte, n int) []uint32 {
	all := make([]uint32, n)
	for i := range all {
		all[i] = binary.LittleEndian.Uint32(octets[4*i:])
	}
	return all
}
