package spool

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that nobody sets, and that goes on while the machine is suspended: a lease that
// has run out meanwhile has run out.
func sinceBoot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Duration(time.Now().UnixNano()) // no Linux of this century lacks the clock
	}
	return time.Duration(now.Nano())
}
