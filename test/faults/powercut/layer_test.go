//go:build linux

package main

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"
)

// TestMain has the test's binary be the program, or a writer, in the processes that the tests start: who uses
// a file system of its own can wait for itself.
func TestMain(m *testing.M) {
	switch os.Getenv("POWERCUT_TEST") {
	case "layer":
		main()
	case "writer":
		fmt.Println(write(os.Args[1], os.Args[2]))
	default:
		os.Exit(m.Run())
	}
}

// write acknowledges numbers, each on a line, once it believes that they are kept. It goes on until it is ended.
func write(how, path string) error {
	keep, err := keeper(how, path)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := keep(n); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func keeper(how, path string) (keep func(int) error, err error) {
	if setting, ok := strings.CutPrefix(how, "sqlite "); ok {
		db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous("+setting+")")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		if _, err := db.Exec("CREATE TABLE IF NOT EXISTS kept (n INTEGER, filling TEXT)"); err != nil {
			return nil, err
		}
		return func(n int) error {
			_, err := db.Exec("INSERT INTO kept VALUES (?, ?)", n, strings.Repeat("x", 300))
			return err
		}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := folder.Sync(); err != nil {
		return nil, err
	}
	return func(n int) error {
		_, err := fmt.Fprintln(f, n)
		if err == nil && how == "synced" {
			err = f.Sync()
		}
		return err
	}, nil
}

// kept is what a writer's file has: as much of it as is whole.
func kept(how, path string) (map[int]bool, error) {
	all := map[int]bool{}
	if strings.HasPrefix(how, "sqlite ") {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			return nil, err
		}
		defer db.Close()
		rows, err := db.Query("SELECT n FROM kept")
		if err != nil {
			return all, err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return all, err
			}
			all[n] = true
		}
		return all, rows.Err()
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(content)) {
		if n, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil {
			all[n] = true
		}
	}
	return all, nil
}

// running is the program, mounted.
type running struct {
	t   *testing.T
	at  string
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, seed int) *running {
	t.Helper()
	r := &running{t: t, at: t.TempDir()}
	cmd := exec.Command(os.Args[0], "--backing", t.TempDir(), "--mount", r.at, "--seed", fmt.Sprint(seed))
	cmd.Env, cmd.Stderr = append(os.Environ(), "POWERCUT_TEST=layer"), os.Stderr
	var err error
	if r.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	r.ask("settle") // it is mounted now
	return r
}

func (r *running) ask(command string) {
	r.t.Helper()
	fmt.Fprintln(r.in, command)
	if answer, err := r.out.ReadString('\n'); answer != "ok\n" {
		r.t.Fatalf("%s: %q, %v", command, answer, err)
	}
}

// acknowledged has a writer go on until it has acknowledged so many, cuts the power, and gives the last one.
func (r *running) acknowledged(how, path string, most int) (last int) {
	r.t.Helper()
	writer := exec.Command(os.Args[0], how, path)
	writer.Env = append(os.Environ(), "POWERCUT_TEST=writer")
	out, err := writer.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		r.t.Fatal(err)
	}
	last = -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // it tells why it ends: it was cut off
		}
		if last = n; last == most {
			r.ask("freeze")
			_ = writer.Process.Kill()
		}
	}
	_ = writer.Wait()
	r.ask("cut")
	if last < most {
		r.t.Fatalf("the writer has ended at %d", last)
	}
	return last
}

// TestPlanted plants a missing sync, which has to be found, and writers that sync, of which nothing may be lost.
func TestPlanted(t *testing.T) {
	for _, test := range []struct {
		how   string
		loses bool
	}{
		{"unsynced", true},
		{"synced", false},
		{"sqlite OFF", true},
		{"sqlite FULL", false},
	} {
		t.Run(test.how, func(t *testing.T) {
			t.Parallel()
			lost := 0
			for seed := range 4 {
				r := start(t, seed)
				path := filepath.Join(r.at, "file")
				last := r.acknowledged(test.how, path, 40+seed)
				there, err := kept(test.how, path)
				if err != nil && !test.loses {
					t.Error("seed", seed, err)
				}
				for n := range last + 1 {
					if !there[n] {
						lost++
					}
				}
			}
			t.Logf("%d lost", lost)
			if (lost > 0) != test.loses {
				t.Errorf("%d acknowledged ones are lost", lost)
			}
		})
	}
}

// TestErrors has writes and syncs fail as they are told.
func TestErrors(t *testing.T) {
	r := start(t, 1)
	f, err := os.Create(filepath.Join(r.at, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func() error {
		_, err := f.WriteString("content")
		return err
	}
	for _, test := range []struct {
		on, off string
		do      func() error
		want    error
	}{
		{"full on", "full off", write, syscall.ENOSPC},
		{"full on", "full off", func() error { return os.Mkdir(filepath.Join(r.at, "folder"), 0o700) }, syscall.ENOSPC},
		{"fail write 1", "fail write 0", write, syscall.EIO},
		{"fail sync 1", "fail sync 0", f.Sync, syscall.EIO},
	} {
		r.ask(test.on)
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.on, err)
		}
		r.ask(test.off)
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.off, err)
		}
	}
}

// TestMapping: what processes share by a mapping stays as they see it when it cannot be written, as it does in a kernel's memory.
// SQLite's index of its log is such.
func TestMapping(t *testing.T) {
	r := start(t, 1)
	f, err := os.Create(filepath.Join(r.at, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4*pageSize)); err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, 4*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped) //nolint:errcheck // the test's end
	copy(mapped, "new")
	r.ask("fail write 1")
	if err := unix.Msync(mapped, unix.MS_SYNC); !errors.Is(err, syscall.EIO) {
		t.Fatalf("it was written: %v", err)
	}
	r.ask("fail write 0")
	if _, err := f.WriteAt([]byte("elsewhere"), 3*pageSize); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat(); err != nil { // the kernel learns that the file has changed
		t.Fatal(err)
	}
	if got := string(mapped[:3]); got != "new" {
		t.Errorf("the mapping has %q", got)
	}
}

// TestOwner: what a user makes belongs to it, what is given to another one belongs to that, and a cut changes neither.
func TestOwner(t *testing.T) {
	const nobody = 65534
	r := start(t, 1)
	if err := os.Chmod(filepath.Dir(r.at), 0o755); err != nil { // the test's folder is for its user alone
		t.Fatal(err)
	}
	made, given := filepath.Join(r.at, "made"), filepath.Join(r.at, "given")
	as := exec.Command("mkdir", made)
	as.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := as.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(given, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(given, 1, 2); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		for path, want := range map[string]owner{made: {nobody, nobody}, given: {1, 2}} {
			var s syscall.Stat_t
			if err := syscall.Stat(path, &s); err != nil {
				t.Fatal(when, err)
			}
			if got := (owner{s.Uid, s.Gid}); got != want {
				t.Errorf("%s, %s: %v", when, filepath.Base(path), got)
			}
		}
	}
	check("before the cut")
	for _, command := range []string{"settle", "freeze", "cut"} {
		r.ask(command)
	}
	check("after it")
}

// TestCutBesideAnotherNamespace: whoever made a mount namespace meanwhile has the file system mounted still after a cut.
// The power is cut for it, too, and the cut does not wait for it.
func TestCutBesideAnotherNamespace(t *testing.T) {
	r := start(t, 1)
	path := filepath.Join(r.at, "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("unshare", "-m", "sh", "-c", `echo begun; read go; cat "$0" 2>/dev/null || echo cut`, path)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != "begun\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for _, command := range []string{"settle", "freeze", "cut"} {
		r.ask(command)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	fmt.Fprintln(in, "go")
	if line, err := said.ReadString('\n'); line != "cut\n" {
		t.Errorf("the other one reads %q, %v", line, err)
	}
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}
