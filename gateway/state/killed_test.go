//go:build linux

package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// copyMark as the first argument makes the test binary a process that makes a backup, or restores one.
const copyMark = "copy-for-a-test"

func copyingChild(args []string) {
	o := Options{Log: zerolog.Nop(), Folder: args[1]}
	var err error
	if args[0] == "backup" {
		err = Backup(context.Background(), o, args[2], nil)
	} else {
		_, err = Restore(context.Background(), o, args[2], time.Now(), nil)
	}
	fmt.Println("done", err)
}

// begun starts such a process, and ends it by kill -9 when it has begun to copy.
func begun(t *testing.T, what, folder, file, where string, meanwhile func()) {
	t.Helper()
	process := exec.Command(os.Args[0], copyMark, what, folder, file)
	var said strings.Builder
	process.Stdout = &said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer process.Wait() //nolint:errcheck // it was killed
	defer process.Process.Kill()
	for deadline := time.Now().Add(30 * time.Second); len(left(t, where)) == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("it does not begin: %s", &said)
		}
	}
	meanwhile()
}

// left are the folders of copies under way, or of killed ones.
func left(t *testing.T, where string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(where, "dipylon-*", FileName))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestKilledCopies: what a backup or a restore leaves that was killed in its middle is gone after the next
// one, or the gateway's next start; what another one is still making stays.
func TestKilledCopies(t *testing.T) {
	t.Parallel()
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	fill := func(n int) {
		db, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := put(t.Context(), db, fmt.Sprint(i, strings.Repeat("x", 1<<20))); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill(64)
	copies := t.TempDir()
	good := filepath.Join(copies, "good.db")

	begun(t, "backup", o.Folder, filepath.Join(copies, "killed.db"), copies, func() {})
	if len(left(t, copies)) != 1 {
		t.Fatalf("the backup was not killed in its middle: %q", left(t, copies))
	}
	if _, err := os.Lstat(filepath.Join(copies, "killed.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a backup that was killed is there under its name")
	}
	if err := Backup(t.Context(), o, good, nil); err != nil {
		t.Fatal(err)
	}
	if now := left(t, copies); len(now) > 0 {
		t.Errorf("left of the killed backup: %q", now)
	}

	// A restore from a pipe whose writer waits is in its middle for as long as one likes.
	pipe := filepath.Join(copies, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	restored := func() {
		if _, err := Restore(t.Context(), o, good, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, next := range map[string]func(){"the next restore": restored, "the gateway's start": func() { fill(0) }} {
		begun(t, "restore", o.Folder, pipe, o.Folder, func() {
			living := left(t, o.Folder)
			next()
			if now := left(t, o.Folder); !slices.Equal(now, living) {
				t.Errorf("%s has touched a living process's %q, %q is there", name, living, now)
			}
		})
		if len(left(t, o.Folder)) != 1 {
			t.Fatalf("the restore was not killed in its middle")
		}
		next()
		if now := left(t, o.Folder); len(now) > 0 {
			t.Errorf("left of the killed restore after %s: %q", name, now)
		}
	}
}
