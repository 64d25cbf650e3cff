package main

import (
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timerSlack is how much later than it has asked for a thread of the gateway may be woken. Go's monitor sleeps for 20 µs,
	// again and again, while anything is under way: of a POP3 session's system calls one in ten was that, and of its
	// switches between threads one in three. No time-out of the gateway is so short that this is felt in it.
	timerSlack = time.Millisecond

	// slackKey is in the environment of a process that has begun again.
	slackKey = "DIPYLON_TIMER_SLACK"
)

// lateTimers has the gateway's process begin again, under its number and with all that it has open, so that all its
// threads have the timer slack. A thread inherits that of the one that starts it, and a process keeps its first
// thread's over execve (prctl(2)); the monitor's thread is there before a program's first line. Where it cannot be,
// all goes on as it is, and a slack that somebody else has set (TimerSlackNSec of systemd) stays if it is larger.
func lateTimers(args []string) {
	if !slices.Contains(args, "serve") {
		return
	}
	if os.Getenv(slackKey) != "" {
		_ = os.Unsetenv(slackKey) // it does not fail for such a name
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || own >= int(timerSlack) || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	if self, err := os.Executable(); err == nil {
		_ = unix.Exec(self, os.Args, append(os.Environ(), slackKey+"=set"))
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(own), 0, 0, 0) // it was that before
}
