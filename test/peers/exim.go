//go:build linux

package peers

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"

	"github.com/dipylon/dipylon/test/harness"
)

// Exim is a running Exim: a submission server that keeps in its queue what it takes. It offers
// AUTH LOGIN alone, with prompts that are not the usual ones, unless a Dovecot judges logins.
type Exim struct {
	Submission string // host:port, with STARTTLS, which its logins need
	CA         string // PEM file of the authority that signed its certificate
	Dir        string

	t       testing.TB
	process *exec.Cmd
}

// EximOptions say what is particular about one.
type EximOptions struct {
	Users map[string]string // name → password; nil: ada and bob, as with Dovecot
	// Dovecot judges logins in the place of Users, which are by XOAUTH2 alone then.
	Dovecot *Dovecot
	// Recipients is how many it takes in a transaction; 0: any number.
	Recipients int
	// Reject has it refuse a whole transaction with more, after all that were within the number
	// had been taken (recipients_max_reject).
	Reject bool
	// Messages is how many it takes on a connection; 0: Exim's own limit.
	Messages int
}

// Queued is a message in its queue.
type Queued struct {
	From    string // the reverse-path
	Login   string // who has logged in
	To      []string
	Content string // the body
}

// StartExim starts one and waits until it answers. Recipients with the local part nobody are
// refused, those with later are deferred. It cannot be installed beside another mail server, so
// ./test/run unpacks its package into test/.work/exim.
func StartExim(t *testing.T, o EximOptions) *Exim {
	t.Helper()
	if o.Users == nil {
		o.Users = map[string]string{"ada@peer.example": "ada-secret", "bob@peer.example": "bob-secret"}
	}
	return startExim(t, strconv.Itoa(freePorts(t, 1)[0]), eximConfig, map[string]any{"Users": o.Users, "O": o})
}

// startExim starts one by a template of its configuration, which is told its folder and its port, too.
func startExim(t *testing.T, port string, template *template.Template, values map[string]any) *Exim {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	program := filepath.Join(filepath.Dir(here), "..", ".work", "exim", "usr/sbin/exim4")
	octets, err := os.ReadFile(program)
	if err != nil {
		t.Fatalf("Exim is not unpacked: run ./test/run install (%v)", err)
	}
	ca := harness.NewAuthority(t)
	e := &Exim{Dir: t.TempDir(), CA: ca.CAFile, t: t}
	e.Submission = net.JoinHostPort("127.0.0.1", port)
	for _, folder := range []string{"spool", "log", "mail"} {
		if err := os.Mkdir(filepath.Join(e.Dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Its user may not have a way into the repository.
	if err := os.WriteFile(filepath.Join(e.Dir, "exim4"), octets, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, from := range map[string]string{"server.crt": ca.CertFile, "server.key": ca.KeyFile} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(e.Dir, file), string(content))
	}
	values["Dir"], values["Port"] = e.Dir, port
	var config bytes.Buffer
	if err := template.Execute(&config, values); err != nil {
		t.Fatal(err)
	}
	e.owned(config.String())
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			for _, name := range []string{"main", "reject", "panic"} {
				log, _ := os.ReadFile(filepath.Join(e.Dir, "log", name+"log"))
				t.Logf("Exim's %slog:\n%s", name, log)
			}
		}
	})
	e.start()
	return e
}

// owned gives the files to the user that Exim runs as. Its configuration has to be root's, or that
// user's.
func (e *Exim) owned(config string) {
	uid, gid, _ := unprivileged(e.t)
	for file, name := range map[string]string{"passwd": "/etc/passwd", "group": "/etc/group"} {
		content, err := os.ReadFile(name)
		if err != nil {
			e.t.Fatal(err)
		}
		line := "Debian-exim:x:" + gid + ":\n"
		if file == "passwd" {
			line = "Debian-exim:x:" + uid + ":" + gid + "::/:/bin/false\n"
		}
		write(e.t, filepath.Join(e.Dir, file), string(content)+line)
	}
	openUp(e.t, e.Dir)
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-R", uid+":"+gid, e.Dir).CombinedOutput(); err != nil {
			e.t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	write(e.t, filepath.Join(e.Dir, "exim.conf"), config)
}

// start has it find its user, whom no package has made, by libnss-wrapper.
func (e *Exim) start() {
	e.t.Helper()
	var said bytes.Buffer
	e.process = exec.Command(filepath.Join(e.Dir, "exim4"), "-C", filepath.Join(e.Dir, "exim.conf"), "-bdf")
	e.process.Env = append(os.Environ(), "LD_PRELOAD=libnss_wrapper.so",
		"NSS_WRAPPER_PASSWD="+filepath.Join(e.Dir, "passwd"), "NSS_WRAPPER_GROUP="+filepath.Join(e.Dir, "group"))
	e.process.Stdout, e.process.Stderr = &said, &said
	e.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := e.process.Start(); err != nil {
		e.t.Fatal(err)
	}
	awaitPort(e.t, e.Submission, func() string { return "is the package libnss-wrapper installed? " + said.String() })
}

// Stop ends it.
func (e *Exim) Stop() {
	if e.process == nil {
		return
	}
	_ = syscall.Kill(-e.process.Process.Pid, syscall.SIGTERM)
	_ = e.process.Wait()
	e.process = nil
}

// Queue is what it has taken.
func (e *Exim) Queue() (all []Queued) {
	e.t.Helper()
	headers, err := filepath.Glob(filepath.Join(e.Dir, "spool/input/*-H"))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, name := range headers {
		envelope, err := os.ReadFile(name)
		if err != nil {
			e.t.Fatal(err)
		}
		body, err := os.ReadFile(strings.TrimSuffix(name, "-H") + "-D")
		if err != nil {
			e.t.Fatal(err)
		}
		_, content, _ := strings.Cut(string(body), "\n") // the first line is the message's id
		all = append(all, Queued{
			From: matched(envelopeFrom, string(envelope)), Login: matched(envelopeLogin, string(envelope)), To: recipients(string(envelope)), Content: content,
		})
	}
	return all
}

// In a header file of Exim's spool the reverse-path is a line of its own, and who has logged in another.
var envelopeFrom, envelopeLogin = regexp.MustCompile(`(?m)^<(.*)>$`), regexp.MustCompile(`(?m)^--?auth_id (.*)$`)

func matched(pattern *regexp.Regexp, text string) string {
	found := pattern.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

// recipients reads them off a header file of Exim's spool: their number in a line of its own, and
// one in each line behind it.
func recipients(envelope string) []string {
	lines := strings.Split(envelope, "\n")
	for i, line := range lines {
		n, err := strconv.Atoi(line)
		if err == nil && i > 3 && i+n+1 < len(lines) && lines[i+n+1] == "" {
			return slices.Clone(lines[i+1 : i+1+n])
		}
	}
	return nil
}

// Logged says how often its log has a text.
func (e *Exim) Logged(text string) int {
	e.t.Helper()
	log, err := os.ReadFile(filepath.Join(e.Dir, "log/mainlog"))
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

var eximConfig = template.Must(template.New("exim.conf").Parse(`primary_hostname = submit.peer.example
spool_directory = {{.Dir}}/spool
log_file_path = {{.Dir}}/log/%slog
log_selector = +smtp_connection
pid_file_path = {{.Dir}}/pid
exim_user = Debian-exim
exim_group = Debian-exim
local_interfaces = 127.0.0.1
daemon_smtp_ports = {{.Port}}
keep_environment =
queue_only = true
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = *
tls_certificate = {{.Dir}}/server.crt
tls_privatekey = {{.Dir}}/server.key
auth_advertise_hosts = ${if def:tls_cipher{*}}
{{if .O.Recipients}}recipients_max = {{.O.Recipients}}
{{end}}{{if .O.Reject}}recipients_max_reject = true
{{end}}{{if .O.Messages}}smtp_accept_max_per_connection = {{.O.Messages}}
{{end}}acl_smtp_rcpt = acl_rcpt
begin acl
acl_rcpt:
  deny !authenticated = *
       message = 5.7.1 log in first
  deny local_parts = nobody
       message = 5.1.1 there is nobody
  defer local_parts = later
       message = 4.2.0 not now
  accept
begin routers
begin transports
begin authenticators
{{if .O.Dovecot}}xoauth2:
  driver = dovecot
  public_name = XOAUTH2
  server_socket = {{.O.Dovecot.Dir}}/run/auth-client
  server_set_id = $auth1
{{else}}login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Benutzername : Kennwort
  server_condition = ${if or{ {{range $name, $password := .Users}}{and{ {eq{$auth1}{ {{- $name -}} }} {eq{$auth2}{ {{- $password -}} }} }} {{end}} }}
  server_set_id = $auth1
{{end}}`))
