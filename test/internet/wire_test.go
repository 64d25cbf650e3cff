//go:build linux

package internet

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// host is a network namespace: a machine, or the wire that all of them are on.
type host struct {
	name    string
	network *os.File
}

// newHost makes a namespace. It ends with the file, and with what runs in it.
func newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{name: name}
	elsewhere(t, func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() {
		var err error
		if h.network, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = h.network.Close() })
	h.ip(t, "link set lo up")
	return h
}

// newWire is what hosts are plugged into.
func newWire(t *testing.T) *host {
	t.Helper()
	w := newHost(t, "wire")
	w.ip(t, "link add wire type bridge", "link set wire up")
	return w
}

// plug makes a host with these addresses on a wire.
func (h *host) plug(t *testing.T, name string, addresses ...string) *host {
	t.Helper()
	made := newHost(t, name)
	there := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), made.network.Fd())
	h.ip(t, "link add "+name+" type veth peer name eth0 netns "+there, "link set "+name+" master wire up")
	lines := []string{"link set eth0 up"}
	for _, address := range addresses {
		if strings.Contains(address, ":") {
			lines = append(lines, "address add "+address+"/64 dev eth0 nodad")
		} else {
			lines = append(lines, "address add "+address+"/24 dev eth0")
		}
	}
	made.ip(t, lines...)
	return made
}

// ip gives commands to ip(8).
func (h *host) ip(t *testing.T, lines ...string) {
	t.Helper()
	h.do(t, func() {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: ip %q: %v (is the package iproute2 installed?)\n%s", h.name, lines, err, out)
		}
	})
}

// do calls a function whose sockets and processes are those of the host. A socket stays the host's, whoever uses it.
func (h *host) do(t *testing.T, f func()) {
	t.Helper()
	elsewhere(t, func() error { return unix.Setns(int(h.network.Fd()), unix.CLONE_NEWNET) }, f)
}

// elsewhere calls a function in another network namespace. The thread goes back then, and does not end: what the
// function has started would end with it (prctl(2), PR_SET_PDEATHSIG).
func elsewhere(t *testing.T, enter func() error, f func()) {
	t.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		err = enter()
	}
	if err != nil {
		t.Fatalf("another network namespace: %v", err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread would be another host's
		}
		_ = home.Close()
		runtime.UnlockOSThread()
	}()
	f()
}
