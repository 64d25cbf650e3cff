//go:build linux

package internet

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// apart says that this process has mounts and process ids of its own.
const apart = "DIPYLON_TEST_APART"

// TestMain runs the tests in a process that has mounts and process ids of its own, so that they can have a
// /etc/resolv.conf, and that the kernel ends all processes and namespaces with it, however it ends.
func TestMain(m *testing.M) {
	if os.Getenv(apart) == "" {
		os.Exit(runApart())
	}
	if err := setApart(); err != nil {
		fmt.Fprintln(os.Stderr, "the tests need root, and Linux with overlay file systems:", err)
		os.Exit(1)
	}
	os.Exit(harness.Main(m))
}

// runApart runs this program once more, and gives its exit status.
func runApart() int {
	runtime.LockOSThread() // the end of the thread is what ends the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "the tests need root, for namespaces:", err)
		return 1
	}
	if status := cmd.ProcessState.ExitCode(); status >= 0 {
		return status
	}
	return 1
}

// setApart gives this process a /proc, a /run, a /etc, a /var and a /usr/libexec of its own; the latter begin as the
// machine's.
func setApart() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"tmpfs", "/run", "tmpfs", 0, ""},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, name := range []string{"/etc", "/var", "/usr/libexec"} {
		upper, work := "/run/upper"+name, "/run/work"+name
		for _, folder := range []string{upper, work} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		data := "lowerdir=" + name + ",upperdir=" + upper + ",workdir=" + work
		if err := syscall.Mount("overlay", name, "overlay", 0, data); err != nil {
			return fmt.Errorf("mount %s: %w", name, err)
		}
	}
	return configure()
}

// configure has this process's programs ask the tests' DNS server, and makes OpenSMTPD's users.
func configure() error {
	if err := os.Remove("/etc/resolv.conf"); err != nil && !os.IsNotExist(err) { // it may be a link
		return err
	}
	for name, lines := range map[string]string{
		"/etc/resolv.conf": "nameserver " + dnsAddress + "\n", "/etc/passwd": peers.OpenSMTPDAccounts, "/etc/group": peers.OpenSMTPDGroups,
	} {
		was, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if strings.Contains(string(was), "opensmtpd:") {
			continue // it is installed here
		}
		if err := os.WriteFile(name, append(was, lines...), 0o644); err != nil {
			return err
		}
	}
	return nil
}
