package msg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// sectorOf returns where a sector begins in a file with small sectors.
func sectorOf(octets []byte, field int) int {
	return 512 * (int(binary.LittleEndian.Uint32(octets[field:])) + 1)
}

// Fields of the header.
const (
	fatCount    = 44
	directoryAt = 48
	miniFATAt   = 60
	difatAt     = 68
	difatCount  = 72
	firstFATAt  = difatOffset
)

// TestHostileFiles: what is wrong with the sectors, the directory or the sizes ends with an error.
func TestHostileFiles(t *testing.T) {
	le := binary.LittleEndian
	entry := func(octets []byte, n int) []byte { return octets[sectorOf(octets, directoryAt)+n*entrySize:] }
	for name, damage := range map[string]func([]byte) []byte{
		"a directory that is a loop": func(o []byte) []byte {
			directory := le.Uint32(o[directoryAt:])
			le.PutUint32(o[sectorOf(o, firstFATAt)+4*int(directory):], directory)
			return o
		},
		"a directory that leads back": func(o []byte) []byte {
			directory := le.Uint32(o[directoryAt:])
			le.PutUint32(o[sectorOf(o, firstFATAt)+4*int(directory)+4:], directory)
			return o
		},
		"a tree that is a loop":         func(o []byte) []byte { le.PutUint32(entry(o, 1)[68:], 1); return o },
		"a tree that leads to the root": func(o []byte) []byte { le.PutUint32(entry(o, 1)[76:], 0); return o },
		"an entry that is not there":    func(o []byte) []byte { le.PutUint32(entry(o, 1)[72:], 1<<31-1); return o },
		"a size beyond the file":        func(o []byte) []byte { le.PutUint32(entry(o, 1)[120:], 1<<31-1); return o },
		"sectors of no size":            func(o []byte) []byte { o[30] = 31; return o },
		"4 thousand million of FAT":     func(o []byte) []byte { le.PutUint32(o[fatCount:], 1<<32-1); return o },
		"4 thousand million of DIFAT":   func(o []byte) []byte { le.PutUint32(o[difatCount:], 1<<32-1); return o },
		"a directory beyond the file":   func(o []byte) []byte { le.PutUint32(o[directoryAt:], 1<<31); return o },
		"cut off":                       func(o []byte) []byte { return o[:sectorOf(o, directoryAt)+100] },
	} {
		octets := damage(compound(encode(t, letter()), 9))
		if f, err := Read(bytes.NewReader(octets), int64(len(octets))); f != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, octets := range map[string][]byte{
		"nothing": nil, "a text": []byte(strings.Repeat("From: a@sakes.example\n", 100)), "another compound file": compound(newDir(), 9),
	} {
		if f, err := Read(bytes.NewReader(octets), int64(len(octets))); f != nil || !errors.Is(err, ErrNotMSG) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStreamThatIsALoop: a chain of sectors that leads back to itself is read as far as its size says, and no further.
func TestStreamThatIsALoop(t *testing.T) {
	data, r := leadingTo(t, func(first uint32) uint32 { return first })
	if n, err := io.Copy(io.Discard, r); n != int64(len(data)) || err != nil {
		t.Errorf("%d octets, %v", n, err)
	}
}

// TestStreamThatEndsEarly: a chain of sectors that is shorter than the size says is an error of whoever reads it.
func TestStreamThatEndsEarly(t *testing.T) {
	_, r := leadingTo(t, func(uint32) uint32 { return endOfChain })
	if n, err := io.Copy(io.Discard, r); err == nil {
		t.Errorf("%d octets without an error", n)
	}
}

// leadingTo opens the attachment of the letter, whose first sector leads to another one than it should. It returns the octets that the attachment had, too.
func leadingTo(t *testing.T, next func(first uint32) uint32) (data []byte, r io.Reader) {
	t.Helper()
	root := encode(t, letter())
	octets := compound(root, 9)
	data = root.storages["__attach_version1.0_#00000000"].streams["__substg1.0_37010102"]
	first := (bytes.Index(octets, data[:512]) / 512) - 1
	binary.LittleEndian.PutUint32(octets[sectorOf(octets, firstFATAt)+4*first:], next(uint32(first)))
	f, err := Read(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := f.Message.Attachments[0].Data.Open()
	if err != nil {
		t.Fatal(err)
	}
	return data, opened
}

// nested is a message in messages.
func nested(depth int) *mapi.Message {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String("the innermost"))
	for range depth {
		outer := &mapi.Message{Attachments: []*mapi.Attachment{{Embedded: m}}}
		outer.Attachments[0].Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
		m = outer
	}
	return m
}

func TestDepth(t *testing.T) {
	octets := compound(encode(t, nested(mapi.DepthMost)), 9)
	f := readWhole(t, octets)
	depth := 0
	for m := f.Message; len(m.Attachments) > 0; m = m.Attachments[0].Embedded {
		depth++
	}
	if depth != mapi.DepthMost {
		t.Errorf("%d messages in messages were read", depth)
	}
	for _, deep := range []int{mapi.DepthMost + 1, 500} {
		octets := compound(encode(t, nested(deep)), 9)
		if _, err := Read(bytes.NewReader(octets), int64(len(octets))); !errors.Is(err, mapi.ErrDepth) {
			t.Errorf("%d messages in messages: %v", deep, err)
		}
	}
}

// TestManyStorages: the memory for paths of storages grows with their number alone.
func TestManyStorages(t *testing.T) {
	root := encode(t, letter())
	deep := root
	for range depthMost - 10 {
		deep = deep.storage("a")
	}
	for i := range 3000 {
		deep.storage(fmt.Sprint("storage", i)).storage("b")
	}
	octets := compound(root, 9)
	if _, err := Read(bytes.NewReader(octets), int64(len(octets))); !errors.Is(err, ErrTooMuch) {
		t.Errorf("storages in storages: %v", err)
	}
}

// TestMemory: attachments and large bodies cost no memory until they are read, and then only a piece of them.
func TestMemory(t *testing.T) {
	m := letter()
	m.Attachments[0].Data = mapi.ContentOf(make([]byte, 8<<20))
	m.Set(mapi.PidTagBody, mapi.String(strings.Repeat("text ", 1<<18)))
	octets := compound(encode(t, m), 12)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Read(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Message.Attachments[0].Data.Open()
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	runtime.ReadMemStats(&after)
	if n != 8<<20 || err != nil {
		t.Errorf("%d octets, %v", n, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("reading has taken %d octets of memory", took)
	}
}

// TestValuesTogetherAreBounded: so many values that each may be in memory are too much together.
func TestValuesTogetherAreBounded(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSubject, mapi.String("first"))
	for i := range 20 {
		m.Set(mapi.NewTag(mapi.ID(0x6000+i), mapi.PtypBinary), mapi.Binary(make([]byte, 1000)))
	}
	octets := compound(encode(t, m), 12)
	f, err := read(bytes.NewReader(octets), int64(len(octets)), 20_000)
	if !errors.Is(err, ErrTooMuch) || f == nil || f.Message.Text(mapi.PidTagSubject) != "first" {
		t.Errorf("%v", err)
	}
}

// fuzzMost is how large an input is that a fuzz target looks at: larger ones are slower, and say nothing else.
const fuzzMost = 64 << 10

func FuzzRead(f *testing.F) {
	small := &mapi.Message{}
	small.Set(mapi.PidTagSubject, mapi.String("small"))
	for _, seed := range []*mapi.Message{small, letter(), nested(2)} {
		f.Add(compound(encode(f, seed), 9))
		f.Add(compound(encode(f, seed), 12))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > fuzzMost {
			return
		}
		file, err := Read(bytes.NewReader(octets), int64(len(octets)))
		if file == nil {
			if err == nil {
				t.Fatal("neither a file nor an error")
			}
			return
		}
		if (err != nil) != anyLost(file) && file.MoreProblems == 0 {
			t.Errorf("%v, and problems %v", err, file.Problems)
		}
		readAll(t, file.Message, int64(len(octets)))
	})
}

func anyLost(f *File) bool {
	for _, p := range f.Problems {
		if p.Lost {
			return true
		}
	}
	return false
}

// readAll reads all contents, which may fail, and must not be more together than the file.
func readAll(t *testing.T, m *mapi.Message, size int64) {
	sum := int64(0)
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			readAll(t, a.Embedded, size)
		}
		if a.Data.IsZero() {
			continue
		}
		r, err := a.Data.Open()
		if err != nil {
			continue
		}
		n, _ := io.Copy(io.Discard, r)
		sum += n
	}
	if sum > size {
		t.Errorf("%d octets of attachments in a file of %d", sum, size)
	}
}
