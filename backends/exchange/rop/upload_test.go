package rop

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// taker is a server that takes a stream in: it answers each Execute with one reply.
type taker struct {
	t       *testing.T
	stream  bytes.Buffer
	sizes   []int // payloads of each Execute
	replies []string
}

func (k *taker) Execute(_ context.Context, _ uint32, requests []byte, _ uint32) ([]byte, error) {
	payloads, err := Payloads(requests)
	if err != nil {
		k.t.Fatal(err)
	}
	k.sizes = append(k.sizes, len(payloads))
	for _, payload := range payloads {
		size := int(payload[0]) | int(payload[1])<<8
		if payload[2] != 0x54 || payload[3] != 2 || payload[4] != 0 || len(payload) != size+4 || payload[size] != 7 {
			k.t.Errorf("the payload %x", payload)
		}
		n := int(payload[5]) | int(payload[6])<<8
		if n != size-7 {
			k.t.Errorf("%d octets are announced and %d are there", n, size-7)
		}
		k.stream.Write(payload[7:size])
	}
	reply := k.replies[0]
	if len(k.replies) > 1 {
		k.replies = k.replies[1:]
	}
	return answer(k.t, replies(k.t, reply, 7)), nil
}

// TestConfigure has the octets of MS-OXCROPS §2.2.12.1.1 and of its reply.
func TestConfigure(t *testing.T) {
	e := mapi.NewEncoder(nil, mapi.Format{})
	writeRequest(e, 3, &FastTransferDestinationConfigure{Opens: Opens{1, 2}, SourceOperation: DestinationCopyTo})
	if want := []byte{0x53, 3, 1, 2, 1, 0}; !bytes.Equal(e.Octets(), want) {
		t.Errorf("%x, want %x", e.Octets(), want)
	}
}

// TestUpload gives a stream piece by piece, and several at once where the server takes them.
func TestUpload(t *testing.T) {
	for _, test := range []struct {
		name  string
		packs bool
		want  []int
	}{
		{"alone", false, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"packed", true, []int{7, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := &taker{t: t, replies: []string{"54 00 00000000 0000 0000 0000 00 e803"}}
			u := (&Session{Transport: k, Packs: test.packs}).Upload(t.Context(), &Object{logon: 2, handle: 7, opened: true})
			var want []byte
			for i := range 9 {
				piece := bytes.Repeat([]byte{byte(i)}, 1000)
				want = append(want, piece...)
				if err := u.Put(piece); err != nil {
					t.Fatal(err)
				}
				clear(piece) // it is the caller's again
			}
			if err := errors.Join(u.Flush(), u.Flush()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(k.stream.Bytes(), want) {
				t.Error("another stream has come")
			}
			if len(k.sizes) != len(test.want) || k.sizes[0] != test.want[0] {
				t.Errorf("payloads %d, want %d", k.sizes, test.want)
			}
		})
	}
}

// TestUploadFails has an upload end with what the server says.
func TestUploadFails(t *testing.T) {
	for _, test := range []struct {
		name, reply string
		want        error
	}{
		{"refused", "54 00 d9040000 0000 0000 0000 00 0000", QuotaExceeded},
		{"refused in short", "54 00 d9040000", QuotaExceeded},
		{"busy", "f9 00 10270000 00 0000", ServerBusy},
		{"not all", "54 00 00000000 0000 0000 0000 00 0100", ErrProtocol},
		{"nothing", "", ErrProtocol},
		{"a notification alone", "6e 0000", ErrProtocol},
		{"cut short", "54 00 00000000 00", ErrProtocol},
		{"something else", "0c 00 00000000", ErrProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := &taker{t: t, replies: []string{test.reply}}
			u := (&Session{Transport: k}).Upload(t.Context(), &Object{logon: 2, handle: 7, opened: true})
			if err := u.Put([]byte("stream")); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	t.Run("not open", func(t *testing.T) {
		u := (&Session{Transport: &taker{t: t}}).Upload(t.Context(), &Object{})
		if err := u.Put([]byte("stream")); !errors.Is(err, NullObject) {
			t.Error(err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		u := (&Session{Transport: &taker{t: t}}).Upload(t.Context(), open(7))
		if err := u.Put(make([]byte, PayloadMost)); err == nil || !strings.Contains(err.Error(), "is larger than") {
			t.Error(err)
		}
	})
}

// FuzzPutReplies reads anything as the answer to a piece of an upload.
func FuzzPutReplies(f *testing.F) {
	f.Add([]byte("\x54\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00"))
	f.Add([]byte("\xf9\x00\x10\x27\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		payload := append([]byte{byte(len(octets) + 2), byte((len(octets) + 2) >> 8)}, octets...)
		err := (&Session{}).readPuts([][]byte{payload}, [][]byte{[]byte("stream")})
		if err == nil && !bytes.Contains(octets, []byte{0x54}) {
			t.Error("it was taken without an answer")
		}
	})
}
