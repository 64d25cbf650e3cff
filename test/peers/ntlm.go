package peers

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// NTLM is an SMTP server that lets in by NTLM alone, over STARTTLS, as gss-ntlmssp decides.
type NTLM struct {
	Address string
	said    chan string
}

// StartNTLM starts one with a certificate and accounts, each as DOMAIN:user:password. Where it is bound elsewhere, it
// wants logins that are bound to another certificate.
func StartNTLM(t testing.TB, certificate, key, accounts string, boundElsewhere bool) *NTLM {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte(accounts+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := []string{certificate, key}
	if boundElsewhere {
		argv = append(argv, "--bound-elsewhere")
	}
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(here), "ntlm-acceptor"), argv...)
	cmd.Env = append(os.Environ(), "NTLM_USER_FILE="+users)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (./test/run install)", err)
	}
	s := &NTLM{said: make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(s.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.said <- strings.TrimSpace(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-ended
		_ = cmd.Wait()
	})
	s.Address = net.JoinHostPort("127.0.0.1", s.Said(t))
	return s
}

// Said is what it says next: the name of who has come in, or why somebody has not.
func (s *NTLM) Said(t testing.TB) string {
	t.Helper()
	select {
	case line, ok := <-s.said:
		if !ok {
			t.Fatal("the NTLM acceptor has ended")
		}
		return line
	case <-time.After(2 * time.Minute):
		t.Fatal("the NTLM acceptor says nothing")
	}
	return ""
}
