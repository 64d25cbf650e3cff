package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// harden gives up what the gateway's own process never needs. Its plugins run as the same user, and
// could otherwise read its memory, with keys and passwords in it, and its environment, through
// ptrace and /proc. No memory may become executable, in this process alone: plugins in Node or
// Java compile their code while they run. An older kernel refuses that part.
func harden() error {
	var errs []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("PR_SET_DUMPABLE: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_MDWE, unix.PR_MDWE_REFUSE_EXEC_GAIN|unix.PR_MDWE_NO_INHERIT, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("PR_SET_MDWE: %w", err))
	}
	return errors.Join(errs...)
}
