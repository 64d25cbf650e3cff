package rtf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// vectors are the examples of MS-OXRTFCP §3: both ways.
var vectors = []struct{ name, compressed, text string }{
	{
		"simple",
		"2d 00 00 00 2b 00 00 00 4c 5a 46 75 f1 c5 c7 a7 03 00 0a 00 72 63 70 67 31 32 35 42 32 0a f3 20 68 65 6c 09 00 20 62 77 05 b0 6c 64 7d 0a 80 0f a0",
		"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
	},
	{
		"a reference that crosses the write position",
		"1a 00 00 00 1c 00 00 00 4c 5a 46 75 e2 d4 4b 51 41 00 04 20 57 58 59 5a 0d 6e 7d 01 0e b0",
		"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}",
	},
}

func decompress(stream []byte) (string, error) {
	d, err := NewDecompressor(bytes.NewReader(stream))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(d)
	return string(text), err
}

func compress(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	c := NewCompressor(&out)
	for rest := text; len(rest) > 0; {
		n := min(len(rest), 1+len(rest)%977)
		if _, err := c.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVectors(t *testing.T) {
	if len(preload) != 207 {
		t.Fatalf("the dictionary begins with %d octets", len(preload))
	}
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			stream := unhex(t, v.compressed)
			if text, err := decompress(stream); text != v.text || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			if got := compress(t, []byte(v.text)); !bytes.Equal(got, stream) {
				t.Errorf("compressed %x\n     want %x", got, stream)
			}
			d, err := NewDecompressor(iotest.OneByteReader(bytes.NewReader(stream)))
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(d, []byte(v.text)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestChecksum: the checksum of the first example, whole and in pieces.
func TestChecksum(t *testing.T) {
	var whole, pieces checksum
	stream := unhex(t, vectors[0].compressed)
	whole.add(stream[headerSize:])
	for _, c := range stream[headerSize:] {
		pieces.add([]byte{c})
	}
	if want := checksum(0xa7c7c5f1); whole != want || pieces != want {
		t.Errorf("%x, %x in pieces, want %x", whole, pieces, want)
	}
}

func TestUncompressed(t *testing.T) {
	text := "{\\rtf1\\ansi\\ansicpg1252\\pard test}"
	var out bytes.Buffer
	if err := WriteUncompressed(&out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if want := "2e 00 00 00 22 00 00 00 4d 45 4c 41 00 00 00 00"; !bytes.HasPrefix(out.Bytes(), unhex(t, want)) {
		t.Errorf("%x", out.Bytes())
	}
	if got, err := decompress(out.Bytes()); got != text || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// Some writers leave a checksum there, which says nothing.
	copy(out.Bytes()[12:], "\x20\xdf\x12\xce")
	if got, err := decompress(out.Bytes()); got != text || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// sample is RTF as it comes, of any length.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	pieces := []string{`\par `, `\b `, `\b0 `, "hello ", "world ", `{\*\htmltag84 <b>}`, `\'e4`, "\r\n", `\u8364?`, "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(pieces[r.IntN(len(pieces))])
		b.WriteByte(byte(r.IntN(256)))
	}
	return b.Bytes()[:n]
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 16, 17, 18, 207, 3888, 3889, 3890, 4095, 4096, 4097, 8192, 100_000} {
		text := sample(n)
		stream := compress(t, text)
		if got, err := decompress(stream); got != string(text) || err != nil {
			t.Errorf("%d octets: %d come back, %v", n, len(got), err)
		}
		if n > 4096 && len(stream) > n*9/10 {
			t.Errorf("%d octets become %d", n, len(stream))
		}
	}
	if stream := compress(t, bytes.Repeat([]byte("a"), 100_000)); len(stream) > 100_000/7 {
		t.Errorf("the same octet 100,000 times becomes %d", len(stream))
	}
}

func TestDamaged(t *testing.T) {
	text := sample(5000)
	whole := compress(t, text)
	with := func(change func(p []byte) []byte) []byte { return change(bytes.Clone(whole)) }
	put := func(at int, value uint32) []byte {
		return with(func(p []byte) []byte {
			binary.LittleEndian.PutUint32(p[at:], value)
			return p
		})
	}
	for _, c := range []struct {
		name   string
		stream []byte
		least  int
		err    error
	}{
		{"nothing", nil, 0, ErrTruncated},
		{"half a header", whole[:9], 0, ErrTruncated},
		{"a header alone", whole[:headerSize], 0, ErrTruncated},
		{"truncated", whole[:len(whole)/2], 2000, ErrTruncated},
		{"an octet is missing at the end", whole[:len(whole)-1], 5000, ErrTruncated},
		{"another type", put(8, 0x12345678), 0, ErrFormat},
		{"a size below the header's", put(0, 3), 0, ErrFormat},
		{"contents of 4 GiB announced", put(0, 1<<32-1), 5000, ErrTruncated},
		{"a text of 4 GiB announced", put(4, 1<<32-1), 5000, ErrSize},
		{"a text of nothing announced", put(4, 0), 0, ErrSize},
		{"a text that is longer than announced", put(4, 4999), 4999, ErrSize},
		{"another checksum", put(12, 1), 5000, ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decompress(c.stream)
			if !errors.Is(err, c.err) || len(got) < c.least || !strings.HasPrefix(string(text), got) {
				t.Errorf("%d octets, %v; want at least %d, %v", len(got), err, c.least, c.err)
			}
		})
	}
	if got, err := decompress(append(bytes.Clone(whole), "padding"...)); err != nil || got != string(text) {
		t.Errorf("with padding: %v", err)
	}
	failing := io.MultiReader(bytes.NewReader(whole[:1000]), iotest.ErrReader(io.ErrClosedPipe))
	d, err := NewDecompressor(failing)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(d); !errors.Is(err, io.ErrClosedPipe) || len(got) < 1000 {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// TestDamagedDocument: what is wrong with a stream is told by who reads the document in it, behind what it shows.
func TestDamagedDocument(t *testing.T) {
	stream := compress(t, []byte(`{\rtf1 text}`))
	stream[12]++
	d, err := NewDecompressor(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	document, err := Open(d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := document.WriteText(&text); !errors.Is(err, ErrChecksum) || text.String() != "text\r\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
}

// TestNoEndMarker: RAWSIZE says it, too.
func TestNoEndMarker(t *testing.T) {
	stream := unhex(t, vectors[1].compressed)
	stream = stream[:len(stream)-2]
	binary.LittleEndian.PutUint32(stream, uint32(len(stream)-4))
	var sum checksum
	sum.add(stream[headerSize:])
	binary.LittleEndian.PutUint32(stream[12:], uint32(sum))
	if text, err := decompress(stream); text != vectors[1].text || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func FuzzDecompress(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.compressed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > fuzzMost {
			return
		}
		text, err := decompress(stream)
		if len(text) > 9*len(stream) {
			t.Fatalf("%d octets became %d", len(stream), len(text))
		}
		if err == nil && text != "" {
			if again, err := decompress(compress(t, []byte(text))); again != text || err != nil {
				t.Fatalf("%q is not read back: %v", text, err)
			}
		}
	})
}
