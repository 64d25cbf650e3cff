package mime

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// files are the parts of a message that are files, with their types, names and contents.
func files(t *testing.T, message []byte) (list []string) {
	t.Helper()
	for leaf := range parse(t, message).Leaves() {
		if leaf.Filename() == "" {
			continue
		}
		octets, err := io.ReadAll(leaf.Decoded())
		if err != nil {
			t.Fatal(err)
		}
		if len(octets) > 100 {
			octets = fmt.Appendf(nil, "%d octets", len(octets))
		}
		list = append(list, fmt.Sprintf("%s %s %s %s", leaf.Type.Value, leaf.Disposition.Value, leaf.Filename(), octets))
	}
	return list
}

// TestOLE: of an OLE object there is the file in it, or its picture beside it; what shows nothing is what it was.
func TestOLE(t *testing.T) {
	for file, want := range map[string][]string{
		"ole-file.bin":    {"text/plain attachment a.txt Ahoy"},
		"ole-picture.bin": {"image/emf attachment drawing.emf emf", "application/octet-stream attachment drawing 2560 octets"},
		"":                {"application/octet-stream attachment drawing none"},
	} {
		octets := []byte("none")
		if file != "" {
			var err error
			if octets, err = os.ReadFile("testdata/" + file); err != nil {
				t.Fatal(err)
			}
		}
		a := &mapi.Attachment{Data: mapi.ContentOf(octets)}
		a.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
		a.Set(mapi.PidTagAttachLongFilename, mapi.String("drawing"))
		m := &mapi.Message{Attachments: []*mapi.Attachment{a}}
		m.Set(mapi.PidTagBody, mapi.String("text"))
		if got := files(t, write(t, Writer{}, m)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
		if written := string(write(t, Writer{Form: Form{UUEncode: true}}, m)); strings.Count(written, "begin 644") != len(want) {
			t.Errorf("%s in UUENCODE: %s", file, written)
		}
	}
}

// withPictures is RTF with some pictures in it, as an object has it.
func withPictures(pictures ...string) mapi.Binary {
	document := `{\rtf1\ansi one ` + strings.Join(pictures, " and ") + ` two}`
	n := len(document)
	return append([]byte{byte(n + 12), byte((n + 12) >> 8), byte((n + 12) >> 16), byte((n + 12) >> 24), byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 'M', 'E', 'L', 'A', 0, 0, 0, 0}, document...)
}

// TestRTFPictures: the pictures of RTF are parts, which the HTML shows where mail programs can.
func TestRTFPictures(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagRtfCompressed, withPictures(`{\pict\pngblip }`, `{\pict\pngblip 41484f59}`, `{\pict\emfblip 454d46}`))
	written := write(t, Writer{}, m)
	want := []string{"image/png inline image001.png AHOY", "image/emf attachment image002.emf EMF"}
	if got := files(t, written); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%q, want %q in\n%s", got, want, written)
	}
	var html []byte
	id := ""
	for leaf := range parse(t, written).Leaves() {
		if leaf.Is("text/html") {
			html, _ = io.ReadAll(leaf.Decoded())
		}
		if leaf.Is("image/png") {
			id = strings.Trim(leaf.Field("Content-ID"), " <>")
		}
	}
	if id == "" || bytes.Count(html, []byte("cid:")) != 1 || !bytes.Contains(html, []byte("cid:"+id)) {
		t.Errorf("%q does not show %s", html, id)
	}
	if got := files(t, write(t, Writer{Form: Form{Body: BodyText}}, m)); len(got) != 2 || !strings.Contains(got[0], " attachment ") {
		t.Errorf("beside text alone: %q", got)
	}
}

// TestRTFPicturesBounded: more pictures than are held leave the RTF as a file.
func TestRTFPicturesBounded(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagRtfCompressed, withPictures(strings.Repeat(`{\pict\pngblip 41}`, picturesMost+1)))
	written := write(t, Writer{}, m)
	if !bytes.Contains(written, []byte("filename=message.rtf")) || bytes.Count(written, []byte("\r\nContent-ID:")) != picturesMost {
		t.Errorf("the RTF is not there: %s", written)
	}
}

// TestRTFPicturesOfMany: the pictures of all objects in a message together have a bound, and one that is not whole is left out.
func TestRTFPicturesOfMany(t *testing.T) {
	shared := &planning{pictures: pictureOctetsMost - 5}
	for _, c := range []struct {
		octets  []string
		held    string
		unshown bool
	}{{[]string{"abc", "def", "gh"}, "", true}, {[]string{"abc", "d"}, "abcd", false}, {[]string{"ab", "c"}, "", true}, {[]string{"e"}, "e", false}} {
		p := &planner{pictureIDs: map[int]string{}, shared: shared}
		w := &pictureWriter{pictures: &pictures{planner: p}}
		for _, octets := range c.octets {
			if n, err := w.Write([]byte(octets)); n != len(octets) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if string(w.octets) != c.held || p.unshown != c.unshown || (len(p.pictures) == 1) == c.unshown {
			t.Errorf("%q: %q is held, unshown: %t, %d pictures", c.octets, w.octets, p.unshown, len(p.pictures))
		}
	}
}

// TestOLEInMemory: what is in OLE objects is in memory only while it is read.
func TestOLEInMemory(t *testing.T) {
	octets, err := os.ReadFile("testdata/ole-file.bin")
	if err != nil {
		t.Fatal(err)
	}
	opened, closed := 0, 0
	a := &mapi.Attachment{Data: mapi.Content{Size: int64(len(octets)), Open: func() (io.ReadCloser, error) {
		opened++
		return counted{bytes.NewReader(octets), &closed}, nil
	}}}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
	shown := shownOf(a)[0]
	planned := opened
	r, err := shown.Data.Open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "Ahoy" || err != nil || shown.Data.Size != 4 {
		t.Errorf("%q, %v", got, err)
	}
	if opened != planned+1 || closed != opened {
		t.Errorf("it was opened %d times when it was planned, and %d in all, of which %d were closed", planned, opened, closed)
	}
}

type counted struct {
	io.Reader
	closed *int
}

func (c counted) Close() error {
	*c.closed++
	return nil
}
