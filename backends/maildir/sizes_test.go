package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
