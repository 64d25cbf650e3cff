//go:build bench && linux

package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/test/harness"
)

// sync looks, once for each server and way of a message, at the order of its system calls: something below
// the server's folder has to be synced after the 354 and before the 250 that acknowledges the message.
func (w *smtpWorld) sync(t *testing.T) {
	testSynced(t)
	fmt.Print("| a message for | server | synced before the 250 |\n|---|---|---|\n")
	for _, to := range []string{domain, heldDomain} {
		for _, m := range []mta{w.ours(), w.theirs()} {
			files, err := synced(w.traceOne(t, m, to), m.folder)
			if err != nil {
				t.Errorf("%s, %s: %v", m.name, to, err)
			}
			fmt.Printf("| %s | %s | %s |\n", to, m.name, strings.Join(files, ", "))
			m.clear(t)
		}
	}
	fmt.Println()
}

// traceOne is what strace sees of a server and its children while one message is sent.
func (w *smtpWorld) traceOne(t *testing.T, m mta, to string) string {
	t.Helper()
	send := func() {
		if _, err := w.send(m, load{clients: 1, messages: 1}, to); err != nil {
			t.Fatal(err)
		}
	}
	send() // so that all processes that have to do with it are there
	m.clear(t)
	pids := append(harness.Children(m.pid), m.pid)
	file := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-y", "-s", "400", "-o", file, "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg"}
	for _, pid := range pids {
		args = append(args, "-p", fmt.Sprint(pid))
	}
	trace := exec.Command("strace", args...)
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "every thread traced", func() bool { return traced(pids) })
	send()
	_ = trace.Process.Signal(unix.SIGINT)
	_ = trace.Wait() // it says that it was interrupted
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	callStart = regexp.MustCompile(`^(\d+) +(?:fsync|fdatasync)\(\d+<([^>]*)>(?:\) += 0| <unfinished \.\.\.>)$`)
	callEnd   = regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>\) += 0$`)
	// The 354 may come together with the replies before it (RFC 2920).
	replied = regexp.MustCompile(`^\d+ +(?:write|writev|sendto|sendmsg)\(\d+<socket:[^"]*"(?:2[^"]*\\r\\n)?(354|250)[ -]`)
)

// synced are the files below a folder whose sync had ended well before the 250 behind the 354 was written, as
// strace -f -y tells it.
func synced(trace, folder string) (files []string, err error) {
	under := map[string]string{} // by process: the file whose sync has begun
	message := false
	for line := range strings.Lines(trace) {
		line = strings.TrimSuffix(line, "\n")
		if call := callStart.FindStringSubmatch(line); call != nil {
			under[call[1]] = call[2]
			if strings.HasSuffix(line, "= 0") && message {
				files = append(files, call[2])
			}
		} else if call := callEnd.FindStringSubmatch(line); call != nil && message {
			files = append(files, under[call[1]])
		} else if reply := replied.FindStringSubmatch(line); reply != nil && (message || reply[1] == "354") {
			if reply[1] == "250" {
				files = slices.DeleteFunc(files, func(file string) bool { return !strings.HasPrefix(file, folder+"/") })
				if len(files) == 0 {
					err = errors.New("nothing was synced before the 250")
				}
				return below(files, folder), err
			}
			message = true
		}
	}
	return nil, fmt.Errorf("there is no 354 with a 250 behind it:\n%s", trace)
}

// below are the files as they are named below a folder, each once.
func below(files []string, folder string) (names []string) {
	for _, file := range files {
		if name := strings.TrimPrefix(file, folder+"/"); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// testSynced: a sync counts when it was for something of the server's, went well, and had ended.
func testSynced(t *testing.T) {
	const go354, ok250 = "7 write(4<socket:[1]>, \"354 go\\r\\n\", 8) = 8\n", "7 write(4<socket:[1]>, \"250 2.0.0 ok\\r\\n\", 14) = 14\n"
	for name, c := range map[string]struct {
		trace string
		is    bool
	}{
		"before":          {go354 + "8 fsync(5</s/m>) = 0\n" + ok250, true},
		"in two lines":    {go354 + "8 fdatasync(5</s/m> <unfinished ...>\n9 write(6</s/log>, \"x\", 1) = 1\n8 <... fdatasync resumed>) = 0\n" + ok250, true},
		"not at all":      {go354 + ok250, false},
		"behind it":       {go354 + ok250 + "8 fsync(5</s/m>) = 0\n", false},
		"before the 354":  {"8 fsync(5</s/m>) = 0\n" + go354 + ok250, false},
		"not ended":       {go354 + "8 fsync(5</s/m> <unfinished ...>\n" + ok250 + "8 <... fsync resumed>) = 0\n", false},
		"failed":          {go354 + "8 fsync(5</s/m>) = -1 EIO (Input/output error)\n" + ok250, false},
		"of another":      {go354 + "8 fsync(5</other/m>) = 0\n" + ok250, false},
		"no 250":          {go354 + "8 fsync(5</s/m>) = 0\n", false},
		"sent together":   {"7 write(4<socket:[1]>, \"250 2.1.0 ok\\r\\n250 2.1.5 ok\\r\\n354 go\\r\\n\", 36) = 36\n8 fsync(5</s/m>) = 0\n" + ok250, true},
		"250 in the file": {go354 + "8 write(6</s/m>, \"250 \", 4) = 4\n8 fsync(5</s/m>) = 0\n" + ok250, true},
	} {
		if files, err := synced(c.trace, "/s"); (err == nil) != c.is || c.is && !slices.Equal(files, []string{"m"}) {
			t.Errorf("%s: %q, %v", name, files, err)
		}
	}
}
