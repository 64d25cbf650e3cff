//go:build linux

package peers

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Balanced is a server behind a HAProxy.
type Balanced struct {
	Server  string // host:port
	Version int    // of the PROXY protocol
	// Check are further lines of the configuration, about health checks [a check only connects].
	Check []string
}

// StartHAProxy starts one in front of servers that speak first, and waits until it
// listens. What comes back is where each is to be reached. It checks the servers' health, once
// a second. It is ended with the test.
func StartHAProxy(t *testing.T, servers ...Balanced) []string {
	t.Helper()
	var config strings.Builder
	config.WriteString("global\n  quiet\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n")
	var addresses []string
	for i, port := range freePorts(t, len(servers)) {
		addresses = append(addresses, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		send := "send-proxy"
		if servers[i].Version == 2 {
			send = "send-proxy-v2"
		}
		fmt.Fprintf(&config, "listen l%d\n  bind %s\n", i, addresses[i])
		for _, line := range servers[i].Check {
			config.WriteString("  " + line + "\n")
		}
		fmt.Fprintf(&config, "  server s %s %s check inter 1s\n", servers[i].Server, send)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, file, config.String())
	process := exec.Command("haproxy", "-db", "-f", file)
	var said bytes.Buffer
	process.Stdout, process.Stderr = &said, &said
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatalf("haproxy: %v (is the package haproxy installed?)", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = process.Wait()
	}()
	t.Cleanup(func() {
		_ = process.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", said.String())
		}
	})
	harness.Eventually(t, 30*time.Second, "HAProxy's listeners", func() bool {
		for _, address := range addresses {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			_ = conn.Close()
		}
		return true
	})
	return addresses
}
