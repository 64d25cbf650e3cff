//go:build linux

package peers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Samba is Samba's RPC services over TCP: the endpoint mapper at port 135 of a loopback address of its own, and srvsvc at a port that
// the mapper knows.
type Samba struct {
	Host string
	// Domain, User and Password are those of the one account.
	Domain, User, Password string

	dir, root string
}

// SambaOptions say what is particular about one.
type SambaOptions struct {
	// Shares is how many it has, all with a long comment: what makes the answer of srvsvc long.
	Shares int
}

// StartSamba starts one and waits until the mapper listens. That is at a privileged port, so the test must be root's. Its
// packages would bring a file server, so ./test/run unpacks them into test/.work/samba.
func StartSamba(t *testing.T, o SambaOptions) *Samba {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	s := &Samba{
		Host:   fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254)),
		Domain: "SAKES", User: "root", Password: "samba-secret", dir: t.TempDir(),
		root: filepath.Join(filepath.Dir(here), "..", ".work", "samba"),
	}
	if _, err := os.Stat(s.program("usr/libexec/samba/samba-dcerpcd")); err != nil {
		t.Fatalf("Samba is not unpacked: run ./test/run install (%v)", err)
	}
	s.configure(t, o)
	add := s.command("usr/bin/smbpasswd", "-c", s.config(), "-s", "-a", s.User)
	add.Stdin = strings.NewReader(s.Password + "\n" + s.Password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("smbpasswd: %v\n%s", err, out)
	}
	argv := []string{"-F", "--configfile=" + s.config(), "--debug-stdout", "-d1"}
	for _, service := range []string{"epmapper", "winreg", "classic"} {
		argv = append(argv, s.program("usr/libexec/samba/rpcd_"+service))
	}
	daemon := s.command("usr/libexec/samba/samba-dcerpcd", argv...)
	var said bytes.Buffer
	daemon.Stdout, daemon.Stderr = &said, &said
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL) // its services, too
		_ = daemon.Wait()
		if t.Failed() {
			t.Logf("Samba:\n%s", said.Bytes())
		}
	})
	harness.Eventually(t, time.Minute, "Samba's endpoint mapper listens", func() bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.Host, "135"), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return s
}

func (s *Samba) program(path string) string { return filepath.Join(s.root, path) }
func (s *Samba) config() string             { return filepath.Join(s.dir, "smb.conf") }

// command is one of Samba's programs with Samba's libraries.
func (s *Samba) command(path string, argv ...string) *exec.Cmd {
	cmd := exec.Command(s.program(path), argv...)
	libraries, _ := filepath.Glob(s.program("usr/lib/*-linux-gnu"))
	for _, folder := range libraries {
		libraries = append(libraries, filepath.Join(folder, "samba"))
	}
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	return cmd
}

// configure writes smb.conf, and makes the folders that it names.
func (s *Samba) configure(t *testing.T, o SambaOptions) {
	var conf strings.Builder
	conf.WriteString("[global]\nserver role = standalone server\ndisable netbios = yes\nrpc start on demand helpers = no\n")
	conf.WriteString("bind interfaces only = yes\ndisable spoolss = yes\nload printers = no\n")
	_, _ = fmt.Fprintf(&conf, "interfaces = %s/8\nworkgroup = %s\nnetbios name = SAMBA\n", s.Host, s.Domain)
	for _, name := range []string{"private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir"} {
		folder := filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&conf, "%s = %s\n", name, folder)
	}
	_, _ = fmt.Fprintf(&conf, "log file = %s\npassdb backend = smbpasswd:%s\n", filepath.Join(s.dir, "log"), filepath.Join(s.dir, "smbpasswd"))
	for i := range o.Shares {
		_, _ = fmt.Fprintf(&conf, "[share%03d]\npath = /nowhere\ncomment = number %d, which is there to make the answer long\n", i, i)
	}
	if err := os.WriteFile(s.config(), []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
