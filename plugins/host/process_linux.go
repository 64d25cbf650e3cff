package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

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
