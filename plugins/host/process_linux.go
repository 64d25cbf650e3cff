package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attributes puts a plugin in a process group of its own, so that a terminal's signals do not
// reach it and its children can be killed with it, and lets it die with the gateway.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when a child has ended, without collecting it; false: it could not wait.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }

// oomMore is how much sooner than the gateway a plugin is killed where memory runs out.
const oomMore, oomMost = 500, 1000

// killFirst raises a plugin's score: where the system has no memory left, the plugin that has it is
// to end, and not the gateway with all the others. Raising needs no rights; where it fails all
// the same, the sizes of the processes decide.
func killFirst(pid int) {
	score := 0
	if text, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		score, _ = strconv.Atoi(string(bytes.TrimSpace(text)))
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(score+oomMore, oomMost))), 0)
}

// timerSlack is how much later than it has asked for a plugin's thread may be woken. Go's monitor sleeps for 20 µs, again
// and again, while anything is under way, which is a good part of what a plugin uses that mostly waits for a disk or a
// server: so it sleeps longer. No plugin has a time-out that this is felt in.
const timerSlack = time.Millisecond

// withSlack calls start, whose processes have the timer slack: they inherit that of the thread that starts them (prctl(2)).
func withSlack(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(own) >= timerSlack || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return start()
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(own), 0, 0, 0) //nolint:errcheck // it was set a moment ago
	return start()
}
