package tempfolder

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const child = "TEMPFOLDER_CHILD"

// TestMain is also the process that gets killed: it makes a folder, says where, and waits.
func TestMain(m *testing.M) {
	root := os.Getenv(child)
	if root == "" {
		os.Exit(m.Run())
	}
	f, err := New(root, "check")
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	if err := os.MkdirAll(filepath.Join(f.Path, "deep", "er"), 0o700); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(f.Path)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// owner starts a process that has a folder.
func owner(t *testing.T, root string) (folder string, process *exec.Cmd) {
	t.Helper()
	process = exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), child+"="+root)
	if _, err := process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if folder = strings.TrimSpace(line); err != nil || filepath.Dir(folder) != root {
		t.Fatalf("the process says %q: %v", line, err)
	}
	return folder, process
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestKilled: the folder of a process that was killed is gone when the next one is made, that of a
// living one is not.
func TestKilled(t *testing.T) {
	root := t.TempDir()
	dead, process := owner(t, root)
	living, _ := owner(t, root)
	own, err := New(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if !isThere(dead) || !isThere(living) {
		t.Fatal("a living process's folder was removed")
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	if !isThere(dead) {
		t.Fatal("the process was not killed: it has cleaned up")
	}
	next, err := New(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if isThere(dead) {
		t.Error("the folder of a killed process stays")
	}
	if !isThere(living) || !isThere(own.Path) {
		t.Error("a living process's folder was removed")
	}
	for _, f := range []*Folder{own, next, own} {
		if err := f.Remove(); err != nil || isThere(f.Path) {
			t.Errorf("remove: %v", err)
		}
	}
}

// TestNotOurs: what somebody else has made stays, whatever its name.
func TestNotOurs(t *testing.T) {
	old := time.Now().Add(-2 * abandoned)
	folder := func(files ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func(t *testing.T, path string) {
		t.Helper()
		folder(lockName)(t, path)
		if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // that others may look in is the case
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, path string) {
		t.Helper()
		target := filepath.Join(t.TempDir(), "dipylon-1")
		folder(lockName)(t, target)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	lockIsLink := func(t *testing.T, path string) {
		t.Helper()
		folder("other")(t, path)
		if err := os.Symlink("other", filepath.Join(path, lockName)); err != nil {
			t.Fatal(err)
		}
	}
	young := func(t *testing.T, path string) {
		t.Helper()
		folder()(t, path)
		if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, folder string
		make         func(*testing.T, string)
		stays        bool
	}{
		{"another name", "dipylon-notes", folder(lockName), true},
		{"no lock, and a file", "dipylon-12", folder("mine"), true},
		{"open to others", "dipylon-13", open, true},
		{"a symbolic link", "dipylon-14", link, true},
		{"the lock is a symbolic link", "dipylon-15", lockIsLink, true},
		{"just made", "dipylon-16", young, true},
		{"killed before it had its lock", "dipylon-17", folder(unlocked), false},
		{"killed before that", "dipylon-check-18", folder(), false},
		{"left", "dipylon-plugin-test-19", folder(lockName, "socket"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, c.folder)
			c.make(t, path)
			f, err := New(root, "check")
			if err != nil {
				t.Fatal(err)
			}
			if isThere(path) != c.stays {
				t.Errorf("it stays: %v, want %v", !c.stays, c.stays)
			}
			if err := f.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}
