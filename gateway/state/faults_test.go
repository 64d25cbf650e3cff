//go:build linux

package state

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// childMark as the first argument makes the test binary a process that writes.
const childMark = "write-for-a-test"

// child writes rows from several goroutines, and prints the name of each that was acknowledged
// ("+"), was not ("-"), or of which nobody knows ("?"), until it is killed or, with a number, has tried
// so many.
func child(folder string, args []string) {
	db, err := Open(context.Background(), Options{Log: zerolog.Nop(), Folder: folder})
	if err != nil {
		fmt.Println("!", err)
		os.Exit(1)
	}
	most := 1 << 30
	if len(args) > 0 {
		fmt.Sscan(args[0], &most)
	}
	fmt.Println("ready")
	write := func(i, n int) (good bool) {
		name := fmt.Sprintf("%d/%d/%s", i, n, strings.Repeat("x", 2000))
		sign := "+"
		if err := put(context.Background(), db, name); errors.Is(err, ErrUnsynced) {
			sign = "?"
		} else if err != nil {
			sign = "-"
		}
		fmt.Printf("%s %s\n", sign, name)
		return sign == "+"
	}
	const writers = 8
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for n := range most {
				write(i, n)
			}
		})
	}
	writing.Wait()
	for n := range 20 {
		write(writers, n)
	}
	fmt.Println("close", db.Close() == nil)
}

// told are the names that a child printed after a sign.
func told(output, sign string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(output) {
		if name, ok := strings.CutPrefix(line, sign+" "); ok && strings.HasSuffix(name, "\n") {
			names[strings.TrimSuffix(name, "\n")] = true
		}
	}
	return names
}

// TestKilled (I1): kill -9 in the middle of writing, again and again: the file is whole, and
// everything that was acknowledged is in it.
func TestKilled(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	acknowledged := map[string]bool{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], childMark, o.Folder)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		var output strings.Builder
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			output.WriteString(strings.Replace(line, " ", fmt.Sprintf(" %d:", round), 1))
			if n == 100*(round+1) {
				_ = cmd.Process.Kill()
			}
			if err != nil {
				break
			}
		}
		_ = cmd.Wait()
		for name := range told(output.String(), "+") {
			acknowledged[strings.TrimPrefix(name, fmt.Sprint(round, ":"))] = true
		}
		r, err := Inspect(t.Context(), o)
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("after the %d. time: %+v, %v", round, r, err)
		}
	}
	there := map[string]bool{}
	for _, name := range names(t, open(t, o)) {
		there[name] = true
	}
	if len(acknowledged) < 100 {
		t.Errorf("only %d writes were acknowledged", len(acknowledged))
	}
	for name := range acknowledged {
		if !there[name] {
			t.Errorf("%.20s was acknowledged and is lost", name)
		}
	}
}

// faulty runs a child to its end under a wrapper that makes its disk fail, and gives what it
// printed.
func faulty(t *testing.T, wrapper []string, folder string) string {
	t.Helper()
	argv := append(wrapper, os.Args[0], childMark, folder, "100")
	cmd := exec.Command(argv[0], argv[1:]...)
	var diagnostics bytes.Buffer
	cmd.Stderr = &diagnostics
	out, err := cmd.Output()
	if err != nil || !bytes.Contains(out, []byte("ready")) {
		t.Fatalf("%v: %.2000s\n%s", err, out, diagnostics.String())
	}
	return string(out)
}

// TestFullDisk (I1): writes that the disk has no room for fail, those that were acknowledged are
// all there, and the file is whole.
func TestFullDisk(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// The disk is a small file system that the child alone sees; what it held is copied out.
	mount := `mount -t tmpfs -o size=1m,mode=700 none "$0" && "$@" && mkdir "$0.copy" && cp "$0"/* "$0.copy"`
	out := faulty(t, []string{"unshare", "-rm", "sh", "-c", mount, folder}, folder)
	judge(t, out, folder+".copy")
}

// TestSyncFails (I1): fdatasync and fsync give EIO for a while. No write is acknowledged that a sync did
// not precede, and none is acknowledged once one has failed, though the disk would recover.
func TestSyncFails(t *testing.T) {
	folder := t.TempDir()
	out := faulty(t, []string{
		"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
		"-e", "inject=fsync,fdatasync:error=EIO:when=40..60",
	}, folder)
	judge(t, out, folder)
	if rest := out[strings.Index(out, "\n? "):]; strings.Contains(rest, "\n+ 8/") {
		t.Errorf("after a sync has failed something was acknowledged: %.2000s", rest)
	}
}

// judge compares what a child has told with what is in its database.
func judge(t *testing.T, out, folder string) {
	t.Helper()
	good, bad := told(out, "+"), told(out, "-")
	if len(good) == 0 || len(bad) == 0 {
		t.Fatalf("%d writes were acknowledged and %d failed", len(good), len(bad))
	}
	t.Logf("%d writes were acknowledged, %d failed", len(good), len(bad))
	o := Options{Log: zerolog.Nop(), Folder: folder}
	r, err := Inspect(t.Context(), o)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	there := names(t, open(t, o))
	for _, name := range there {
		if delete(good, name); bad[name] {
			t.Errorf("%.20s is there, and was told as failed", name)
		}
	}
	for name := range good {
		t.Errorf("%.20s was acknowledged, and is lost", name)
	}
}
