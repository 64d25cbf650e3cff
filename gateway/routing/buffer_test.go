package routing

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"
	"testing/iotest"
)

// hash is the digest of a message as the engine gives it.
func digestOf(t *testing.T, most int, message []byte, slow bool) ([sha256.Size]byte, []byte) {
	t.Helper()
	o := Options{MemoryMost: most, TempDir: t.TempDir(), createTemp: createTemp}
	var body io.Reader = bytes.NewReader(message)
	if slow {
		body = iotest.OneByteReader(body)
	}
	h, err := o.buffer(body)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if h.size != int64(len(message)) {
		t.Errorf("size %d, want %d", h.size, len(message))
	}
	for _, from := range []int64{0, 1, int64(most), int64(most) + 1, h.size} {
		if from > h.size {
			continue
		}
		if got, err := io.ReadAll(h.reader(from)); err != nil || !bytes.Equal(got, message[from:]) {
			t.Errorf("from %d: %q, %v", from, got, err)
		}
	}
	got, err := io.ReadAll(h.reader(0))
	if err != nil {
		t.Fatal(err)
	}
	return h.digest, got
}

func TestDigest(t *testing.T) {
	for _, message := range []string{"", "x", "Received: y\r\n\tz\r\n\r\nBody\r\n"} {
		for _, most := range []int{1, 7, 1000} {
			for _, slow := range []bool{false, true} {
				if got, _ := digestOf(t, most, []byte(message), slow); got != sha256.Sum256([]byte(message)) {
					t.Errorf("memory %d, slow %v: not the digest of %q", most, slow, message)
				}
			}
		}
	}
}

func FuzzHold(f *testing.F) {
	f.Add([]byte("Received: x\r\n\ty\r\nSubject: z\r\n\r\nBody\r\n"), 5)
	f.Add([]byte("Received: x"), 100)
	f.Add([]byte("\r\n"), 1)
	f.Fuzz(func(t *testing.T, message []byte, most int) {
		most = most&0xff + 1
		whole, got := digestOf(t, most, message, false)
		if !bytes.Equal(got, message) {
			t.Fatalf("%q came back as %q", message, got)
		}
		if again, _ := digestOf(t, most+1, message, true); again != whole {
			t.Fatal("the digest depends on how the octets come")
		}
	})
}
