//go:build unix

package host

import "syscall"

func stopProcess(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }
