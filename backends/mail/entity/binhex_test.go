package entity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// crc is CRC-16/XMODEM, of which "123456789" gives 0x31C3: the checksum of BinHex by another way than the reader's.
func crc(octets []byte) uint16 {
	sum := uint16(0)
	for _, c := range octets {
		sum ^= uint16(c) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

// binHexed writes a file in BinHex, RFC 1741 appendix A.
func binHexed(name string, data, resources []byte) string {
	be := binary.BigEndian
	head := append([]byte{byte(len(name))}, name...)
	head = append(head, "\x00TEXTttxt\x01\x00"...)
	head = be.AppendUint32(be.AppendUint32(head, uint32(len(data))), uint32(len(resources)))
	var all []byte
	for _, piece := range [][]byte{head, data, resources} {
		all = be.AppendUint16(append(all, piece...), crc(piece))
	}
	var packed []byte
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && n < 255 && all[i+n] == all[i] {
			n++
		}
		packed = append(packed, all[i])
		if all[i] == binHexRepeats {
			packed = append(packed, 0)
			n = 1
		} else if n > 3 {
			packed = append(packed, binHexRepeats, byte(n))
		} else {
			n = 1
		}
		i += n
	}
	var out strings.Builder
	out.WriteString("Some text.\r\n(This file must be converted with BinHex 4.0)\r\n\r\n:")
	bits, have, column := uint(0), 0, 1
	put := func(six uint) {
		out.WriteByte(binHexCharacters[six&63])
		if column++; column%64 == 0 {
			out.WriteString("\r\n")
		}
	}
	for _, c := range packed {
		bits, have = bits<<8|uint(c), have+8
		for ; have >= 6; have -= 6 {
			put(bits >> (have - 6))
		}
	}
	if have > 0 {
		put(bits << (6 - have))
	}
	return out.String() + ":\r\n"
}

func TestBinHex(t *testing.T) {
	if crc([]byte("123456789")) != 0x31C3 {
		t.Fatal("the checksum of the test is wrong")
	}
	for _, data := range [][]byte{nil, []byte("Ahoy"), bytes.Repeat([]byte{0x90, 0x90, 7, 7, 7, 7, 7}, 300), make([]byte, 1000)} {
		for _, resources := range [][]byte{nil, []byte("resources")} {
			file := binHexed("a file", data, resources)
			b, err := OpenBinHex(iotest.OneByteReader(strings.NewReader(file)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			more, err2 := b.Resources(100)
			if !bytes.Equal(got, data) || !bytes.Equal(more, resources) || errors.Join(err, err2) != nil || b.Name != "a file" || b.Type != "TEXT" || b.Creator != "ttxt" || b.Flags != 0x100 {
				t.Errorf("%q and %q are %q and %q of %+v: %v, %v", data, resources, got, more, b, err, err2)
			}
			colon := strings.Index(file, ":")
			for i := 0; i < len(file)-3; i += 1 + len(file)/100 { // without an end, or with one other character
				changed := file[:i] + "!" + file[i+1:]
				if i > colon && file[i] != '!' && file[i] != '\r' && file[i] != '\n' && wholeBinHex(changed) && i < len(file)-4 {
					t.Errorf("%d of %d octets are wrong, and are read as a file", i, len(file))
				}
				if wholeBinHex(file[:i]) && i < len(file)-4 {
					t.Errorf("%d of %d octets are read as a file", i, len(file))
				}
			}
		}
	}
	for _, none := range []string{"", "text", ":", "(This file must be converted with BinHex 4.0)\r\n", strings.Repeat("with BinHex 4\n", 10_000), "with BinHex 4\n:" + strings.Repeat("!", 100)} {
		if _, err := OpenBinHex(strings.NewReader(none)); !errors.Is(err, ErrBinHex) {
			t.Errorf("%.20q: %v", none, err)
		}
	}
}

func wholeBinHex(file string) bool {
	b, err := OpenBinHex(strings.NewReader(file))
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, b)
	_, err2 := b.Resources(100)
	return errors.Join(err, err2) == nil
}

// FuzzBinHex: whatever comes is read to an end, and no more than was announced.
func FuzzBinHex(f *testing.F) {
	f.Add(binHexed("a", []byte("data"), []byte("resources")))
	f.Add(binHexed("b", make([]byte, 300), nil))
	f.Fuzz(func(t *testing.T, file string) {
		b, err := OpenBinHex(strings.NewReader(file))
		if err != nil {
			return
		}
		if n, err := io.Copy(io.Discard, b); n > b.DataSize || err == nil && n != b.DataSize {
			t.Errorf("%d of %d octets, %v", n, b.DataSize, err)
		}
		_, _ = b.Resources(1 << 10)
	})
}

// TestBinHexBomb: a small file may be as good as empty, and a large one does not grow without bound.
func TestBinHexBomb(t *testing.T) {
	for size, want := range map[int]error{binHexSpare: nil, 1 << 20: ErrBinHex} {
		b, err := OpenBinHex(strings.NewReader(binHexed("a.bin", make([]byte, size), nil)))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, b)
		if !errors.Is(err, want) || n > int64(size) || want != nil && n > 2*binHexSpare {
			t.Errorf("of %d octets there are %d, %v", size, n, err)
		}
	}
}
