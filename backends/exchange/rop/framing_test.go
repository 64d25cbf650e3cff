package rop

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCompressionExamples has the octets of MS-XCA §3.1, whose plain LZ77 is the encoding of MS-OXCRPC.
func TestCompressionExamples(t *testing.T) {
	for _, test := range []struct{ name, plain, compressed string }{
		{"literals", "abcdefghijklmnopqrstuvwxyz", "3f000000" + hex.EncodeToString([]byte("abcdefghijklmnopqrstuvwxyz"))},
		{"a match", strings.Repeat("abc", 100), "ffffff1f" + "616263" + "1700" + "0f" + "ff" + "2601"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hex.EncodeToString(compress([]byte(test.plain))); got != test.compressed {
				t.Errorf("%s, want %s", got, test.compressed)
			}
			if got, err := decompress(unhexed(t, test.compressed), len(test.plain)); err != nil || string(got) != test.plain {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestCompressionRoundTrip has matches of each form of length, near and far.
func TestCompressionRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		octets := make([]byte, n)
		for i := range octets {
			octets[i] = byte(r.Uint32())
		}
		return octets
	}
	for _, n := range []int{0, 1, 2, 3, 9, 10, 11, 24, 25, 26, 40, 279, 280, 281, 1000} {
		far := random(window)
		for _, plain := range [][]byte{
			bytes.Repeat([]byte{'a'}, n), random(n),
			append(append(random(n), random(50)...), random(n)[:n/2]...),
			append(far[:window:window], append(far[:min(n, window)], far[100:min(100+n, window)]...)...),
		} {
			got, err := decompress(compress(plain), len(plain))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d octets: %v", len(plain), err)
			}
		}
	}
}

func TestCompressionIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, octets string
		size         int
	}{
		{"nothing", "", 1},
		{"half a word of flags", "0000", 1},
		{"no literal", "00000000", 1},
		{"half a match", "00000080" + "61" + "00", 10},
		{"a match before the beginning", "00000040" + "61" + "0800", 10},
		{"a match beyond the size", "00000040" + "61" + "0000", 3},
		{"no nibble", "00000040" + "61" + "0700", 100},
		{"no octet of a length", "00000040" + "61" + "0700" + "0f", 100},
		{"no 16 bits of a length", "00000040" + "61" + "0700" + "0f" + "ff" + "01", 1000},
		{"fewer octets than announced", "00000000" + "6162", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := decompress(unhexed(t, test.octets), test.size); !errors.Is(err, errCompressed) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
}

// TestFraming writes payloads in each way, and reads them again.
func TestFraming(t *testing.T) {
	for _, plain := range []string{"", "short", strings.Repeat("long and boring. ", 1000)} {
		for _, f := range []Framing{{}, {Compress: true}, {Obfuscate: true}, {true, true}} {
			octets, err := f.Append([]byte("before"), []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Payloads(octets[len("before"):])
			if err != nil || len(got) != 1 || string(got[0]) != plain {
				t.Errorf("%+v: %q, %v", f, got, err)
			}
			if f.Compress && len(plain) > compressLeast && len(octets) > len(plain)/2 {
				t.Errorf("%d octets are %d", len(plain), len(octets))
			}
			if f.Obfuscate && bytes.Contains(octets, []byte("short")) {
				t.Error("it can be read")
			}
		}
	}
	if _, err := (Framing{}).Append(nil, make([]byte, PayloadMost+1)); err == nil {
		t.Error("a payload that is too large was written")
	}
}

// TestRecordedPayloads undoes what was done to requests, and writes buffers that were only obfuscated again.
func TestRecordedPayloads(t *testing.T) {
	undone := 0
	for _, file := range recordings(t) {
		for _, x := range recorded(t, file) {
			if x.Request.Payload == "" || x.Request.buffer(t) == nil {
				continue
			}
			buffer := x.Request.buffer(t)
			payloads, err := Payloads(buffer)
			if err != nil || len(payloads) != 1 || !bytes.Equal(payloads[0], unhexed(t, x.Request.Payload)) {
				t.Errorf("%s: %x, %v", x.Name, payloads, err)
				continue
			}
			undone++
			h := readHeader(buffer)
			if h.flags&headerCompressed != 0 {
				continue
			}
			again, err := Framing{Obfuscate: true}.Append(nil, payloads[0])
			if err != nil || !bytes.Equal(again, buffer) {
				t.Errorf("%s: %x, %v, want %x", x.Name, again, err, buffer)
			}
		}
	}
	if undone != 5 {
		t.Errorf("%d payloads were undone", undone)
	}
}

func TestPayloadsAreRefused(t *testing.T) {
	bomb := bytes.Repeat(unhexed(t, "00000100"+"0d00"+"ffff"+"ffffff7f"+"61"+"0700"+"0f"+"ff"+"fbff"+"0000"), MemoryMost/0xFFFF+2)
	for _, test := range []struct {
		name   string
		octets []byte
		want   string
	}{
		{"nothing", nil, "where an RPC_HEADER_EXT has 8"},
		{"half a header", unhexed(t, "00000400"), "where an RPC_HEADER_EXT has 8"},
		{"another version", unhexed(t, "0100040000000000"), "version 1"},
		{"too short", unhexed(t, "0000040001000100"), "1 octets is announced and 0 are there"},
		{"two sizes", unhexed(t, "000004000100020061"), "the sizes 1 and 2"},
		{"no last", unhexed(t, "0000000000000000"), "where an RPC_HEADER_EXT has 8"},
		{"damaged", unhexed(t, "000005000100020061"), errCompressed.Error()},
		{"too much in all", bomb, "more than 4194304 octets"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Payloads(test.octets); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	if _, err := Payloads(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
