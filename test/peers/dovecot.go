//go:build linux

package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Dovecot is a running Dovecot.
type Dovecot struct {
	IMAP, IMAPS, LMTP, Submission, POP3, POP3S string // host:port
	CA                                         string // PEM file of the authority that signed its certificate
	Dir                                        string
	Mail                                       string // Maildirs: <Mail>/<user>/Maildir

	t       testing.TB
	process *exec.Cmd
}

// DovecotOptions say what is particular about one. The zero value is a plain one.
type DovecotOptions struct {
	// Users are passwords by name, as they are, or in a scheme of Dovecot's ("{ARGON2ID}…"); nil:
	// ada@peer.example and bob@peer.example, password of each: <local part>-secret.
	Users map[string]string
	// Master is a master user's name and password, "name:password" (Dovecot's
	// auth_master_user_separator is not used: PLAIN's authorization identity is).
	Master string
	// Introspection is where it asks about OAuth tokens (RFC 7662): a URL that the token is put at the end of. It takes
	// nothing else then, for any of Users: whose a token is matters only where AnyMailbox is not set.
	Introspection string
	// AnyMailbox lets a token into each mailbox, as an application's.
	AnyMailbox bool
	// Extra is put at the end of the configuration.
	Extra string
	// MailLocation, where not the default Maildir.
	MailLocation string
}

// StartDovecot starts one and waits until it answers. It is ended with the test.
func StartDovecot(t *testing.T, o DovecotOptions) *Dovecot {
	t.Helper()
	ca := harness.NewAuthority(t)
	dir := t.TempDir()
	d := &Dovecot{Dir: dir, Mail: filepath.Join(dir, "mail"), CA: ca.CAFile, t: t}
	ports := freePorts(t, 6)
	for i, address := range []*string{&d.IMAP, &d.IMAPS, &d.LMTP, &d.Submission, &d.POP3, &d.POP3S} {
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
	}
	if o.Users == nil {
		o.Users = map[string]string{"ada@peer.example": "ada-secret", "bob@peer.example": "bob-secret"}
	}
	if o.MailLocation == "" {
		o.MailLocation = "maildir:~/Maildir"
	}
	uid, gid, owner := unprivileged(t)
	var users strings.Builder
	for name, password := range o.Users {
		if !strings.HasPrefix(password, "{") {
			password = "{PLAIN}" + password
		}
		fmt.Fprintf(&users, "%s:%s:%s:%s::%s/%s::\n", name, password, uid, gid, d.Mail, name)
	}
	write(t, filepath.Join(dir, "users"), users.String())
	master := ""
	if o.Master != "" {
		name, password, _ := strings.Cut(o.Master, ":")
		master = fmt.Sprintf("%s:{PLAIN}%s\n", name, password)
	}
	write(t, filepath.Join(dir, "masters"), master)
	if err := os.MkdirAll(d.Mail, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "oauth2.conf"), o.oauth2())
	openUp(t, dir)
	if err := os.Chmod(d.Mail, 0o777); err != nil {
		t.Fatal(err)
	}
	var config bytes.Buffer
	if err := dovecotConfig.Execute(&config, map[string]any{
		"Dir": dir, "Cert": ca.CertFile, "Key": ca.KeyFile, "Mail": d.Mail, "User": owner, "Group": group(t, gid),
		"Location": o.MailLocation, "Ports": ports, "Master": o.Master != "", "OAuth": o.Introspection != "", "Extra": o.Extra,
	}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "dovecot.conf"), config.String())
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Dovecot's log:\n%s", log)
		}
	})
	d.Start()
	return d
}

// oauth2 is what Dovecot is told of tokens. A format without a variable makes any two names the same.
func (o DovecotOptions) oauth2() string {
	if o.Introspection == "" {
		return ""
	}
	format := "%u"
	if o.AnyMailbox {
		format = "any"
	}
	return fmt.Sprintf(`introspection_mode = get
introspection_url = %s
force_introspection = yes
active_attribute = active
active_value = true
username_attribute = email
username_format = %s
`, o.Introspection, format)
}

// Start starts it again after Stop, on the same ports with the same mail.
func (d *Dovecot) Start() {
	d.t.Helper()
	d.process = exec.Command("dovecot", "-F", "-c", filepath.Join(d.Dir, "dovecot.conf"))
	var said bytes.Buffer
	d.process.Stdout, d.process.Stderr = &said, &said
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.process.Start(); err != nil {
		d.t.Fatalf("dovecot: %v (is the package dovecot-core installed?)", err)
	}
	for _, address := range []string{d.IMAP, d.LMTP, d.POP3, d.Submission} {
		awaitPort(d.t, address, func() string { return said.String() })
	}
}

// Stop ends it, sessions and all.
func (d *Dovecot) Stop() {
	if d.process == nil {
		return
	}
	// The master would wait ten seconds for its sessions to end by themselves.
	sessions := harness.Children(d.process.Process.Pid)
	_ = d.process.Process.Signal(syscall.SIGTERM)
	for _, pid := range sessions {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	_ = d.process.Wait()
	d.process = nil
}

// PID is the process id of the master process, whose children the others are.
func (d *Dovecot) PID() int { return d.process.Process.Pid }

// Restart ends it, with all its sessions, and starts it again.
func (d *Dovecot) Restart() {
	d.t.Helper()
	d.Stop()
	d.Start()
}

// Doveadm runs doveadm against this Dovecot.
func (d *Dovecot) Doveadm(args ...string) string {
	d.t.Helper()
	out, err := exec.Command("doveadm", append([]string{"-c", filepath.Join(d.Dir, "dovecot.conf")}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("doveadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// FreeAddress is a host:port of loopback that nobody listens on, for a server that another one has to be told of
// before it is there.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePorts(t, 1)[0]))
}

// freePorts finds ports that nobody listens on. They are held until all are found.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// awaitPort waits until a server says something or takes a connection.
func awaitPort(t testing.TB, address string, said func() string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", address, time.Second); err != nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
		if err == nil {
			return
		}
	}
	t.Fatalf("nothing answers at %s: %v\n%s", address, err, said())
}

// unprivileged is who owns the mail: root's servers want somebody else for it.
func unprivileged(t testing.TB) (uid, gid, name string) {
	t.Helper()
	name = "nobody"
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		name = u.Username
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return u.Uid, u.Gid, name
}

func group(t testing.TB, gid string) string {
	t.Helper()
	g, err := user.LookupGroupId(gid)
	if err != nil {
		t.Fatal(err)
	}
	return g.Name
}

// openUp lets other users pass through the folders above the test's own.
func openUp(t testing.TB, dir string) {
	t.Helper()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil && !errors.Is(err, os.ErrPermission) {
			t.Fatal(err)
		}
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var dovecotConfig = template.Must(template.New("dovecot.conf").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/log
protocols = imap lmtp pop3 submission
listen = 127.0.0.1
ssl = yes
ssl_cert = <{{.Cert}}
ssl_key = <{{.Key}}
disable_plaintext_auth = no
auth_mechanisms = {{if .OAuth}}xoauth2 oauthbearer{{else}}plain login{{end}}
auth_failure_delay = 0
default_internal_user = {{.User}}
default_login_user = {{.User}}
default_internal_group = {{.Group}}
first_valid_uid = 1
first_valid_gid = 1
mail_location = {{.Location}}
mail_home = {{.Mail}}/%u
recipient_delimiter = +
pop3_uidl_format = %08Xu%08Xv
pop3_lock_session = yes
submission_relay_host = 127.0.0.1
submission_relay_port = 1
hostname = peer.example
namespace inbox {
  inbox = yes
  separator = /
  mailbox Trash {
    auto = create
    special_use = \Trash
  }
  mailbox Sent {
    auto = create
    special_use = \Sent
  }
}
{{if .Master}}
passdb {
  driver = passwd-file
  args = {{.Dir}}/masters
  master = yes
  result_success = continue
}
{{end}}
{{if .OAuth}}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {{.Dir}}/oauth2.conf
}
{{else}}
passdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
}
{{end}}
userdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
}
service auth {
  # For other mail servers' logins.
  unix_listener auth-client {
    mode = 0666
  }
}
service anvil {
  chroot =
  # Every client comes from one address here: no penalty for those that mistype.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = {{index .Ports 0}}
  }
  inet_listener imaps {
    port = {{index .Ports 1}}
    ssl = yes
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = {{index .Ports 2}}
  }
}
service submission-login {
  chroot =
  inet_listener submission {
    port = {{index .Ports 3}}
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = {{index .Ports 4}}
  }
  inet_listener pop3s {
    port = {{index .Ports 5}}
    ssl = yes
  }
}
{{.Extra}}
`))
