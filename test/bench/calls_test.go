//go:build bench && linux

package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/test/harness"
)

// calls prints what a message of the drained mailboxes costs the gateway and its plugin in system
// calls and in switches between threads. Both are counted without a clock: a busy machine changes them
// little. Strace makes everything slow, so that Go's monitor thread makes more calls of its own: perf is
// asked where there is one (Debian's linux-perf).
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

	count, by := w.strace, "strace"
	if exec.Command("perf", "stat", "-e", callsEvent, "true").Run() == nil {
		count, by = w.perf, "perf"
	}
	fmt.Printf("| system calls for a message, clients: 8, by %s | %s | | | ≤ 10 | |\n", by, number(count(t, pids, drainOnce)))
}

// callsEvent is the kernel's tracepoint of each system call.
const callsEvent = "raw_syscalls:sys_enter"

// perf counts calls for a message by the kernel's counter, which does not slow them down.
func (w *world) perf(t *testing.T, pids []int, drainOnce func() int) float64 {
	control, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, answer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = tell.Close(), answers.Close() }()
	counts := filepath.Join(t.TempDir(), "counts")
	stat := exec.Command("perf", "stat", "-x", ",", "-e", callsEvent, "-D", "-1", "--control", "fd:3,4",
		"-o", counts, "-p", strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ","), "[]"))
	stat.ExtraFiles = []*os.File{control, answer}
	if err := stat.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = control.Close(), answer.Close()
	replies := bufio.NewReader(answers)
	say := func(command string) {
		if _, err := fmt.Fprintln(tell, command); err != nil {
			t.Fatal(err)
		}
		if reply, err := replies.ReadString('\n'); err != nil || strings.Trim(reply, "\x00") != "ack\n" { // a NUL stands behind the one before
			t.Fatalf("perf answers %s with %q, %v", command, reply, err)
		}
	}
	say("enable")
	n := drainOnce()
	say("disable")
	_ = stat.Process.Signal(unix.SIGINT)
	_ = stat.Wait() // it says that it was interrupted
	text, err := os.ReadFile(counts)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if number, _, found := strings.Cut(line, ","); found && strings.Contains(line, callsEvent) {
			calls, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("perf counted %q", line)
			}
			return float64(calls) / float64(n)
		}
	}
	t.Fatalf("perf counted nothing: %s", text)
	return 0
}

// strace counts calls for a message where there is no perf.
func (w *world) strace(t *testing.T, pids []int, drainOnce func() int) float64 {
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
	n := drainOnce()
	_ = trace.Process.Signal(unix.SIGINT)
	_ = trace.Wait() // it says that it was interrupted
	text, err := os.ReadFile(counts)
	if err != nil {
		t.Fatal(err)
	}
	return float64(total(t, string(text))) / float64(n)
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
