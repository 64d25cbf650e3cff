//go:build linux

package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends/filelock"
)

// Gateways listen on ports that the system gives nobody by itself: one that ends and runs again finds its ports free,
// however many connections are made meanwhile. Each process of tests has a block of them to itself.
const (
	firstPort  = 10_000
	blockPorts = 2_000
	lastPort   = 32_000
)

var ports struct {
	sync.Mutex
	lock *os.File // held as long as the process lives
	base int
	next int
}

// listenerAddress is an address on loopback where nobody listens. Where the process has no block the system chooses
// the port when the gateway listens.
func listenerAddress(t *testing.T) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.lock == nil && !takeBlock(t) {
		return "127.0.0.1:0"
	}
	for range blockPorts {
		address := fmt.Sprintf("127.0.0.1:%d", ports.base+ports.next)
		ports.next = (ports.next + 1) % blockPorts
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatalf("no port from %d on is free", ports.base)
	return ""
}

// takeBlock takes a block that no other process has; false: there is none below the ports that the system gives.
func takeBlock(t *testing.T) bool {
	t.Helper()
	content, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var lowest int
	if _, scanned := fmt.Sscan(string(content), &lowest); err != nil || scanned != nil {
		t.Fatalf("the range of ports is %q (%v)", content, err)
	}
	for base := firstPort; base+blockPorts <= min(lowest, lastPort); base += blockPorts {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("dipylon-ports-%d", base)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			continue // another user's
		}
		if filelock.Try(f) == nil {
			ports.lock, ports.base = f, base
			return true
		}
		_ = f.Close()
	}
	return false
}
