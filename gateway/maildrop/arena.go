package maildrop

import (
	"math"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// blockSize is how many octets of an arena are allocated together, once it has so many.
const blockSize = 1 << 16

// arena keeps many short texts in few allocations. It grows by blocks, and never copies what it
// has: a list that is one string takes twice its size while it grows.
type arena struct {
	full []string
	last strings.Builder // begins with the block's size, but for the first one, which is small as a rule
}

// span is a text's place: no text is parted between two blocks.
type span struct {
	start  uint32
	length uint16
}

func (a *arena) put(text string) (span, error) {
	if len(text) > blockSize-a.last.Len() {
		if len(a.full) >= math.MaxUint32/blockSize {
			return span{}, backends.Fail(backends.Permanent, "the ids of the folder's messages exceed 4 GiB")
		}
		a.full = append(a.full, a.last.String())
		a.last = strings.Builder{}
		a.last.Grow(blockSize)
	}
	at := span{start: uint32(len(a.full)*blockSize + a.last.Len()), length: uint16(len(text))}
	a.last.WriteString(text)
	return at, nil
}

func (a *arena) text(at span) string {
	block, offset := int(at.start/blockSize), at.start%blockSize
	if block < len(a.full) {
		return a.full[block][offset : offset+uint32(at.length)]
	}
	return a.last.String()[offset : offset+uint32(at.length)]
}

// octets is what the arena has allocated.
func (a *arena) octets() int64 { return int64(len(a.full))*blockSize + int64(a.last.Cap()) }
