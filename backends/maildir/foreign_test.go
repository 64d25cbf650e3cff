package maildir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
		syscall.Mkfifo(filepath.Join(box, "cur", "3.pipe"), 0o600),
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

// TestSizesAreKept counts how often foreign messages are read: once.
func TestSizesAreKept(t *testing.T) {
	w := newWorld(t, nil)
	box := w.box(anna)
	for n := range 20 {
		writeFile(t, filepath.Join(box, "cur", fmt.Sprintf("%d.x", n)), strings.Repeat("line\n", n))
	}
	opened := 0
	w.disk = &faultyDisk{fail: func(_ int, name, path string) error {
		if name == "open" && !strings.HasSuffix(path, sizesName) {
			opened++
		}
		return nil
	}}
	for _, c := range []struct {
		name  string
		do    func()
		reads int
	}{
		{"first", func() {}, 20},
		{"again", func() {}, 0},
		{"with one more", func() { writeFile(t, filepath.Join(box, "new", "99.x"), "x\n") }, 1},
		{"after flags have changed", func() { _ = os.Rename(filepath.Join(box, "cur", "3.x"), filepath.Join(box, "cur", "3.x:2,S")) }, 0},
		{"without the file of sizes", func() { _ = os.Remove(filepath.Join(box, sizesName)) }, 21},
		{"with a damaged one", func() {
			text, _ := os.ReadFile(filepath.Join(box, sizesName))
			text[len(text)/2] ^= 1
			writeFile(t, filepath.Join(box, sizesName), string(text))
		}, 21},
		{"with an empty one", func() { writeFile(t, filepath.Join(box, sizesName), "") }, 21},
	} {
		c.do()
		opened = 0
		entries := list(t, w.open(anna, ""))
		if opened != c.reads {
			t.Errorf("%s: %d messages were read, want %d", c.name, opened, c.reads)
		}
		for _, e := range entries[:20] {
			n := 0
			_, _ = fmt.Sscanf(string(e.ID), "%d.x", &n)
			if e.Size != int64(n*6) {
				t.Errorf("%s: %+v", c.name, e)
			}
		}
	}
	// What is gone is not kept for ever.
	for n := range 20 {
		_ = os.Remove(filepath.Join(box, "cur", fmt.Sprintf("%d.x", n)))
	}
	writeFile(t, filepath.Join(box, "cur", "200.x"), "x\n")
	_ = list(t, w.open(anna, ""))
	text, _ := os.ReadFile(filepath.Join(box, sizesName))
	if n := strings.Count(string(text), "\n"); n > 6 || strings.Contains(string(text), " 5.x\n") {
		t.Errorf("left:\n%s", text)
	}
}

// TestListGoesOnWhereItStopped: a listing that is given up keeps what it has learned.
func TestListGoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t, nil)
	for n := range 10 {
		writeFile(t, filepath.Join(w.box(anna), "cur", fmt.Sprintf("%d.x", n)), "line\n")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := w.open(anna, "")
	seen := 0
	for _, err := range m.List(ctx) {
		if seen++; seen == 5 {
			cancel()
		}
		if err != nil && (seen != 6 || !errors.Is(err, context.Canceled)) {
			t.Errorf("message %d: %v", seen, err)
		}
	}
	if seen != 6 {
		t.Errorf("%d messages were given", seen)
	}
	known, err := readSizes(disk{}, filepath.Join(w.box(anna), sizesName))
	if err != nil || len(known) != 5 {
		t.Errorf("%v, %v", known, err)
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

// otherProgram is another mail program in this mailbox: it delivers, reads, files and deletes
// until its input ends, and then says how many messages it has left there.
func otherProgram(box string) error {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := otherStep(box, n, random); err != nil {
			return err
		}
	}
}

// otherStep does one thing to one message that is not marked to be kept.
func otherStep(box string, n int, random *rand.Rand) error {
	if n%3 == 0 {
		tmp := filepath.Join(box, "tmp", fmt.Sprint("other", n))
		if err := os.WriteFile(tmp, []byte(strings.Repeat("A: b\n", 1+random.IntN(50))), 0o600); err != nil {
			return err
		}
		return os.Rename(tmp, filepath.Join(box, "new", fmt.Sprintf("%d.P%dQ%d.other", time.Now().Unix(), os.Getpid(), n)))
	}
	part := []string{"new", "cur"}[random.IntN(2)]
	files, err := os.ReadDir(filepath.Join(box, part))
	if err != nil || len(files) == 0 {
		return err
	}
	name := files[random.IntN(len(files))].Name()
	from := filepath.Join(box, part, name)
	if strings.HasSuffix(baseOf(name), ".other") && (len(files) > 60 || random.IntN(3) == 0) {
		err = os.Remove(from)
	} else {
		flags := []string{"", "S", "F", "FS", "RS"}[random.IntN(5)]
		err = os.Rename(from, filepath.Join(box, "cur", baseOf(name)+":2,"+flags))
	}
	if isGone(err) { // the session was quicker
		return nil
	}
	return err
}

// TestAnotherProgram runs sessions while two other processes work in the same mailbox. What
// nobody removes is in every list, can be fetched whatever it is called by then, and is
// gone only when a session has removed it.
func TestAnotherProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	box := w.box(anna)
	for range 2 {
		cmd := helper("othermail", box)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the other program: %v", err)
			}
		})
	}
	kept := map[string]bool{}
	for round := range 25 {
		subject := fmt.Sprintf("Subject: %d\r\n\r\n", round)
		w.take(fmt.Sprint(round), subject, anna)
		kept[returnPath+subject] = true
		w.session(kept, round%5 == 4)
	}
}

// session lists, fetches everything, and, if told so, removes one of the messages that must
// be there.
func (w *world) session(kept map[string]bool, remove bool) {
	w.t.Helper()
	m := w.open(anna, "")
	defer m.Close()
	found := map[string]backends.MessageID{}
	for _, e := range list(w.t, m) {
		text, err := tryFetch(w.t.Context(), m, backends.FetchRequest{ID: e.ID})
		switch {
		case err == nil && int64(len(text)) != e.Size:
			w.t.Errorf("%s is listed with %d octets and has %d", e.ID, e.Size, len(text))
		case err == nil && kept[text]:
			found[text] = e.ID
		case err != nil && (backends.KindOf(err) != backends.NotFound || !strings.HasSuffix(string(e.ID), ".other")):
			w.t.Errorf("%s: %v", e.ID, err)
		}
	}
	if len(found) != len(kept) {
		w.t.Errorf("%d of %d messages are in the list", len(found), len(kept))
	}
	for text, id := range found {
		if !remove {
			break
		}
		if r, err := m.Remove(w.t.Context(), []backends.MessageID{id}, backends.DisposalRemove); err != nil || r[0].Failure != nil {
			w.t.Errorf("Remove: %+v, %v", r, err)
		}
		if _, err := m.Fetch(w.t.Context(), backends.FetchRequest{ID: id}); backends.KindOf(err) != backends.NotFound {
			w.t.Errorf("%s was removed: %v", id, err)
		}
		delete(kept, text)
		remove = false
	}
}

// deliverForever delivers to three accounts and says so, until it is killed.
func deliverForever(root string) error {
	s := New()
	ctx := context.Background()
	if err := s.Configure(ctx, backends.Settings{Raw: []byte(fmt.Sprintf(`{"root": %q}`, root))}); err != nil {
		return err
	}
	for n := 0; ; n++ {
		key := fmt.Sprintf("%d.%d", os.Getpid(), n)
		content := "Subject: " + key + "\r\n\r\n" + strings.Repeat("0123456789\r\n", n*100%30_000) + "end\r\n"
		verdicts, err := s.Deliver(ctx, backends.Delivery{Key: key, ReversePath: "sender@far.example", Recipients: []string{anna, ben, cyrus}}, strings.NewReader(content))
		if err != nil {
			return err
		}
		for _, v := range verdicts {
			if v.Failure != nil {
				return v.Failure
			}
		}
		fmt.Println(key)
	}
}

// TestKilled kills a delivering process again and again: what it has acknowledged is there,
// and nothing that is there is a part.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	acknowledged := map[string]bool{}
	for round := range 8 {
		cmd := helper("deliver", w.root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acknowledged[lines.Text()] = true
			if n == 3+round {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
	}
	if len(acknowledged) < 8*4 {
		t.Fatalf("only %d deliveries", len(acknowledged))
	}
	for _, user := range []string{anna, ben, cyrus} {
		have := map[string]int{}
		for _, text := range w.messages(user) {
			if !strings.HasSuffix(text, "\r\nend\r\n") {
				t.Errorf("%s has a part: %.80q…", user, text)
			}
			_, after, _ := strings.Cut(text, "Subject: ")
			key, _, _ := strings.Cut(after, "\r\n")
			have[key]++
		}
		for key := range acknowledged {
			if have[key] != 1 {
				t.Errorf("%s has %s %d times", user, key, have[key])
			}
		}
	}
}

func FuzzSizes(f *testing.F) {
	f.Add([]byte(sizesHead + "12 1.x\n-1 2.x y\n" + sumLine([]byte("12 1.x\n-1 2.x y\n"))))
	f.Add([]byte(sizesHead + sumLine(nil)))
	f.Add([]byte(sizesHead))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parseSizes(text)
		if err != nil {
			return
		}
		for id, n := range known {
			if id == "" || n < noMessage {
				t.Errorf("%q: %d", id, n)
			}
		}
	})
}
