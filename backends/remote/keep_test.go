package remote

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func TestKeep(t *testing.T) {
	for name, size := range map[string]int{"nothing": 0, "small": 100, "just in memory": keepInMemory, "in a file": keepInMemory + 1, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			dir, want := t.TempDir(), bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
			kept, err := Keep(dir, iotest.DataErrReader(bytes.NewReader(want)))
			if err != nil || kept.Size != int64(size) {
				t.Fatalf("%+v, %v", kept, err)
			}
			for range 2 {
				if got, err := io.ReadAll(kept.Reader()); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets came back of %d, %v", len(got), size, err)
				}
			}
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
			empty(t, dir)
		})
	}
}

// TestKeepFails: a message that does not come to its end is not kept, whatever it failed with.
func TestKeepFails(t *testing.T) {
	busy := backends.Fail(backends.Throttled, "busy")
	for name, reason := range map[string]error{"ended too soon": io.ErrUnexpectedEOF, "a failure with a kind": busy} {
		for _, size := range []int64{0, 100, keepInMemory, keepInMemory + 1, 1 << 20} {
			dir := t.TempDir()
			kept, err := Keep(dir, io.MultiReader(io.LimitReader(endless{}, size), iotest.ErrReader(reason)))
			want := backends.Temporary
			if reason == busy {
				want = backends.Throttled
			}
			if kept != nil || !errors.Is(err, reason) || backends.KindOf(err) != want {
				t.Errorf("%s after %d octets: %v, %v", name, size, kept, err)
			}
			empty(t, dir)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestKeepSweeps: a file that a killed process has left goes, and nothing else does.
func TestKeepSweeps(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * leftAfter)
	stays := map[string]bool{"message-12": false, "message-13": true, "message-of-mine": true, "accounts": true}
	for name := range stays {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "message-13" {
			continue // somebody's who is writing it
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := Keep(dir, bytes.NewReader(make([]byte, keepInMemory+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for name, want := range stays {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v, want it to stay: %v", name, err, want)
		}
	}
}
