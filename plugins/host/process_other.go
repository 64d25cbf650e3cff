//go:build !unix

package host

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return nil }

func awaitExit(int) bool { return false }

func killGroup(p *os.Process) { _ = p.Kill() } // an error says that it has ended

// terminate: there is no gentler way than the lifeline.
func terminate(*os.Process) {}

// killFirst: there is no such score here.
func killFirst(int) {}

// withSlack: timers have no slack here that could be set.
func withSlack(start func() error) error { return start() }
