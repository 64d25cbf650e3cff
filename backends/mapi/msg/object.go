package msg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// Object is what can be seen of an OLE object: a file that was put into a document, or a picture of what it looks like.
type Object struct {
	Name  string // of the file, "" for a picture
	Type  string // the media type of a picture, "" for a file
	Data  []byte
	Whole bool // there is nothing else in the object
}

// ErrNothingShown says that an object has neither a file nor a picture.
var ErrNothingShown = errors.New("the OLE object has no picture of itself")

// Streams of OLE objects, MS-OLEDS §2.3, without the control character that their names begin with: that is no part of the name of
// a [storage].
const (
	nativeStream       = "Ole10Native"
	contentsStream     = "CONTENTS"
	presentationPrefix = "OlePres00"
	presentationsMost  = 10
)

// ReadObject reads the OLE object in the first size octets of r, a compound file (MS-OLEDS §2.3). All of it is in memory: whoever
// reads what strangers sent bounds the size.
func ReadObject(r io.ReaderAt, size int64) (Object, error) {
	root, err := openCompound(r, size)
	if err != nil {
		return Object{}, err
	}
	if native := root.whole(nativeStream); len(native) > 4 {
		data := native[4:] // behind their number
		if o, is := packaged(data); is {
			return o, nil
		}
		if kind := pictureKind(data); kind != "" {
			return Object{Type: kind, Data: data, Whole: true}, nil
		}
	}
	if contents := root.whole(contentsStream); pictureKind(contents) != "" {
		return Object{Type: pictureKind(contents), Data: contents}, nil
	}
	for i := range presentationsMost {
		if o, is := presented(root.whole(presentationPrefix + string(rune('0'+i)))); is {
			return o, nil
		}
	}
	return Object{}, ErrNothingShown
}

// whole returns the octets of a stream, none if it is not there or cannot be read.
func (s *storage) whole(name string) []byte {
	c := s.content(name)
	if c.IsZero() {
		return nil
	}
	r, err := c.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	octets, err := io.ReadAll(io.LimitReader(r, c.Size))
	if err != nil {
		return nil
	}
	return octets
}

// Values of a packaged file, as Windows' Object Packager writes them.
const (
	packagedFile = 2
	packagedCopy = 3 // the file itself, and no link to it
)

// packaged reads a file that was put into a document by Windows' Object Packager: its label, its name, where it was, and its octets.
func packaged(data []byte) (Object, bool) {
	c := reading{data}
	kind := c.u16()
	label, name := c.text(), c.text()
	c.u16()
	copied := c.u16()
	c.take(int64(c.u32())) // where it was
	file := c.take(int64(c.u32()))
	if kind != packagedFile || copied != packagedCopy || c.octets == nil || name == "" && label == "" {
		return Object{}, false
	}
	if name == "" {
		name = label
	}
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	return Object{Name: name, Data: file, Whole: true}, true
}

// Clipboard formats, MS-OLEDS §1.3.5.1 and MS-WMF.
const (
	formatMetafile    = 3
	formatDIB         = 8
	formatEnhanced    = 14
	standardFormat    = 0xFFFFFFFF
	deviceHeaderSize  = 4
	himetricPerInch   = 2540
	placeablePerInch  = 1440
	placeableKey      = 0x9AC6CDD7
	bitmapFileHeader  = 14
	bitmapPaletteMost = 256
)

// presented reads an OLEPresentationStream, MS-OLEDS §2.3.4.
func presented(stream []byte) (Object, bool) {
	c := reading{stream}
	marker, format := c.u32(), c.u32()
	device := int64(c.u32())
	if marker != standardFormat || device < deviceHeaderSize {
		return Object{}, false
	}
	c.take(device - deviceHeaderSize)
	c.take(4 * 4) // aspect, index, flags, reserved
	width, height := c.u32(), c.u32()
	data := c.take(int64(c.u32()))
	if c.octets == nil || len(data) == 0 {
		return Object{}, false
	}
	switch format {
	case formatMetafile:
		return Object{Type: "image/wmf", Data: append(placeable(width, height), data...)}, true
	case formatEnhanced:
		return Object{Type: "image/emf", Data: data}, true
	case formatDIB:
		if head := bitmapHeader(data); head != nil {
			return Object{Type: "image/bmp", Data: append(head, data...)}, true
		}
	}
	return Object{}, false
}

// placeable returns the header that a metafile has in a file, with its size in hundredths of a millimetre. MS-WMF §2.3.2.3.
func placeable(width, height uint32) []byte {
	le := binary.LittleEndian
	side := func(himetric uint32) uint16 {
		return uint16(min(uint64(himetric)*placeablePerInch/himetricPerInch, 0x7FFF))
	}
	b := le.AppendUint32(nil, placeableKey)
	for _, v := range []uint16{0, 0, 0, side(width), side(height), placeablePerInch, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	sum := uint16(0)
	for i := 0; i < len(b); i += 2 {
		sum ^= le.Uint16(b[i:])
	}
	return le.AppendUint16(b, sum)
}

// bitmapHeader returns what stands in front of a bitmap in a file, nil if it is none. MS-WMF §2.2.2.9.
func bitmapHeader(dib []byte) []byte {
	c := reading{dib}
	size := int64(c.u32())
	c.take(4 + 4 + 2)
	depth := c.u16()
	compression := c.u32()
	c.take(4 + 4 + 4)
	colours := int64(c.u32())
	if c.octets == nil || size < 40 || size > int64(len(dib)) || colours > bitmapPaletteMost {
		return nil
	}
	if colours == 0 && depth <= 8 {
		colours = 1 << depth
	}
	if compression == 3 && size == 40 { // masks
		colours += 3
	}
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("BM"), uint32(bitmapFileHeader+len(dib)))
	return le.AppendUint32(append(b, 0, 0, 0, 0), uint32(bitmapFileHeader+size+4*colours))
}

// pictureKind returns the media type of a picture by how it begins, "" for what is none.
func pictureKind(data []byte) string {
	for begin, kind := range map[string]string{
		"BM": "image/bmp", "\x89PNG\r\n\x1a\n": "image/png", "\xff\xd8\xff": "image/jpeg", "GIF8": "image/gif", "\xd7\xcd\xc6\x9a": "image/wmf",
	} {
		if bytes.HasPrefix(data, []byte(begin)) {
			return kind
		}
	}
	return ""
}

// reading takes values from octets. When there are not enough of them, octets is nil.
type reading struct{ octets []byte }

func (r *reading) take(n int64) []byte {
	if n > int64(len(r.octets)) || r.octets == nil {
		r.octets = nil
		return nil
	}
	taken := r.octets[:n]
	r.octets = r.octets[n:]
	return taken
}

func (r *reading) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reading) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// text takes a text that ends with a NUL, in the code page of Western Europe.
func (r *reading) text() string {
	end := bytes.IndexByte(r.octets, 0)
	if end < 0 {
		r.octets = nil
		return ""
	}
	octets := r.take(int64(end))
	r.take(1)
	page, _ := codepage.Find(codepage.WesternEuro)
	text, err := page.Encoding.NewDecoder().Bytes(octets)
	if err != nil {
		return ""
	}
	return string(text)
}
