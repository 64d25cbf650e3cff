package header_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends/mail/header"
)

func TestMalformedHeader(t *testing.T) {
	for _, test := range []struct {
		name, in string
		line     int
	}{
		{"no colon", "From: a@b\r\nHello there\r\n\r\n", 2},
		{"no name", ": x\r\n", 1},
		{"continuation of nothing", " x\r\nFrom: a@b\r\n", 1},
		{"space in the name", "From: a@b\r\nB cc: x\r\n", 2},
		{"8-bit in the name", "B\xe4: x\r\n", 1},
		{"mbox line", "From alice Sun Nov 22 12:00:00 2026\r\n", 1},
		{"name alone, its colon folded away", "Bcc\r\n : x\r\n", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := header.Read(strings.NewReader(test.in), 1000)
			malformed, ok := errors.AsType[*header.MalformedError](err)
			if !ok || malformed.Line != test.line {
				t.Errorf("got %v, want line %d", err, test.line)
			}
		})
	}
}

func TestHeaderIsBounded(t *testing.T) {
	message := "A: " + strings.Repeat("x", 95) + "\r\n\r\nBody\r\n" // 100 octets and the empty line
	for most, want := range map[int64]error{102: nil, 101: header.ErrTooLarge, 50: header.ErrTooLarge} {
		_, size, err := header.Read(strings.NewReader(message), most)
		if !errors.Is(err, want) || (err == nil && size != 102) {
			t.Errorf("bound %d: %d, %v", most, size, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("A: "), endlessly{})
	if _, _, err := header.Read(endless, header.Most); !errors.Is(err, header.ErrTooLarge) {
		t.Errorf("endless header: %v", err)
	}
}

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestReadError(t *testing.T) {
	boom := errors.New("boom")
	if _, _, err := header.Read(io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(boom)), 100); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

// FuzzRead: what is read is what there was, to the octet.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"A: b\r\n c\r\n\r\nBody", "A:b\n\n", "\r\n", "A: b", " x\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		h, size, err := header.Read(bytes.NewReader(message), 4096)
		if err != nil {
			return
		}
		again, err := io.ReadAll(h.Reader())
		if err != nil || !bytes.Equal(again, message[:size]) || h.Size() != size {
			t.Fatalf("%q was read as %q (%d octets), %v", message[:size], again, h.Size(), err)
		}
	})
}

func TestCutField(t *testing.T) {
	for in, want := range map[string]string{
		"A: b\r\nC: d": "A: b\r\n", "A: b\r\n c\r\n\td\r\nE: f\r\n": "A: b\r\n c\r\n\td\r\n", "A: b": "A: b",
		"\r\n x\r\n": "\r\n", "\n x": "\n", "A: b\n": "A: b\n", "": "",
	} {
		if field, rest := header.CutField([]byte(in)); string(field) != want || string(field)+string(rest) != in {
			t.Errorf("%q: got %q and %q", in, field, rest)
		}
	}
}
