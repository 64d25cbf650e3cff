package maildir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// box is a mailbox's folder; its folders are made.
func (w *world) box(user string) string {
	w.t.Helper()
	a, err := parseAddress(user)
	if err != nil {
		w.t.Fatal(err)
	}
	b := w.use.boxes.of(a)
	if err := b.make(); err != nil {
		w.t.Fatal(err)
	}
	return b.dir
}

// TestForeignFiles lists and fetches what other programs may have put into a mailbox.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text, want string }{
		{"no sizes", "new/1.x", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"CRLF", "new/1.x", "A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"},
		{"mixed", "cur/1.x:2,S", "A: b\r\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"no last line end", "new/1.x", "A: b\n\nc", "A: b\r\n\r\nc\r\n"},
		{"lone CRs", "new/1.x", "A: b\n\na\rb\r\r\n", "A: b\r\n\r\na b \r\n"},
		{"nothing", "new/1.x", "", ""},
		{"right sizes", "cur/1.x,S=8,W=11:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"right sizes, no last line end", "cur/1.x,S=7,W=9:2,", "A: b\n\nc", "A: b\r\n\r\nc\r\n"},
		{"S too small", "cur/1.x,S=6,W=8:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"S too large", "cur/1.x,S=9,W=11:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"W absurd", "cur/1.x,S=8,W=5:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"W absurd, too", "cur/1.x,S=8,W=5000:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"only S", "cur/1.x,S=8", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"no time", "cur/message.eml:2,", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
		{"octets of all kinds in the name", "cur/1.\xff \n,S=x:2,", "A: b\n", "A: b\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			box := w.box(anna)
			writeFile(t, filepath.Join(box, c.file), c.text)
			for _, when := range []string{"first", "again"} {
				if got := w.messages(anna); len(got) != 1 || got[0] != c.want {
					t.Errorf("%s: %q, want %q", when, got, c.want)
				}
			}
			if got := openWorld(t, w.root, nil).messages(anna); len(got) != 1 || got[0] != c.want {
				t.Errorf("after a restart: %q", got)
			}
		})
	}
}

// TestWhatIsNoMessage puts things into a folder that are not regular files.
func TestWhatIsNoMessage(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	box := w.box(anna)
	outside := filepath.Join(t.TempDir(), "secret")
	writeFile(t, outside, "Subject: secret\n\nnot yours\n")
	for _, err := range []error{
		os.Mkdir(filepath.Join(box, "cur", "1.dir"), 0o700),
		os.Symlink(outside, filepath.Join(box, "cur", "2.link")),
		os.Symlink(outside, filepath.Join(box, "cur", "2.M000042P7Q1_0123456789abcdefghijklmnop.host,S=26,W=29")),
		mkfifo(filepath.Join(box, "cur", "3.pipe"), 0o600),
		os.WriteFile(filepath.Join(box, "cur", ".hidden"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(box, "cur", ":2,S"), []byte("x"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m := w.open(anna, "")
	entries := list(t, m)
	if len(entries) != 2 { // the message, and the link whose name looks like one of ours
		t.Fatalf("%+v", entries)
	}
	for _, id := range []backends.MessageID{"1.dir", "2.link", "3.pipe", "2.M000042P7Q1_0123456789abcdefghijklmnop.host,S=26,W=29"} {
		if text, err := tryFetch(t.Context(), m, backends.FetchRequest{ID: id}); backends.KindOf(err) != backends.Poison {
			t.Errorf("%s: %q, %v", id, text, err)
		}
	}
	for _, id := range []backends.MessageID{"", ".hidden", "..", "../cur/2.link", "/etc/passwd", "a\x00b", "1.x:2,S", backends.MessageID(strings.Repeat("x", 300))} {
		if text, err := tryFetch(t.Context(), m, backends.FetchRequest{ID: id}); backends.KindOf(err) != backends.NotFound {
			t.Errorf("%q: %q, %v", id, text, err)
		}
		if r, err := m.Remove(t.Context(), []backends.MessageID{id}, backends.DisposalRemove); err != nil || r[0].Failure != nil {
			t.Errorf("Remove %q: %+v, %v", id, r, err)
		}
	}
	if _, err := os.Stat(filepath.Join(box, "cur", ".hidden")); err != nil {
		t.Error("Remove has removed a file that is no message")
	}
}

func TestOneBadMessageHidesNoOther(t *testing.T) {
	w := newWorld(t, nil)
	writeFile(t, filepath.Join(w.box(anna), "cur", "1.bad"), "A: b\n")
	writeFile(t, filepath.Join(w.box(anna), "cur", "2.good"), "A: b\n")
	w.disk = &faultyDisk{fail: func(_ int, name, path string) error {
		if name == "read" && strings.Contains(path, "1.bad") {
			return syscall.EIO
		}
		return nil
	}}
	m := w.open(anna, "")
	entries := list(t, m)
	if len(entries) != 2 || entries[0].Exact || entries[0].Size != -1 || !entries[1].Exact {
		t.Fatalf("%+v", entries)
	}
	if _, err := tryFetch(t.Context(), m, backends.FetchRequest{ID: entries[0].ID}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("%v", err)
	}
	if got := fetch(t, m, entries[1].ID); got != "A: b\r\n" {
		t.Errorf("%q", got)
	}
}

func TestOrder(t *testing.T) {
	w := newWorld(t, nil)
	box := w.box(anna)
	for _, name := range []string{
		"new/1000.M5.x", "cur/1000.M20.x:2,S", "cur/999.x:2,", "new/1000.M5.w", "cur/message.eml", "new/10000.x", "cur/1000.x",
	} {
		writeFile(t, filepath.Join(box, name), "A: b\n")
	}
	var got []string
	for _, e := range list(t, w.open(anna, "")) {
		got = append(got, string(e.ID))
		if strings.Contains(string(e.ID), "M20") != e.Seen {
			t.Errorf("%s: seen %v", e.ID, e.Seen)
		}
		if e.ID == "1000.M5.x" && !e.Received.Equal(time.Unix(1000, 5000)) || e.ID == "message.eml" && !e.Received.IsZero() {
			t.Errorf("%s came %v", e.ID, e.Received)
		}
	}
	if want := "message.eml 999.x 1000.x 1000.M5.w 1000.M5.x 1000.M20.x 10000.x"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", strings.Join(got, " "), want)
	}
}

// TestFileChangedBehindOurBack: Maildir files are never changed, until somebody does. The
// session that has promised another size fails (I3, I6); the next one is right.
func TestFileChangedBehindOurBack(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more\n")
			return errors.Join(err, f.Close())
		},
		"shorter": func(path string) error { return os.Truncate(path, 20) },
		"of the same length": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("\n", len(returnPath+hello)-7)), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.take("k", hello, anna)
			m := w.open(anna, "")
			e := list(t, m)[0]
			if err := change(filepath.Join(w.root, w.files(anna)[0])); err != nil {
				t.Fatal(err)
			}
			c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: e.ID})
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, c)
			_ = c.Close()
			if c.Size() >= 0 && (n == c.Size()) != (err == nil) {
				t.Errorf("%d octets of %d, %v", n, c.Size(), err)
			}
			if c.Size() < 0 && err != nil {
				t.Errorf("without a promise: %v", err)
			}
			_ = m.Close()
			_ = w.messages(anna) // compares sizes
		})
	}
}

// TestCutWhileReading: a file that becomes shorter while it is read is not taken for whole,
// whether a size was promised or not.
func TestCutWhileReading(t *testing.T) {
	text := "Subject: x\n\n" + strings.Repeat("0123456789\n", 50_000)
	for name, promise := range map[string]bool{"1.M5P7Q1_0123456789abcdefghijklmnop.host,S=550012,W=600014": true, "1.x": false} {
		w := newWorld(t, nil)
		path := filepath.Join(w.box(anna), "new", name)
		writeFile(t, path, text)
		m := w.open(anna, "")
		c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: backends.MessageID(name)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if (c.Size() == 600_014) != promise {
			t.Errorf("%s: size %d", name, c.Size())
		}
		if _, err := io.CopyN(io.Discard, c, 1000); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 100_000); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); backends.KindOf(err) != backends.Temporary {
			t.Errorf("%s: %v", name, err)
		}
	}
}
