package msg

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestOddFiles has what files in the wild have that readers stumble over: the letter is read all the same.
func TestOddFiles(t *testing.T) {
	le := binary.LittleEndian
	entries := func(o []byte) []byte { return o[sectorOf(o, directoryAt):] }
	same := func(o []byte) []byte { return o }
	none := func(*dir) {}
	for _, c := range []struct {
		name string // and who was seen to stumble
		root func(*dir)
		file func([]byte) []byte
	}{
		{"a FAT that does not say that it is one (mdsteele/rust-cfb#30)", none, func(o []byte) []byte {
			fat := sectorOf(o, firstFATAt)
			for i := range 128 {
				if le.Uint32(o[fat+4*i:]) == fatSector {
					le.PutUint32(o[fat+4*i:], freeSector)
				}
			}
			return o
		}},
		{"values without an entry among the properties (bbottema/outlook-message-parser#28)", func(d *dir) {
			d.streams["__substg1.0_8009101F-00000001"] = octets(mapi.String("stray"))
			d.streams["__substg1.0_8009101F"] = []byte{10, 0, 0, 0}
		}, same},
		{"streams and storages of others", func(d *dir) {
			d.streams["\x05SummaryInformation"] = []byte("summary")
			d.storage("ObjectPool").streams["\x01Ole"] = []byte("ole")
		}, same},
		{"names in other case", func(d *dir) {
			for name, octets := range d.streams {
				if strings.HasPrefix(name, "__substg") {
					delete(d.streams, name)
					d.streams[strings.ToUpper(name)] = octets
				}
			}
		}, same},
		{"sizes with garbage in the upper half (MS-CFB §2.6.1, version 3)", none, func(o []byte) []byte {
			for e := entries(o); len(e) >= entrySize && e[66] != 0; e = e[entrySize:] {
				if e[66] == 2 {
					le.PutUint32(e[124:], 0xCCCC_CCCC)
				}
			}
			return o
		}},
		{"no end mark behind a DIFAT that is not there", none, func(o []byte) []byte { le.PutUint32(o[difatAt:], freeSector); return o }},
		{"a count of the directory's sectors in version 3", none, func(o []byte) []byte { le.PutUint32(o[40:], 7); return o }},
		{"a root of another name", none, func(o []byte) []byte { copy(entries(o), "R\x00\x00\x00"); le.PutUint16(entries(o)[64:], 4); return o }},
		{"octets behind the last sector", none, func(o []byte) []byte { return append(o, "\r\nbehind"...) }},
		{"a text with half a character behind it", func(d *dir) { d.streams["__substg1.0_1000001F"] = append(d.streams["__substg1.0_1000001F"], 0) }, same},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := encode(t, letter())
			c.root(root)
			octets := c.file(compound(root, 9))
			f, err := Read(bytes.NewReader(octets), int64(len(octets)))
			if err != nil {
				t.Fatal(err)
			}
			want := letter()
			if got := f.Message; got.Text(mapi.PidTagSubject) != want.Text(mapi.PidTagSubject) || strings.TrimRight(got.Text(mapi.PidTagBody), "\ufffd") != want.Text(mapi.PidTagBody) ||
				len(got.Recipients) != len(want.Recipients) || len(got.Attachments) != len(want.Attachments) {
				t.Errorf("%q, %d recipients, %d attachments, problems %v", got.Text(mapi.PidTagSubject), len(got.Recipients), len(got.Attachments), f.Problems)
			}
			readAll(t, f.Message, int64(len(octets)))
		})
	}
}
