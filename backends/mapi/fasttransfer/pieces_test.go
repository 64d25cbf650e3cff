package fasttransfer_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// TestPieces has pieces end between atoms: named properties with numbers of 64 bits are an atom of 25 octets, and one of 8.
func TestPieces(t *testing.T) {
	m := &mapi.Message{}
	for i := range 3000 {
		m.Set(mapi.Named{Set: mapi.PSInternetHeaders, LID: uint32(i)}, mapi.Integer64(i))
	}
	var whole bytes.Buffer
	w := fasttransfer.NewSplitWriter(5000, func(piece []byte) error {
		if len(piece) > 5000 {
			t.Errorf("a piece of %d octets", len(piece))
		}
		whole.Write(piece)
		if at := whole.Len() % 33; at != 0 && at != 25 {
			t.Errorf("a piece ends at %d, within an atom", whole.Len())
		}
		return nil
	})
	if err := errors.Join(w.Content(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if whole.Len() != 3000*33 {
		t.Errorf("%d octets", whole.Len())
	}
}

// TestPiecesOfValues fills pieces with parts of values, from memory and from a reader, and ends with the error of who takes them.
func TestPiecesOfValues(t *testing.T) {
	body := strings.Repeat("0123456789", 2000)
	data := bytes.Repeat([]byte{1, 2, 3}, 20_000)
	m := &mapi.Message{Attachments: []*mapi.Attachment{{Data: mapi.ContentOf(data)}}}
	m.Set(mapi.PidTagBody, mapi.String(body))
	var pieces []int
	var whole, alone bytes.Buffer
	w := fasttransfer.NewSplitWriter(4096, func(piece []byte) error {
		pieces = append(pieces, len(piece))
		whole.Write(piece)
		return nil
	})
	if err := errors.Join(w.Content(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	for _, n := range pieces[:len(pieces)-1] {
		if n < 4096-8 {
			t.Errorf("pieces of %d octets", pieces)
			break
		}
	}
	w = fasttransfer.NewWriter(&alone)
	if err := errors.Join(w.Content(m), w.Flush()); err != nil || !bytes.Equal(whole.Bytes(), alone.Bytes()) {
		t.Error(err, whole.Len(), alone.Len())
	}
	full := errors.New("full")
	w = fasttransfer.NewSplitWriter(4096, func([]byte) error { return full })
	if err := w.Content(m); !errors.Is(err, full) {
		t.Error(err)
	}
}
