package mime

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// namedInSources are the properties that the package knows by name.
func namedInSources(t *testing.T) (all []mapi.Definition) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, regexp.MustCompile(`\bPid(Tag|Lid|Name)\w+`).FindAllString(string(octets), -1)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if d, known := mapi.LookupName(name); known {
			all = append(all, d)
		}
	}
	if len(all) < 100 {
		t.Fatalf("%d properties", len(all))
	}
	return all
}

// oddValues are of all kinds of types.
var oddValues = []mapi.Value{
	mapi.Integer32(-1), mapi.Time(1), mapi.ErrorCode(1), mapi.String("x\r\n\x00y"),
	mapi.String8{},
	mapi.Binary("x\r\n"), mapi.Object("x"),
	mapi.Multiple[mapi.String]{"x", "y"},
	mapi.Multiple[mapi.Binary]{{1}},
	mapi.Streamed{Of: mapi.PtypString, Content: mapi.ContentOf([]byte("x\x00y\x00"))},
	mapi.Streamed{Of: mapi.PtypBinary, Content: mapi.ContentOf([]byte("x"))},
}

// TestOddTypes: whatever types a stranger gives the properties of a message, it is written.
func TestOddTypes(t *testing.T) {
	const base = "From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<img src=cid:x>\r\n" +
		"--b\r\nContent-Type: image/png; name=a.png\r\nContent-ID: <x>\r\n\r\npng\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ntext\r\n--b--\r\n"
	writers := []Writer{{Kept: true}, {Form: Form{UUEncode: true}}, {}, {Form: Form{RichText: true}}, {Form: Form{Body: BodyBoth, Charset: "us-ascii"}}}
	n := 0
	for several := range slices.Chunk(namedInSources(t), 8) {
		for _, v := range oddValues {
			m := convert(t, Reader{}, []byte(base))
			if n++; n/len(oddValues)%2 == 0 {
				m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Schedule.Meeting.Request"))
			}
			file, message := m.Attachments[0], m.Attachments[1]
			for _, p := range []*mapi.Properties{&m.Properties, &m.Recipients[0].Properties, &file.Properties, &message.Properties, &message.Embedded.Properties} {
				for _, d := range several {
					p.Set(d.Key(), v)
				}
			}
			w := writers[n%len(writers)]
			if err := w.Write(io.Discard, m); err != nil {
				t.Errorf("%s to %s as %s, %+v: %v", several[0].Name, several[len(several)-1].Name, v.Type(), w, err)
			}
		}
	}
}
