//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// seeds is how many cuts a rule is tried with.
const seeds = 60

// world is a disk and its names, in the words of a test.
type world struct {
	*disk
	t *testing.T
}

func (w world) made(parent *node, name string, mode uint32) *node {
	w.t.Helper()
	n, errno := w.create(parent.ino, name, mode)
	if errno != 0 {
		w.t.Fatal(errno)
	}
	return n
}

func (w world) must(errno syscall.Errno) {
	w.t.Helper()
	if errno != 0 {
		w.t.Fatal(errno)
	}
}

// content is what a file has after a cut; false: it is not there.
func (w world) content(name string) (string, bool) {
	w.t.Helper()
	n := w.nodes[w.nodes[rootIno].names[name]]
	if n == nil {
		return "", false
	}
	out := make([]byte, n.size)
	if _, errno := w.read(n, out, 0); errno != 0 {
		w.t.Fatal(errno)
	}
	return string(out), true
}

// TestCut has each rule with many seeds: what must never happen, and what has to happen sometimes.
func TestCut(t *testing.T) {
	old, fresh := strings.Repeat("o", 3*pageSize), strings.Repeat("n", 3*pageSize)
	for _, test := range []struct {
		name string
		do   func(w world, root *node)
		// may is what there may be afterwards; sometimes is what has to be among it.
		may       func(content string, there bool) bool
		sometimes []func(content string, there bool) bool
	}{
		{
			name: "synced, and its folder",
			do: func(w world, root *node) {
				f := w.made(root, "f", 0o600)
				w.must(w.write(f, []byte(old), 0))
				w.must(w.sync(f))
				w.must(w.sync(root))
			},
			may: is(old),
		},
		{
			name: "synced, and not its folder",
			do: func(w world, root *node) {
				f := w.made(root, "f", 0o600)
				w.must(w.write(f, []byte(old), 0))
				w.must(w.sync(f))
			},
			may:       either(is(old), gone),
			sometimes: all(is(old), gone),
		},
		{
			name: "its folder, and not itself",
			do: func(w world, root *node) {
				f := w.made(root, "f", 0o600)
				w.must(w.sync(root))
				w.must(w.write(f, []byte(old), 0))
			},
			may:       func(_ string, there bool) bool { return there },
			sometimes: all(is(old), is(""), holed),
		},
		{
			name: "written over and not synced",
			do: func(w world, root *node) {
				f := durable(w, root, old)
				w.must(w.write(f, []byte(fresh), 0))
			},
			may:       func(content string, _ bool) bool { return len(content) == len(old) },
			sometimes: all(is(old), is(fresh), torn),
		},
		{
			name: "renamed over another one, and not synced",
			do: func(w world, root *node) {
				durable(w, root, old)
				f := w.made(root, "new", 0o600)
				w.must(w.write(f, []byte(fresh), 0))
				w.must(w.rename(rootIno, "new", rootIno, "f", false))
			},
			may:       either(is(old), is(fresh)),
			sometimes: all(is(old), is(fresh)),
		},
		{
			name: "renamed with a synced folder",
			do: func(w world, root *node) {
				f := w.made(root, "new", 0o600)
				w.must(w.write(f, []byte(fresh), 0))
				w.must(w.sync(f))
				w.must(w.rename(rootIno, "new", rootIno, "f", false))
				w.must(w.sync(root))
			},
			may: is(fresh),
		},
		{
			name: "removed and not synced",
			do: func(w world, root *node) {
				durable(w, root, old)
				w.must(w.remove(rootIno, "f", false))
			},
			may:       either(is(old), gone),
			sometimes: all(is(old), gone),
		},
		{
			name: "a sync failed, the next did not",
			do: func(w world, root *node) {
				f := durable(w, root, old)
				w.must(w.write(f, []byte(fresh), 0))
				w.syncs = 1
				if w.sync(f) != syscall.EIO {
					w.t.Error("the sync did not fail")
				}
				w.syncs = 0
				w.must(w.sync(f))
			},
			may: is(old),
		},
		{
			name: "cut short and not synced",
			do: func(w world, root *node) {
				f := durable(w, root, old)
				w.must(w.truncate(f, 10))
			},
			may:       either(is(old), is(old[:10])),
			sometimes: all(is(old), is(old[:10])),
		},
		{
			name: "cut short, written again and synced",
			do: func(w world, root *node) {
				f := durable(w, root, old)
				w.must(w.truncate(f, 10))
				w.must(w.write(f, []byte("n"), 2*pageSize))
				w.must(w.sync(f))
			},
			may: is(old[:10] + strings.Repeat("\x00", 2*pageSize-10) + "n"),
		},
		{
			name: "syncs do nothing",
			do: func(w world, root *node) {
				w.ignore = true
				durable(w, root, old)
			},
			may:       func(string, bool) bool { return true },
			sometimes: all(is(old), gone, holed),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := make([]bool, len(test.sometimes))
			for seed := range uint64(seeds) {
				w := world{newDisk(t.TempDir(), seed), t}
				test.do(w, w.nodes[rootIno])
				if err := w.cut(); err != nil {
					t.Fatal(err)
				}
				content, there := w.content("f")
				if !test.may(content, there) {
					t.Fatalf("seed %d: %d octets, there: %t", seed, len(content), there)
				}
				for i, f := range test.sometimes {
					seen[i] = seen[i] || f(content, there)
				}
			}
			if i := slices.Index(seen, false); i >= 0 {
				t.Errorf("case %d did not come in %d cuts", i, seeds)
			}
		})
	}
}

// durable is a file that is on the disk.
func durable(w world, root *node, content string) *node {
	f := w.made(root, "f", 0o600)
	w.must(w.write(f, []byte(content), 0))
	w.must(w.sync(f))
	w.must(w.sync(root))
	return f
}

type check = func(content string, there bool) bool

func all(checks ...check) []check { return checks }

func is(want string) check {
	return func(content string, there bool) bool { return there && content == want }
}

func gone(_ string, there bool) bool { return !there }

func either(a, b check) check {
	return func(content string, there bool) bool { return a(content, there) || b(content, there) }
}

// holed has nothing in front of something.
func holed(content string, _ bool) bool {
	return strings.HasPrefix(content, "\x00") && strings.Trim(content, "\x00") != ""
}

// torn has both kinds within a page, divided where sectors are.
func torn(content string, _ bool) bool {
	for part := range slices.Chunk([]byte(content), pageSize) {
		if bytes.ContainsRune(part, 'o') && bytes.ContainsRune(part, 'n') {
			return !slices.ContainsFunc(slices.Collect(slices.Chunk(part, sectorSize)), func(sector []byte) bool {
				return bytes.ContainsRune(sector, 'o') && bytes.ContainsRune(sector, 'n')
			})
		}
	}
	return false
}

// TestSameSeed is that a seed decides everything.
func TestSameSeed(t *testing.T) {
	result := func() string {
		w := world{newDisk(t.TempDir(), 7), t}
		f := durable(w, w.nodes[rootIno], strings.Repeat("o", 64*pageSize))
		w.must(w.write(f, bytes.Repeat([]byte("n"), 64*pageSize), 0))
		if err := w.cut(); err != nil {
			t.Fatal(err)
		}
		content, _ := w.content("f")
		return content
	}
	if first, second := result(), result(); first != second {
		t.Error("the same cut has lost something else")
	}
}

// TestManyFiles: a disk has more files than a process may have open.
func TestManyFiles(t *testing.T) {
	w := world{newDisk(t.TempDir(), 1), t}
	root := w.nodes[rootIno]
	before := openFiles(t)
	for i := range openMost + 20 {
		n := w.made(root, fmt.Sprint(i), syscall.S_IFREG|0o600)
		w.must(w.write(n, fmt.Append(nil, "content ", i), 0))
		w.must(w.sync(n))
	}
	w.must(w.sync(root))
	if more := openFiles(t) - before; more > openMost {
		t.Errorf("%d files are open", more)
	}
	if err := w.cut(); err != nil {
		t.Fatal(err)
	}
	for i := range openMost + 20 {
		if got, _ := w.content(fmt.Sprint(i)); got != fmt.Sprint("content ", i) {
			t.Errorf("file %d has %q", i, got)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
