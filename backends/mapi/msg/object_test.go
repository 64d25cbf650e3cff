package msg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
)

// object is a compound file with one stream.
func object(name string, octets []byte) []byte {
	d := newDir()
	d.streams[name] = octets
	return compound(d, 9)
}

func words(all ...uint32) (b []byte) {
	for _, v := range all {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// native is what Object Packager makes of a file.
func native(name, file string) []byte {
	data := []byte("\x02\x00Label\x00C:\\docs\\" + name + "\x00\x00\x00\x03\x00")
	data = append(append(data, words(4)...), "C:\\\x00"...)
	data = append(append(data, words(uint32(len(file)))...), file...)
	return append(words(uint32(len(data))), data...)
}

func presentation(format uint32, data string) []byte {
	return append(words(0xFFFFFFFF, format, 4, 1, 0xFFFFFFFF, 2, 0, 2540, 5080, uint32(len(data))), data...)
}

// dib is a bitmap of one pixel, of 24 bits.
var dib = string(words(40, 1, 1, 1|24<<16, 0, 4, 0, 0, 0, 0, 0x00ff00))

func TestReadObject(t *testing.T) {
	for name, c := range map[string]struct {
		octets []byte
		want   Object
	}{
		"a file":     {object("\x01Ole10Native", native("gr\xfc\xdfe.txt", "Ahoy")), Object{Name: "grüße.txt", Data: []byte("Ahoy"), Whole: true}},
		"a bitmap":   {object("\x01Ole10Native", append(words(4), "BM.."...)), Object{Type: "image/bmp", Data: []byte("BM.."), Whole: true}},
		"contents":   {object("Contents", []byte("\x89PNG\r\n\x1a\n")), Object{Type: "image/png", Data: []byte("\x89PNG\r\n\x1a\n")}},
		"enhanced":   {object("\x02OlePres001", presentation(14, "emf")), Object{Type: "image/emf", Data: []byte("emf")}},
		"a metafile": {object("\x02OlePres000", presentation(3, "wmf")), Object{Type: "image/wmf", Data: append(placeable(2540, 5080), "wmf"...)}},
		"a DIB":      {object("\x02OlePres000", presentation(8, dib)), Object{Type: "image/bmp", Data: append([]byte("BM\x3a\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00"), dib...)}},
	} {
		got, err := ReadObject(bytes.NewReader(c.octets), int64(len(c.octets)))
		if err != nil || got.Name != c.want.Name || got.Type != c.want.Type || !bytes.Equal(got.Data, c.want.Data) || got.Whole != c.want.Whole {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if head := placeable(2540, 5080); !bytes.Equal(head[6:16], []byte{0, 0, 0, 0, 0xA0, 5, 0x40, 11, 0xA0, 5}) || len(head) != 22 {
		t.Errorf("%x", head)
	}
	for name, octets := range map[string][]byte{
		"nothing": object("other", nil), "a link": object("\x01Ole10Native", append(words(8), "\x02\x00a\x00b\x00"...)), "cut off": object("\x02OlePres000", presentation(14, "emf")[:42]),
		"a format without a picture": object("\x02OlePres000", presentation(7, "x")),
	} {
		if got, err := ReadObject(bytes.NewReader(octets), int64(len(octets))); !errors.Is(err, ErrNothingShown) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := ReadObject(bytes.NewReader(nil), 0); err == nil {
		t.Error("nothing is an object")
	}
}

// TestObjectFiles: the objects for the tests of package mime are what is written here.
func TestObjectFiles(t *testing.T) {
	for file, want := range map[string][]byte{"ole-file.bin": object("\x01Ole10Native", native("a.txt", "Ahoy")), "ole-picture.bin": object("\x02OlePres000", presentation(14, "emf"))} {
		if got, err := os.ReadFile("../mime/testdata/" + file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// FuzzReadObject: whatever an object is, what it shows is no larger than it is but for a header.
func FuzzReadObject(f *testing.F) {
	f.Add(object("\x01Ole10Native", native("a", "b")))
	f.Add(object("\x02OlePres000", presentation(8, dib)))
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > fuzzMost {
			return
		}
		if o, err := ReadObject(bytes.NewReader(octets), int64(len(octets))); err == nil && len(o.Data) > len(octets)+22 {
			t.Errorf("%d octets of %d", len(o.Data), len(octets))
		}
	})
}
