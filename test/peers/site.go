//go:build linux

package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"text/template"

	"github.com/dipylon/dipylon/test/harness"
)

// Site is what a mail server is for that has a domain, and takes its users' mail to everybody by MX. It listens at
// port 25 of every address, so it has a network namespace of its own; its users send from there, by loopback.
type Site struct {
	Host string // what it calls itself
	// Domain is its mail domain, and Boxes are the local parts that have a mailbox there: a Maildir each,
	// <Mail>/<address>.
	Domain string
	Boxes  []string
}

// siteSize bounds a message, as it does with large providers.
const siteSize = 50 << 20

// PostfixSite starts Postfix for a site.
func PostfixSite(t *testing.T, s Site) (mail string) {
	t.Helper()
	var boxes []string
	for _, box := range s.Boxes {
		boxes = append(boxes, box+"@"+s.Domain)
	}
	return StartPostfix(t, PostfixOptions{Public: true, Boxes: boxes, Settings: []string{
		"myhostname = " + s.Host, fmt.Sprint("message_size_limit = ", siteSize), "virtual_mailbox_limit = 0",
		"minimal_backoff_time = 1s", "queue_run_delay = 1s",
	}}).Mail
}

// EximSite starts Exim for a site.
func EximSite(t *testing.T, s Site) (mail string) {
	t.Helper()
	return filepath.Join(startExim(t, "25", eximSite, map[string]any{"Site": s, "Size": siteSize}).Dir, "mail")
}

// It has one user and no privileges, so it delivers as the user that it runs as.
var eximSite = template.Must(template.New("exim.conf").Parse(`primary_hostname = {{.Site.Host}}
spool_directory = {{.Dir}}/spool
log_file_path = {{.Dir}}/log/%slog
log_selector = +smtp_connection
pid_file_path = {{.Dir}}/pid
exim_path = {{.Dir}}/exim4
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege
daemon_smtp_ports = {{.Port}}
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
message_size_limit = {{.Size}}
dsn_advertise_hosts = *
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = *
tls_certificate = {{.Dir}}/server.crt
tls_privatekey = {{.Dir}}/server.key
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept
domainlist ours = {{.Site.Domain}}
begin acl
acl_rcpt:
  accept hosts = 127.0.0.1 : ::1
  accept domains = +ours
         verify = recipient
  deny message = there is no such mailbox, and no relaying
begin routers
away:
  driver = dnslookup
  domains = ! +ours
  transport = smtp
  no_more
here:
  driver = accept
  local_parts = {{range $n, $box := .Site.Boxes}}{{if $n}} : {{end}}{{$box}}{{end}}
  transport = box
begin transports
smtp:
  driver = smtp
box:
  driver = appendfile
  directory = {{.Dir}}/mail/${local_part_data}@{{.Site.Domain}}
  maildir_format
begin retry
* * F,1h,1s
`))

// OpenSMTPDSite starts OpenSMTPD for a site. Its package conflicts with any other mail server's, so ./test/run unpacks
// it into test/.work/opensmtpd. Where it keeps its queue, where its programs are, and as which users it runs, was settled
// when it was compiled: the test has a /etc (with [OpenSMTPDAccounts]), a /run, a /usr/libexec and a /var of its own, and
// starts one at a time.
//
// It offers STARTTLS, and as Debian 12 has it (6.8.0p2), it cannot do it, with a key of RSA or of ECDSA, by TLS 1.2 or 1.3: the
// process that has the connections is given the key without its secret, and has another process sign by replacing OpenSSL's
// methods of keys, which OpenSSL 3 does not ask. As a client it has no key, and does TLS.
func OpenSMTPDSite(t *testing.T, s Site) (mail string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	unpacked := filepath.Join(filepath.Dir(here), "..", ".work", "opensmtpd")
	dir := t.TempDir()
	mail = filepath.Join(dir, "mail")
	openUp(t, dir)
	uid, gid, _ := unprivileged(t)
	folders := []string{mail}
	var users, boxes, config strings.Builder
	for _, box := range s.Boxes {
		home := filepath.Join(mail, box+"@"+s.Domain)
		folders = append(folders, home) // it changes to the user's home before it delivers
		fmt.Fprintf(&users, "%s %s:%s:%s\n", box, uid, gid, home)
		fmt.Fprintf(&boxes, "%s@%s %s\n", box, s.Domain, box)
	}
	if err := opensmtpdSite.Execute(&config, map[string]any{"Dir": dir, "Site": s, "Size": siteSize}); err != nil {
		t.Fatal(err)
	}
	ca := harness.NewAuthority(t)
	run(t, "install", "-m", "600", ca.CertFile, filepath.Join(dir, "server.crt"))
	run(t, "install", "-m", "600", ca.KeyFile, filepath.Join(dir, "server.key"))
	write(t, filepath.Join(dir, "users"), users.String())
	write(t, filepath.Join(dir, "boxes"), boxes.String())
	write(t, filepath.Join(dir, "smtpd.conf"), config.String())
	run(t, append([]string{"install", "-d", "-o", uid, "-g", gid}, folders...)...)
	run(t, "rm", "-rf", "/var/spool/smtpd", "/usr/libexec/opensmtpd")
	run(t, "install", "-d", "-m", "711", "/var/lib/opensmtpd/empty", "/var/spool/smtpd")
	run(t, "cp", "-r", filepath.Join(unpacked, "usr/libexec/opensmtpd"), "/usr/libexec/")
	startOpenSMTPD(t, filepath.Join(unpacked, "usr/sbin/smtpd"), dir)
	return mail
}

func startOpenSMTPD(t *testing.T, program, dir string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string {
		all, _ := os.ReadFile(log.Name())
		return string(all)
	}
	cmd := exec.Command(program, "-d", "-f", filepath.Join(dir, "smtpd.conf"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("OpenSMTPD is unpacked by ./test/run install: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("OpenSMTPD's log:\n%s", said())
		}
	})
	awaitPort(t, "127.0.0.1:25", said)
}

func run(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v (is it unpacked? ./test/run install)\n%s", command, err, out)
	}
}

// OpenSMTPDAccounts are its users and groups, as lines of passwd(5) and of group(5).
const OpenSMTPDAccounts, OpenSMTPDGroups = "opensmtpd:x:64001:64001::/nonexistent:/bin/false\nopensmtpq:x:64002:64002::/nonexistent:/bin/false\n",
	"opensmtpd:x:64001:\nopensmtpq:x:64002:\n"

var opensmtpdSite = template.Must(template.New("smtpd.conf").Parse(`smtp max-message-size "{{.Size}}"
table users file:{{.Dir}}/users
table boxes file:{{.Dir}}/boxes
pki site cert "{{.Dir}}/server.crt"
pki site key "{{.Dir}}/server.key"
listen on 0.0.0.0 port 25 hostname {{.Site.Host}} tls pki site
listen on :: port 25 hostname {{.Site.Host}} tls pki site
action "deliver" maildir "%{user.directory}" userbase <users> virtual <boxes>
action "relay" relay helo {{.Site.Host}}
match from any for domain "{{.Site.Domain}}" action "deliver"
match from local for any action "relay"
`))
