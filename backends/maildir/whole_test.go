//go:build unix

package maildir

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestWholeFiles: a message that is one of several and whose size is known is all of a file at which nobody has looked. What
// another program has made of that file meanwhile shows when it is read, as it does for a message that is asked for alone.
func TestWholeFiles(t *testing.T) {
	ours := func(_ *testing.T, w *world) { w.take("k", hello, anna) }
	others := func(t *testing.T, w *world) {
		writeFile(t, filepath.Join(w.box(anna), "cur", "1.x:2,S"), "Subject: x\n\nhello\n")
	}
	same := func(*testing.T, string) {}
	for _, test := range []struct {
		name    string
		arrange func(*testing.T, *world)
		change  func(*testing.T, string)
		unsized bool // no size is told any more once somebody has looked
		more    string
		err     error
	}{
		{"ours", ours, same, false, "", nil},
		{"another program's", others, same, false, "", nil},
		{"ours, appended to", ours, lengthen, true, "more\r\n", nil}, // its name tells that
		{"another program's, appended to", others, lengthen, false, "more\r\n", backends.Fail(backends.Temporary, "")},
		{"ours, a pipe", ours, pipe, true, "", backends.Fail(backends.Poison, "")},
		{"another program's, a pipe", others, pipe, true, "", backends.Fail(backends.Poison, "")},
	} {
		for _, way := range []string{"alone", "read", "size first"} {
			t.Run(test.name+", "+way, func(t *testing.T) {
				w := newWorld(t, nil)
				test.arrange(t, w)
				m := w.open(anna, "")
				entry := list(t, m)[0]
				before := fetch(t, w.open(anna, ""), entry.ID)
				path := onlyFile(t, w.box(anna))
				length := fileLength(t, path)
				test.change(t, path)
				want, size := before+test.more, entry.Size
				if test.unsized {
					size = -1
				}
				if backends.KindOf(test.err) == backends.Poison {
					want = ""
				}
				var text string
				var err error
				if way == "alone" {
					text, err = tryFetch(t.Context(), m, backends.FetchRequest{ID: entry.ID})
				} else {
					text, err = wholly(t, m, entry, length, way == "size first", size)
				}
				if backends.KindOf(err) != backends.KindOf(test.err) || text != want {
					t.Errorf("%q, %v; want %q, %v", text, err, want, backends.KindOf(test.err))
				}
			})
		}
	}
}

// wholly reads a message as one of several, where what is told of its file is checked.
func wholly(t *testing.T, m backends.Maildrop, entry backends.Entry, length int64, sizeFirst bool, size int64) (string, error) {
	t.Helper()
	contents, err := m.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: []backends.MessageID{entry.ID}})
	if err != nil {
		t.Fatal(err)
	}
	defer contents.Close()
	c, err := contents.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	whole := c.(backends.WholeFileContent)
	if file, told, expected := whole.WholeFile(); file == nil || told != entry.Size || expected >= 0 && expected != length {
		t.Errorf("%v, size %d, length %d", file, told, expected)
	}
	if sizeFirst {
		if got := c.Size(); got != size {
			t.Errorf("the size is %d, want %d", got, size)
		}
		if file, _, _ := whole.WholeFile(); file != nil {
			t.Error("a file that was looked at is handed over as one that was not")
		}
	}
	text, err := io.ReadAll(c)
	return string(text), err
}

func lengthen(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more\n"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

func pipe(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// onlyFile is the path of the one message of a mailbox.
func onlyFile(t *testing.T, box string) string {
	t.Helper()
	var found []string
	for _, dir := range []string{"new", "cur"} {
		some, _ := filepath.Glob(filepath.Join(box, dir, "*"))
		found = append(found, some...)
	}
	if len(found) != 1 {
		t.Fatalf("%d messages: %s", len(found), strings.Join(found, ", "))
	}
	return found[0]
}

func fileLength(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
