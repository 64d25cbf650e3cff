package server

import (
	"fmt"
	"os"
	"strings"
)

// capNetBindService is the number of the capability to open privileged ports (capabilities(7)).
const capNetBindService = 10

// mayBindLow says whether this process may open privileged ports.
func mayBindLow() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return os.Geteuid() == 0
	}
	_, rest, _ := strings.Cut(string(status), "\nCapEff:")
	var effective uint64
	if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%x", &effective); err != nil {
		return os.Geteuid() == 0
	}
	return effective&(1<<capNetBindService) != 0
}

// lowPorts is the first port that anybody may open.
func lowPorts() int { return firstPort("/proc/sys/net/ipv4/ip_unprivileged_port_start") }
