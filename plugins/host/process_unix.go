//go:build unix && !linux

package host

import (
	"os"
	"syscall"
)

// attributes puts a plugin in a process group of its own, so that a terminal's signals do not
// reach it and its children can be killed with it. That it dies with the gateway is up to the
// lifeline here.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit: there is no portable way to wait without collecting.
func awaitExit(int) bool { return false }

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }

// killFirst: there is no such score here.
func killFirst(int) {}

// withSlack: timers have no slack here that could be set.
func withSlack(start func() error) error { return start() }
