//go:build bench && linux

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/test/harness"
)

// calls prints what a message of the drained mailboxes costs the gateway and its plugin in system
// calls and in switches between threads. Both are counted without a clock, and the first under
// strace, which makes everything slow: a busy machine changes them little.
func (w *world) calls(t *testing.T) {
	pids := append(harness.Children(w.gateway.cmd.Process.Pid), w.gateway.cmd.Process.Pid)
	drainOnce := func() int {
		r, err := w.run(w.gateway.ports["pop3"], "-work", "drain", "-clients", "8", "-rounds", "1")
		if err != nil {
			t.Fatal(err)
		}
		return r.Messages
	}
	drainOnce() // for the file of sizes
	before := switches(t, pids)
	n := drainOnce()
	fmt.Printf("| context switches for a message, clients: 8 | %s | | | ≤ 1.4 | |\n", number(float64(switches(t, pids)-before)/float64(n)))

	counts := filepath.Join(t.TempDir(), "counts")
	args := []string{"-f", "-c", "-o", counts}
	for _, pid := range pids {
		args = append(args, "-p", fmt.Sprint(pid))
	}
	trace := exec.Command("strace", args...)
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "every thread traced", func() bool { return traced(pids) })
	n = drainOnce()
	_ = trace.Process.Signal(unix.SIGINT)
	_ = trace.Wait() // it says that it was interrupted
	text, err := os.ReadFile(counts)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("| system calls for a message, clients: 8 | %s | | | ≤ 10 | |\n", number(float64(total(t, string(text)))/float64(n)))
}

// total is the number of calls in the last line of strace's table.
func total(t *testing.T, table string) (calls int) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if _, err := fmt.Sscan(strings.Join(strings.Fields(lines[len(lines)-1])[3:4], ""), &calls); err != nil {
		t.Fatalf("strace's table: %v\n%s", err, table)
	}
	return calls
}

// threads calls f with the status of each thread.
func threads(pids []int, f func(status string)) {
	for _, pid := range pids {
		all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, path := range all {
			if text, err := os.ReadFile(path); err == nil { // it may have ended
				f(string(text))
			}
		}
	}
}

func traced(pids []int) bool {
	is := true
	threads(pids, func(status string) { is = is && !strings.Contains(status, "TracerPid:\t0\n") })
	return is
}

// switches are those of all threads since they began, see proc_pid_status(5).
func switches(t *testing.T, pids []int) (n int64) {
	threads(pids, func(status string) {
		for _, name := range []string{"\nvoluntary_ctxt_switches:", "\nnonvoluntary_ctxt_switches:"} {
			_, after, _ := strings.Cut(status, name)
			var some int64
			if _, err := fmt.Sscan(after, &some); err != nil {
				t.Fatal(err)
			}
			n += some
		}
	})
	return n
}
