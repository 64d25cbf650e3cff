package rop

import (
	"context"
	"errors"
	"io"
	"testing"
)

// fixed is a Transport that always answers the same.
type fixed []byte

func (f fixed) Execute(context.Context, uint32, []byte, uint32) ([]byte, error) {
	if f == nil {
		return nil, io.EOF
	}
	return f, nil
}

// FuzzReplies reads anything as the replies to each kind of request: nothing may panic, and what is not read to its end is
// an error.
func FuzzReplies(f *testing.F) {
	for _, file := range recordings(f) {
		for _, x := range recorded(f, file) {
			for i, p := range x.Request.parts(f) {
				if octets := x.Response.buffer(f); octets != nil && i < 3 && len(octets) < 2000 {
					f.Add(uint8(p.id), octets)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, id uint8, octets []byte) {
		construct, ok := kinds[ID(id)]
		if !ok || ID(id) == idRelease {
			return
		}
		r, reply := construct()
		c := &call{request: r, reply: reply(), inputs: []*Object{open(5)}, place: func(func(*Object) uint8) {}}
		if m, ok := c.reply.(*ReadRecipientsReply); ok {
			m.message = &OpenMessageReply{}
		}
		var b Batch
		b.add(c)
		err := (&Session{Transport: fixed(octets), Chain: true}).Do(t.Context(), &b)
		if err == nil && errors.Is(b.Err(), ErrUnanswered) {
			t.Error("neither an error nor an answer")
		}
	})
}

// FuzzCompression undoes anything, and compresses it.
func FuzzCompression(f *testing.F) {
	f.Add(unhexed(f, "ffffff1f616263170"+"00fff2601"), 300)
	f.Add([]byte("abcabcabcabcabc"), 20)
	f.Fuzz(func(t *testing.T, octets []byte, size int) {
		if size < 0 || size > 0xFFFF || len(octets) > PayloadMost {
			return
		}
		if got, err := decompress(octets, size); err == nil && len(got) != size {
			t.Errorf("%d octets, want %d", len(got), size)
		}
		if got, err := decompress(compress(octets), len(octets)); err != nil || string(got) != string(octets) {
			t.Errorf("%x, %v, want %x", got, err, octets)
		}
	})
}
