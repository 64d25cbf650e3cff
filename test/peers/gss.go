package peers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// GSS judges logins by NTLM and Negotiate, as gss-ntlmssp and MIT Kerberos do. Any number of goroutines may use it.
type GSS struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
	ids int
}

// GSSAccounts are who a [GSS] knows. What is empty knows nobody.
type GSSAccounts struct {
	// NTLM has accounts as DOMAIN:user:password, one in a line.
	NTLM string
	// Keytab and Config are files of Kerberos: the service's keytab, and a krb5.conf.
	Keytab, Config string
}

// StartGSS starts one, which ends with the test.
func StartGSS(t testing.TB, accounts GSSAccounts) *GSS {
	t.Helper()
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(accounts.NTLM+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(folder(t), "gss-acceptor"))
	cmd.Env = append(os.Environ(), "NTLM_USER_FILE="+users, "KRB5_KTNAME="+accounts.Keytab, "KRB5_CONFIG="+accounts.Config,
		"KRB5RCACHENAME=file2:"+filepath.Join(dir, "replays"))
	cmd.Stderr = t.Output()
	g := &GSS{}
	out, err := cmd.StdoutPipe()
	if err == nil {
		g.in, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("%v (./test/run install)", err)
	}
	g.out = bufio.NewReader(out)
	t.Cleanup(func() {
		_ = g.in.Close()
		_ = cmd.Wait()
	})
	return g
}

// folder is this package's, wherever the test is run from and however it was built.
func folder(t testing.TB) string {
	t.Helper()
	if _, here, _, _ := runtime.Caller(0); filepath.IsAbs(here) {
		return filepath.Dir(here)
	}
	dir, err := os.Getwd() // -trimpath: a test is run in its package's folder
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return filepath.Join(dir, "test", "peers")
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("the folder of the repository is not found: %v", err)
	return ""
}

// GSSLogin is one login that is judged.
type GSSLogin struct {
	gss       *GSS
	id        string
	mechanism string
	binding   []byte
}

// Verdict is what comes of a step.
type Verdict struct {
	// Token is for the client.
	Token []byte `json:"token"`
	// Complete: the login is good, of the principal Name. Bound: it is bound to the channel.
	Complete bool   `json:"complete"`
	Name     string `json:"name"`
	Bound    bool   `json:"bound"`
	// Error says why it is not.
	Error string `json:"error"`
}

// Begin begins a login by "NTLM" or "Negotiate". binding is what the client must have bound it to, if to anything:
// "tls-server-end-point:" and the hash (RFC 5929 §4). Empty: it is not looked at.
func (g *GSS) Begin(mechanism string, binding []byte) *GSSLogin {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids++
	return &GSSLogin{gss: g, id: fmt.Sprint(g.ids), mechanism: mechanism, binding: binding}
}

// Step judges a client's token. An error is one of the judge's, and no verdict.
func (l *GSSLogin) Step(token []byte) (Verdict, error) {
	l.gss.mu.Lock()
	defer l.gss.mu.Unlock()
	var v Verdict
	step, err := json.Marshal(map[string]any{"id": l.id, "mechanism": l.mechanism, "binding": l.binding, "token": token})
	if err != nil {
		return v, err
	}
	if _, err := l.gss.in.Write(append(step, '\n')); err != nil {
		return v, err
	}
	line, err := l.gss.out.ReadBytes('\n')
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(line, &v)
}

// End forgets a login that is not complete.
func (l *GSSLogin) End() { _, _ = l.Step(nil) }
