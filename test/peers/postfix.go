//go:build linux

package peers

import (
	"bytes"
	"cmp"
	_ "embed"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Postfix is a running Postfix, as Debian configures it, without chroot.
type Postfix struct {
	SMTP string // host:port, with STARTTLS
	CA   string // PEM file of the authority that signed its certificate
	Dir  string
	Mail string // Maildirs: <Mail>/<address>
	// Unpacked is the folder that its package was unpacked into.
	Unpacked string

	t       *testing.T
	process *exec.Cmd
}

// PostfixOptions say what is particular about one.
type PostfixOptions struct {
	// Boxes are the addresses that have a mailbox here. Their domains have no other recipients.
	Boxes []string
	// Settings are further lines of main.cf.
	Settings []string
	// Public has it take mail at port 25 of every address, as it may in a network namespace of its own.
	Public bool
	// Host is where it takes mail otherwise [127.0.0.1]. While it is down, somebody who connects to a server may get
	// its port at 127.0.0.1, and at no other address of loopback.
	Host string
}

//go:embed postfix.cf
var postfixSettings string

// StartPostfix starts one and waits until it answers. Only root can: each of its processes becomes a
// user of its own. Its package conflicts with any other mail server's, so ./test/run unpacks it
// into test/.work/postfix.
func StartPostfix(t *testing.T, o PostfixOptions) *Postfix {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	p := &Postfix{Dir: t.TempDir(), t: t, Unpacked: filepath.Join(filepath.Dir(here), "..", ".work", "postfix")}
	if _, err := os.Stat(p.program("master")); err != nil || os.Geteuid() != 0 {
		t.Fatalf("Postfix is unpacked by ./test/run install, and started by root: uid %d, %v", os.Geteuid(), err)
	}
	p.Mail = filepath.Join(p.Dir, "mail")
	port := "25"
	if !o.Public {
		port = strconv.Itoa(freePorts(t, 1)[0])
	}
	p.SMTP = net.JoinHostPort(cmp.Or(o.Host, "127.0.0.1"), port)
	p.certificate(t)
	p.configure(o)
	p.folders()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("the end of Postfix's log:\n%s", p.logEnd())
		}
	})
	p.Start()
	return p
}

func (p *Postfix) program(daemon string) string {
	return filepath.Join(p.Unpacked, "usr/lib/postfix/sbin", daemon)
}

func (p *Postfix) certificate(t *testing.T) {
	ca := harness.NewAuthority(t)
	p.CA = ca.CAFile
	for file, from := range map[string]string{"server.crt": ca.CertFile, "server.key": ca.KeyFile} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(p.Dir, file), string(content))
	}
}

// withChroot are the services of Debian's master.cf that run in one: name, type, private,
// unprivileged, chroot.
var withChroot = regexp.MustCompile(`(?m)^((?:\S+\s+){4})y`)

// configure writes main.cf and master.cf. The latter is Debian's, but for chroot and the port.
func (p *Postfix) configure(o PostfixOptions) {
	uid, gid, _ := unprivileged(p.t)
	var boxes, domains strings.Builder
	for _, address := range o.Boxes {
		boxes.WriteString(address + " " + address + "/\n")
		if _, domain, _ := strings.Cut(address, "@"); !strings.Contains(domains.String(), " "+domain) {
			domains.WriteString(" " + domain)
		}
	}
	write(p.t, filepath.Join(p.Dir, "boxes"), boxes.String())
	lines := append([]string{
		"here = " + p.Dir, "unpacked = " + p.Unpacked, postfixSettings,
		"virtual_uid_maps = static:" + uid, "virtual_gid_maps = static:" + gid, "virtual_mailbox_domains =" + domains.String(),
	}, o.Settings...)
	write(p.t, filepath.Join(p.Dir, "main.cf"), strings.Join(lines, "\n")+"\n")
	services, err := os.ReadFile(filepath.Join(p.Unpacked, "usr/share/postfix/master.cf.dist"))
	if err != nil {
		p.t.Fatal(err)
	}
	services = withChroot.ReplaceAll(services, []byte("${1}n"))
	if !o.Public {
		services = regexp.MustCompile(`(?m)^smtp( +inet)`).ReplaceAll(services, []byte(p.SMTP+"$1"))
	}
	write(p.t, filepath.Join(p.Dir, "master.cf"), string(services))
}

// folders are those of the queue and the mailboxes, whose owners its own script "post-install" sets otherwise.
func (p *Postfix) folders() {
	owner, err := user.Lookup("mail") // mail_owner
	if err != nil {
		p.t.Fatal(err)
	}
	theirs, _ := strconv.Atoi(owner.Uid)
	uid, _, _ := unprivileged(p.t)
	nobody, _ := strconv.Atoi(uid)
	owners := map[string]int{"queue": 0, "queue/pid": 0, "data": theirs, "mail": nobody}
	for _, name := range []string{
		"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop",
		"private", "public", "saved", "trace",
	} {
		owners["queue/"+name] = theirs
	}
	for name, owner := range owners {
		folder := filepath.Join(p.Dir, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.Chown(folder, owner, -1); err != nil {
			p.t.Fatal(err)
		}
	}
	openUp(p.t, p.Dir)
}

// untilEnd runs a command until it is told to end, and ends the command then. Postfix's master changes its
// effective user, which has the kernel forget that it is to end with its parent (prctl(2), PR_SET_PDEATHSIG).
const untilEnd = `"$0" "$@" & pid=$!; trap 'kill $pid' TERM; wait $pid; wait $pid`

// Start starts it again after Stop.
func (p *Postfix) Start() {
	p.t.Helper()
	p.process = exec.Command("sh", "-c", untilEnd, p.program("master"), "-c", p.Dir)
	p.process.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(p.Unpacked, "usr/lib/postfix"))
	var said bytes.Buffer
	p.process.Stdout, p.process.Stderr = &said, &said
	p.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.process.Start(); err != nil {
		p.t.Fatal(err)
	}
	awaitPort(p.t, p.SMTP, func() string { return said.String() + p.logEnd() })
}

// Stop ends it: its master ends the others, and they may take a moment longer.
func (p *Postfix) Stop() {
	if p.process == nil {
		return
	}
	others := harness.Children(p.process.Process.Pid)
	_ = p.process.Process.Signal(syscall.SIGTERM)
	_ = p.process.Wait()
	p.process = nil
	for _, pid := range others {
		for deadline := time.Now().Add(10 * time.Second); harness.Alive(pid) && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// Kill ends its master and all that it has started with SIGKILL. The master is frozen first: it would start others in
// place of those that have ended.
func (p *Postfix) Kill() {
	p.t.Helper()
	said, err := os.ReadFile(filepath.Join(p.Dir, "queue/pid/master.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	master, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := syscall.Kill(master, syscall.SIGSTOP); err != nil {
		p.t.Fatalf("Postfix has ended before it was killed: %v", err)
	}
	harness.Eventually(p.t, time.Minute, "the end of all that Postfix's master has started", func() bool {
		others := harness.Children(master)
		for _, pid := range others {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may end by itself
		}
		return len(others) == 0
	})
	harness.Kill(p.t, master)
	_ = p.process.Wait() // a signal is no success
	p.process = nil
}

// PID is the process id of the process below which all of them are.
func (p *Postfix) PID() int { return p.process.Process.Pid }

// Command is one of its commands, such as postconf.
func (p *Postfix) Command(name string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.Unpacked, "usr/sbin", name), append([]string{"-c", p.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(p.Unpacked, "usr/lib/postfix"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Log is what it has logged.
func (p *Postfix) Log() string {
	p.t.Helper()
	log, err := os.ReadFile(filepath.Join(p.Dir, "log"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(log)
}

func (p *Postfix) logEnd() string {
	log, _ := os.ReadFile(filepath.Join(p.Dir, "log"))
	return string(log[max(0, len(log)-10_000):])
}
