package msg

import (
	"bytes"
	"encoding/binary"
	"fmt"
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

// TestFilesOfPeers has what the collections of those who read such files have: more recipients and attachments than ten, in their order
// (HiraokaHyperTools/msgreader), a FAT that is longer than the header has room for (the same, and mdsteele/rust-cfb), texts in an old code page with HTML in
// another one (apache/poi), and contacts of both kinds of texts.
func TestFilesOfPeers(t *testing.T) {
	many := &mapi.Message{}
	for i := range 200 {
		r := &mapi.Recipient{}
		r.Set(mapi.PidTagDisplayName, mapi.String(fmt.Sprint("recipient ", i)))
		a := &mapi.Attachment{Data: mapi.ContentOf([]byte{byte(i)})}
		a.Set(mapi.PidTagAttachLongFilename, mapi.String(fmt.Sprint("file ", i)))
		many.Recipients, many.Attachments = append(many.Recipients, r), append(many.Attachments, a)
	}
	large := letter()
	large.Attachments[0].Data = mapi.ContentOf(bytes.Repeat([]byte("large "), 18<<20/6))
	old := &mapi.Message{}
	old.Set(mapi.PidTagMessageCodepage, mapi.Integer32(1251))
	old.Set(mapi.PidTagInternetCodepage, mapi.Integer32(65001))
	old.Set(mapi.PidTagSubject, mapi.String8{Octets: "\xCF\xF0\xE8\xE2\xE5\xF2"})
	old.Set(mapi.PidTagHtml, mapi.Binary("<p>Привет"))
	contact := &mapi.Message{}
	contact.Set(mapi.PidTagMessageCodepage, mapi.Integer32(932))
	contact.Set(mapi.PidTagMessageClass, mapi.String8{Octets: "IPM.Contact"})
	contact.Set(mapi.PidTagDisplayName, mapi.String8{Octets: "\x93\xfa\x96\x7b"})
	contact.Set(mapi.PidLidEmail1EmailAddress, mapi.String8{Octets: "ada@sakes.example"})
	for name, m := range map[string]*mapi.Message{"many": many, "large": large, "old": old, "contact": contact} {
		got := readWhole(t, compound(encode(t, m), 9)).Message
		for i, r := range m.Recipients {
			if got.Recipients[i].Text(mapi.PidTagDisplayName) != r.Text(mapi.PidTagDisplayName) {
				t.Errorf("%s: recipient %d is %q", name, i, got.Recipients[i].Text(mapi.PidTagDisplayName))
			}
		}
		for i, a := range m.Attachments {
			if theirs := got.Attachments[i]; theirs.Text(mapi.PidTagAttachLongFilename) != a.Text(mapi.PidTagAttachLongFilename) ||
				!a.Data.IsZero() && !bytes.Equal(whole(t, theirs.Data), whole(t, a.Data)) {
				t.Errorf("%s: attachment %d is %q", name, i, theirs.Text(mapi.PidTagAttachLongFilename))
			}
		}
		switch name {
		case "old":
			if got.Text(mapi.PidTagSubject) != "Привет" || string(got.Bytes(mapi.PidTagHtml)) != "<p>Привет" {
				t.Errorf("%q", got.Text(mapi.PidTagSubject))
			}
		case "contact":
			if got.Text(mapi.PidTagDisplayName) != "日本" || got.Text(mapi.PidLidEmail1EmailAddress) != "ada@sakes.example" {
				t.Errorf("%q", got.Text(mapi.PidTagDisplayName))
			}
		}
	}
}
