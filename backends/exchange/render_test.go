package exchange

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestBounded: what a server gives of a message ends, whatever it gives.
func TestBounded(t *testing.T) {
	for size, want := range map[int]error{0: nil, 99: nil, 100: nil, 101: errEndless, 1000: errEndless} {
		octets, err := io.ReadAll(newBounded(bytes.NewReader(make([]byte, size)), 100))
		if !errors.Is(err, want) || err == nil && len(octets) != size || len(octets) > 100 {
			t.Errorf("%d octets: %d, %v", size, len(octets), err)
		}
	}
}

// TestEndless: a message that does not end is one that cannot be rendered, and costs nothing but itself.
func TestEndless(t *testing.T) {
	most := int64(messageMost)
	_, err := io.Copy(io.Discard, newBounded(zeros{}, most))
	if !errors.Is(err, errEndless) || backends.KindOf(err) != backends.Poison {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
