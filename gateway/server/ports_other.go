//go:build !linux

package server

import (
	"os"
	"runtime"
)

// mayBindLow says whether this process may open privileged ports.
func mayBindLow() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Geteuid() == 0
}

// lowPorts is the first port that anybody may open.
func lowPorts() int { return 1024 }
