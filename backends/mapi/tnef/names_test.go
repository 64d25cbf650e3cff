package tnef

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestNamesOfNone: the name of a property that no store could take (MS-OXCDATA §2.6.1) is told as wrong, so that a message
// with it is not one that can be written nowhere.
func TestNamesOfNone(t *testing.T) {
	set := mapi.PSInternetHeaders
	for _, c := range []struct {
		name mapi.Named
		good bool
	}{
		{mapi.Named{Set: set, Name: strings.Repeat("x", 126)}, true},
		{mapi.Named{Set: set, Name: strings.Repeat("x", 127)}, false},
		{mapi.Named{Set: set, Name: strings.Repeat("💡", 64)}, false},
		{mapi.Named{Set: set, Name: "a\x00b"}, false},
		{mapi.Named{LID: 1}, true},
	} {
		m := &mapi.Message{}
		m.Set(c.name, mapi.Integer32(1))
		_, err := Decode(bytes.NewReader(encode(t, m, Options{})), int64(len(encode(t, m, Options{}))))
		if is := err == nil; is != c.good || !is && !errors.Is(err, ErrMalformed) {
			t.Errorf("%.20q: %v", c.name.Name, err)
		}
	}
	m := &mapi.Message{}
	m.Set(mapi.Named{LID: 0x0101_0101}, mapi.Integer32(1))
	stream := bytes.ReplaceAll(encode(t, m, Options{}), []byte{1, 1, 1, 1}, make([]byte, 4)) // neither set nor number
	if _, err := Decode(bytes.NewReader(stream), int64(len(stream))); !errors.Is(err, ErrMalformed) {
		t.Errorf("no name: %v", err)
	}
}
