package mime

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestUUEncodeOpened: the files in a text are attachments, and the text is without them.
func TestUUEncodeOpened(t *testing.T) {
	file := "begin 644 a b.txt\r\n#86)C\r\n`\r\nend\r\n"
	for name, c := range map[string]struct {
		text, want string
		files      int
	}{
		"one":                  {"before\r\n\r\n" + file + "behind\r\n", "before\r\nbehind\r\n", 1},
		"two":                  {file + "\r\n" + file, "", 2},
		"no empty line":        {"before\r\n" + file, "before\r\n", 1},
		"not ended":            {"begin 644 a\r\n#86)C\r\n", "begin 644 a\r\n#86)C\r\n", 0},
		"no line of no octets": {"begin 644 a\r\n#86)C\r\nend\r\n", "begin 644 a\r\n#86)C\r\nend\r\n", 0},
		"not a mode":           {"begin 9x4 a\r\n#86)C\r\n`\r\nend\r\n", "begin 9x4 a\r\n#86)C\r\n`\r\nend\r\n", 0},
		"prose":                {"begin 644 times\r\nby hand\r\nend\r\n", "begin 644 times\r\nby hand\r\nend\r\n", 0},
		"again":                {"begin 644 x\r\n" + file, "begin 644 x\r\n", 1},
		"a long line":          {strings.Repeat("x", 5000) + "\r\n" + file, strings.Repeat("x", 5000) + "\r\n", 1},
	} {
		m := convert(t, Reader{UUEncode: true}, []byte("Subject: x\r\n\r\n"+c.text))
		if got := m.Text(mapi.PidTagBody); got != c.want || len(m.Attachments) != c.files {
			t.Errorf("%s: %q and %d files, want %q and %d", name, got, len(m.Attachments), c.want, c.files)
		}
		for _, a := range m.Attachments {
			if octets := octetsOf(t, a.Data); string(octets) != "abc" || a.Text(mapi.PidTagAttachLongFilename) != "a b.txt" || a.Text(mapi.PidTagAttachMimeTag) != "text/plain" {
				t.Errorf("%s: %q in %q", name, octets, a.Text(mapi.PidTagAttachLongFilename))
			}
		}
		if m := convert(t, Reader{}, []byte("Subject: x\r\n\r\n"+c.text)); len(m.Attachments) > 0 {
			t.Errorf("%s: opened, and nobody has asked for it", name)
		}
	}
}

// TestUUEncodeStable: what was written so, and is read and written again, is the same.
func TestUUEncodeStable(t *testing.T) {
	m := convert(t, Reader{}, sent(t, "07-mixed-two-attachments"))
	w := Writer{Form: Form{UUEncode: true}}
	first := write(t, w, m)
	again := convert(t, Reader{UUEncode: true, Skeleton: true}, first)
	if len(again.Attachments) != len(m.Attachments) || again.Has(mapi.PidTagMimeSkeleton) {
		t.Fatalf("%d attachments, of %d", len(again.Attachments), len(m.Attachments))
	}
	for i, a := range m.Attachments {
		if !bytes.Equal(octetsOf(t, a.Data), octetsOf(t, again.Attachments[i].Data)) {
			t.Errorf("attachment %d has other octets", i)
		}
	}
	if second := write(t, w, again); !bytes.Equal(first, second) {
		t.Errorf("%s\nhas become\n%s", first, second)
	}
}
