//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Cyrus is a running Cyrus IMAP server with its httpd, which speaks JMAP.
type Cyrus struct {
	IMAP, IMAPS, LMTP, HTTP, HTTPS string // host:port
	JMAP                           string // URL of the session resource
	CA                             string // PEM file of the authority that signed its certificate
	Dir                            string

	t       testing.TB
	process *exec.Cmd
	root    string
}

// CyrusAdmin may act for everybody, by PLAIN's authorization identity.
const CyrusAdmin, CyrusAdminPassword = "keeper@peer.example", "keeper-secret"

// CyrusOptions say what is particular about one.
type CyrusOptions struct {
	Users map[string]string // name → password; nil: ada and bob, as with Dovecot
	Extra string            // lines for imapd.conf
	// SMTP is where JMAP submissions go, host:port. Cyrus offers none without it.
	SMTP string
}

// StartCyrus starts one and waits until it answers. Cyrus cannot be installed beside Dovecot,
// so ./test/run unpacks its packages into test/.work/cyrus.
func StartCyrus(t *testing.T, o CyrusOptions) *Cyrus {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", ".work", "cyrus")
	if _, err := os.Stat(filepath.Join(root, "usr/lib/cyrus/bin/master")); err != nil {
		t.Fatalf("Cyrus is not unpacked: run ./test/run install (%v)", err)
	}
	ca := harness.NewAuthority(t)
	c := &Cyrus{Dir: t.TempDir(), CA: ca.CAFile, t: t}
	// Its processes are not root's, who may have the repository where nobody else can go.
	c.root = filepath.Join(c.Dir, "programs")
	if err := os.CopyFS(c.root, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 5)
	for i, address := range []*string{&c.IMAP, &c.IMAPS, &c.LMTP, &c.HTTP, &c.HTTPS} {
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
	}
	c.JMAP = "http://" + c.HTTP + "/jmap/"
	if o.Users == nil {
		o.Users = map[string]string{"ada@peer.example": "ada-secret", "bob@peer.example": "bob-secret"}
	}
	c.configure(t, ca, ports, o)
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
			t.Logf("Cyrus's log:\n%s", log)
		}
	})
	c.Start()
	for user, password := range o.Users {
		c.createMailboxes(user, password)
	}
	return c
}

func (c *Cyrus) configure(t *testing.T, ca *harness.Authority, ports []int, o CyrusOptions) {
	t.Helper()
	uid, gid, owner := unprivileged(t)
	for _, folder := range []string{"conf", "spool", "run", "conf/proc", "conf/socket", "conf/db", "conf/lock", "conf/user", "conf/quota", "conf/log", "conf/msg", "conf/ptclient", "conf/rpm", "sieve"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	values := map[string]any{
		"Dir": c.Dir, "Bin": filepath.Join(c.root, "usr/lib/cyrus/bin"), "Cert": filepath.Join(c.Dir, "server.crt"), "Key": filepath.Join(c.Dir, "server.key"),
		"User": owner, "Group": group(t, gid), "Ports": ports, "Admin": CyrusAdmin, "Extra": o.Extra, "SMTP": o.SMTP,
	}
	for _, file := range []string{"server.crt", "server.key"} {
		from := map[string]string{"server.crt": ca.CertFile, "server.key": ca.KeyFile}[file]
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(c.Dir, file), string(content))
	}
	for name, text := range map[string]*template.Template{"imapd.conf": cyrusIMAPD, "cyrus.conf": cyrusMaster} {
		var b bytes.Buffer
		if err := text.Execute(&b, values); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(c.Dir, name), b.String())
	}
	for name, password := range o.Users {
		c.setPassword(name, password)
	}
	c.setPassword(CyrusAdmin, CyrusAdminPassword)
	openUp(t, c.Dir)
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-R", uid+":"+gid, c.Dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
}

func (c *Cyrus) setPassword(user, password string) {
	c.t.Helper()
	local, domain, _ := strings.Cut(user, "@")
	command := exec.Command("saslpasswd2", "-p", "-c", "-f", filepath.Join(c.Dir, "sasldb2"), "-u", domain, local)
	command.Stdin = strings.NewReader(password)
	if out, err := command.CombinedOutput(); err != nil {
		c.t.Fatalf("saslpasswd2: %v\n%s (is sasl2-bin installed?)", err, out)
	}
}

// Start starts it again after Stop, on the same ports with the same mail.
func (c *Cyrus) Start() {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.process = exec.Command(filepath.Join(c.root, "usr/lib/cyrus/bin/master"),
		"-C", filepath.Join(c.Dir, "imapd.conf"), "-M", filepath.Join(c.Dir, "cyrus.conf"), "-p", filepath.Join(c.Dir, "run/pid"))
	c.process.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(c.root, "usr/lib/x86_64-linux-gnu"))
	c.process.Stdout, c.process.Stderr = log, log
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := c.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	said := func() string {
		text, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
		return string(text)
	}
	awaitPort(c.t, c.IMAP, said)
	awaitPort(c.t, c.LMTP, said)
}

// Stop ends it, sessions and all.
func (c *Cyrus) Stop() {
	if c.process == nil {
		return
	}
	pid, ended := c.process.Process.Pid, make(chan struct{})
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	go func() {
		defer close(ended)
		_ = c.process.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second): // its master sometimes spins instead of ending
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-ended
	c.process = nil
}

// createMailboxes makes a user's inbox as the administrator, and as the user the folders with
// their roles, which nobody else may give.
func (c *Cyrus) createMailboxes(user, password string) {
	c.t.Helper()
	local, domain, _ := strings.Cut(user, "@")
	c.imap(CyrusAdmin, CyrusAdminPassword, "CREATE user/"+local+"@"+domain)
	c.imap(user, password, `CREATE Trash (USE (\Trash))`, `CREATE Sent (USE (\Sent))`, `CREATE Drafts (USE (\Drafts))`)
}

// imap logs in and gives commands, each of which has to succeed.
func (c *Cyrus) imap(user, password string, commands ...string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.IMAP)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func(command string) {
		c.t.Helper()
		fmt.Fprintf(conn, "a %s\r\n", command)
		for {
			line, err := in.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "a ") && !strings.HasPrefix(line, "a OK") {
				c.t.Fatalf("%s: %s %v", command, line, err)
			}
			if strings.HasPrefix(line, "a OK") {
				return
			}
		}
	}
	ask("LOGIN " + user + " " + password)
	for _, command := range commands {
		ask(command)
	}
}

var cyrusIMAPD = template.Must(template.New("imapd.conf").Parse(`configdirectory: {{.Dir}}/conf
partition-default: {{.Dir}}/spool
defaultpartition: default
proc_path: {{.Dir}}/conf/proc
mboxname_lockpath: {{.Dir}}/conf/lock
lmtpsocket: {{.Dir}}/run/lmtp
idlesocket: {{.Dir}}/run/idle
notifysocket: {{.Dir}}/run/notify
cyrus_user: {{.User}}
cyrus_group: {{.Group}}
servername: peer.example
defaultdomain: peer.example
virtdomains: userid
unixhierarchysep: yes
altnamespace: yes
admins: keeper {{.Admin}}
proxyservers: keeper {{.Admin}}
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {{.Dir}}/sasldb2
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
tls_server_cert: {{.Dir}}/server.crt
tls_server_key: {{.Dir}}/server.key
lmtp_downcase_rcpt: yes
lmtp_over_quota_perm_failure: no
sievedir: {{.Dir}}/sieve
httpmodules: jmap
httpallowcompress: no
http_jwt_max_age: 0
duplicatesuppression: no
failedloginpause: 0
munge8bit: no
reject8bit: no
conversations: yes
conversations_db: twoskip
search_engine: none
caldav_realm: peer.example
maxmessagesize: 209715200
postmaster: postmaster@peer.example
syslog_prefix: cyrus
{{if .SMTP}}smtp_backend: host
smtp_host: {{.SMTP}}
{{end}}{{.Extra}}
`))

var cyrusMaster = template.Must(template.New("cyrus.conf").Parse(`START {
  recover cmd="{{.Bin}}/ctl_cyrusdb -C {{.Dir}}/imapd.conf -r"
}
SERVICES {
  imap cmd="{{.Bin}}/imapd -C {{.Dir}}/imapd.conf -U 30" listen="127.0.0.1:{{index .Ports 0}}" prefork=0 maxchild=100
  imaps cmd="{{.Bin}}/imapd -C {{.Dir}}/imapd.conf -s -U 30" listen="127.0.0.1:{{index .Ports 1}}" prefork=0 maxchild=100
  lmtp cmd="{{.Bin}}/lmtpd -C {{.Dir}}/imapd.conf -a" listen="127.0.0.1:{{index .Ports 2}}" prefork=0 maxchild=20
  http cmd="{{.Bin}}/httpd -C {{.Dir}}/imapd.conf" listen="127.0.0.1:{{index .Ports 3}}" prefork=0 maxchild=100
  https cmd="{{.Bin}}/httpd -C {{.Dir}}/imapd.conf -s" listen="127.0.0.1:{{index .Ports 4}}" prefork=0 maxchild=100
}
EVENTS {
}
`))
