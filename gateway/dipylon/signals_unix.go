//go:build unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals make the gateway read its configuration again; stopSignals make it stop.
func reloadSignals() []os.Signal { return []os.Signal{syscall.SIGHUP} }
func stopSignals() []os.Signal   { return []os.Signal{syscall.SIGTERM, syscall.SIGINT} }
