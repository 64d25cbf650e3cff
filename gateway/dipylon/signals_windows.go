package main

import (
	"os"
	"syscall"
)

// Windows has no signal to reload with; SIGTERM is its name for the console's close, log-off
// and shutdown events.
func reloadSignals() []os.Signal { return nil }
func stopSignals() []os.Signal   { return []os.Signal{syscall.SIGTERM, os.Interrupt} }
