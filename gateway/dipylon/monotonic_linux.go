package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reloading is what systemd wants to hear at the begin of a reload (Type=notify-reload).
func reloading() []string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)}
}
