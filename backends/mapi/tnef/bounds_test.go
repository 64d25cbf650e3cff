package tnef

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestLargeAttachments go through without being kept, in a message in a message.
func TestLargeAttachments(t *testing.T) {
	const size = 8 << 20
	file := &mapi.Attachment{Data: mapi.Section(zeros{}, 0, size)}
	file.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	m := &mapi.Message{Attachments: []*mapi.Attachment{{Embedded: &mapi.Message{Attachments: []*mapi.Attachment{file}}}}}
	var first, last prefix
	if n := allocated(func() {
		if err := Encode(io.MultiWriter(&first, &last), m, Options{}); err != nil {
			t.Error(err)
		}
	}); n > 1<<20 {
		t.Errorf("%d octets of memory to write", n)
	}
	// The head that was written, and zeros behind it up to the end: the checksums behind the data are wrong then.
	stream := headed{string(first.octets)}
	var got *Stream
	if n := allocated(func() { got, _ = Decode(stream, first.size) }); n > 1<<20 {
		t.Errorf("%d octets of memory to read", n)
	}
	if data := got.Message.Attachments[0].Embedded.Attachments[0].Data; data.Size != size {
		t.Errorf("%d octets", data.Size)
	}
}

// allocated returns how many octets are allocated meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zeros is a file of NULs.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// prefix keeps the first of what is written.
type prefix struct {
	octets []byte
	size   int64
}

func (p *prefix) Write(octets []byte) (int, error) {
	p.size += int64(len(octets))
	p.octets = append(p.octets, octets[:min(len(octets), 4096-len(p.octets))]...)
	return len(octets), nil
}

// headed is a file with something at its beginning, and then NULs.
type headed struct{ head string }

func (h headed) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(h.head)) {
		copy(p, h.head[at:])
	}
	return len(p), nil
}

// TestMemoryIsBounded, whatever a stranger makes of the octets.
func TestMemoryIsBounded(t *testing.T) {
	const most = 1 << 20
	row := unhex("01000000 03001700 01000000")
	many := func(n int, each func(int) []byte) raw {
		var all []byte
		for i := range n {
			all = append(all, each(i)...)
		}
		return all
	}
	counted := func(n int, octets raw) []byte { return append(le.AppendUint32(nil, uint32(n)), octets...) }
	tests := map[string]raw{
		"properties": newRaw().attribute(1, attMsgProps, counted(1<<14, many(1<<14, func(i int) []byte {
			return le.AppendUint32(le.AppendUint32(nil, uint32(mapi.NewTag(mapi.ID(i&0x7FFF), mapi.PtypInteger32))), 1)
		}))),
		"named properties": newRaw().attribute(1, attMsgProps, counted(1<<14, many(1<<14, func(i int) []byte {
			return append(le.AppendUint32(append(unhex("03000180"), mapi.PSETIDCommon[:]...), 0), le.AppendUint32(le.AppendUint32(nil, uint32(i)), 1)...)
		}))),
		"rows of nothing":      newRaw().attribute(1, attRecipTable, counted(1<<16, make([]byte, 4<<16))),
		"rows of one property": newRaw().attribute(1, attRecipTable, counted(1<<15, many(1<<15, func(int) []byte { return row }))),
		"values":               newRaw().attribute(1, attMsgProps, list(append(unhex("02110100"), counted(1<<17, make([]byte, 4<<17))...))),
		"integers":             newRaw().attribute(1, attMsgProps, list(append(unhex("02100100"), counted(1<<17, make([]byte, 4<<17))...))),
		"text":                 newRaw().attribute(1, attMsgProps, list(append(unhex("1f100100"), counted(100, many(100, func(int) []byte { return []byte(padded(strings.Repeat("\xAC\x20", 10_000))) }))...))),
		"attachments": slices.Concat(newRaw(), many(1<<14, func(int) []byte {
			return raw{}.attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000"))
		})),
		"attributes of one":       slices.Concat(newRaw(), many(1<<14, func(int) []byte { return raw{}.attribute(1, attSubject, []byte("again and again\x00")) })),
		"messages in attachments": slices.Concat(newRaw(), many(1<<12, func(int) []byte { return nested(1)[len(newRaw()):] })),
		"problems":                slices.Concat(newRaw(), many(1<<14, func(int) []byte { return raw{}.attribute(1, 0x7777, nil) })),
	}
	for name, stream := range tests {
		t.Run(name, func(t *testing.T) {
			r := strings.NewReader(string(stream))
			var s *Stream
			var err error
			n := live(func() any {
				s, err = decode(r, r.Size(), most)
				return s
			})
			if n > 2*most {
				t.Errorf("%d octets are in use", n)
			}
			if name != "problems" && !errors.Is(err, ErrTooMuch) && n > most {
				t.Error(err)
			}
		})
	}
}

// live returns how many octets are in use by what f returns.
func live(f func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// TestDeeplyNested: 10,000 messages in each other cost no more than they are long.
func TestDeeplyNested(t *testing.T) {
	// Each has all others in it, so the file is made from the inside.
	head := newRaw().attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000"))
	const depth, each = 10_000, 200
	var stream strings.Builder
	for i := range depth {
		left := uint32((depth - i) * each)
		stream.WriteString(string(le.AppendUint32(le.AppendUint32(append(head[:len(head):len(head)], 2), uint32(attAttachment)), left)))
		stream.WriteString(string(le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 1), uint32(mapi.PidTagAttachDataObject)), 1), left-16)))
		stream.WriteString(string(iidMessage[:]))
	}
	s, err := decodeRaw(t, raw(stream.String()))
	if !errors.Is(err, mapi.ErrDepth) {
		t.Errorf("%v", err)
	}
	n := 0
	for m := s.Message; len(m.Attachments) > 0 && m.Attachments[0].Embedded != nil; m = m.Attachments[0].Embedded {
		n++
	}
	if n != mapi.DepthMost {
		t.Errorf("%d messages in each other", n)
	}
}

// fuzzMost is how large an input is that a fuzz target looks at: larger ones are slower, and say nothing else.
const fuzzMost = 64 << 10

func addStreams(f *testing.F) {
	for _, o := range oddities() {
		f.Add([]byte(o.stream))
	}
	f.Add([]byte(nested(3)))
	f.Add(encode(f, sample(), Options{CodePage: 1252}))
}

// FuzzDecode: nothing in a file does harm, and the attachments of a message are all within the file.
func FuzzDecode(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > fuzzMost {
			return
		}
		s, err := Decode(bytes.NewReader(octets), int64(len(octets)))
		if s == nil {
			if !errors.Is(err, ErrNotTNEF) {
				t.Fatal(err)
			}
			return
		}
		if n := octetsIn(t, s.Message); n > int64(len(octets)) {
			t.Errorf("%d octets of attachments in a file of %d", n, len(octets))
		}
	})
}

// octetsIn reads what is in the attachments of a message, and returns how many octets it was.
func octetsIn(t *testing.T, m *mapi.Message) (sum int64) {
	for _, a := range m.Attachments {
		if a.Embedded != nil {
			sum += octetsIn(t, a.Embedded)
			continue
		}
		if a.Data.IsZero() {
			continue
		}
		r, err := a.Data.Open()
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != a.Data.Size {
			t.Fatalf("%d of %d octets: %v", n, a.Data.Size, err)
		}
		sum += n
	}
	return sum
}

// FuzzEncode: what was read can be written and read again.
func FuzzEncode(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > fuzzMost {
			return
		}
		s, _ := Decode(bytes.NewReader(octets), int64(len(octets)))
		if s == nil {
			return
		}
		first := encode(t, decodeAgain(t, encode(t, s.Message, Options{})), Options{}) // what had to be added is there
		again := encode(t, decodeAgain(t, first), Options{})
		if !bytes.Equal(first, again) {
			t.Errorf("written again it is\n%x, and was\n%x", again, first)
		}
	})
}

// decodeAgain decodes what was encoded. That a code page is not known was told before.
func decodeAgain(t *testing.T, octets []byte) *mapi.Message {
	t.Helper()
	s, err := decodeRaw(t, octets)
	if err != nil {
		t.Fatal(fmt.Errorf("what was written cannot be read: %w", err))
	}
	return s.Message
}
