//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// FrontMaster may act for everybody at a server that is behind a front, by PLAIN's authorization identity.
const FrontMaster, FrontMasterPassword = "keeper", "keeper-secret"

// front takes logins in front of an IMAP server's own process for one session, as the server's
// distribution does with programs that want root, PAM and fixed paths of the system's. From the
// login on, client and server speak with each other.
type front struct {
	users map[string]string
	greet string
	// serve is the session's process for a user. Its answer to being started, up to and with the line
	// that begins with ready, is not passed on.
	serve func(user string) *exec.Cmd
	ready string
}

// unpacked is where ./test/run has unpacked a server.
func unpacked(t testing.TB, name, program string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	root, err := filepath.Abs(filepath.Join(filepath.Dir(here), "..", ".work", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, program)); err != nil {
		t.Fatalf("%s is not unpacked: run ./test/run install (%v)", name, err)
	}
	return root
}

// start listens until the test ends.
func (f *front) start(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		open = make(map[net.Conn]bool)
	)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			all.Go(func() {
				f.session(conn)
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

func (f *front) session(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(format string, a ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", a...) }
	say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] %s", f.greet)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		verb, arguments, _ := strings.Cut(command, " ")
		switch strings.ToUpper(verb) {
		case "CAPABILITY":
			say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n%s OK done", tag)
		case "NOOP":
			say("%s OK done", tag)
		case "LOGOUT":
			say("* BYE\r\n%s OK done", tag)
			return
		case "AUTHENTICATE", "LOGIN":
			user, ok := f.login(strings.ToUpper(verb), arguments)
			if !ok {
				say("%s NO [AUTHENTICATIONFAILED] Login failed.", tag)
				continue
			}
			_ = conn.SetReadDeadline(time.Time{})
			f.hand(conn, in, tag, user)
			return
		default:
			say("%s BAD log in first", tag)
		}
	}
}

// login says who may come in.
func (f *front) login(verb, arguments string) (user string, ok bool) {
	var name, password, actAs string
	switch words := strings.Fields(arguments); {
	case len(words) != 2:
		return "", false
	case verb == "LOGIN":
		name, password = strings.Trim(words[0], `"`), strings.Trim(words[1], `"`)
	case strings.EqualFold(words[0], "PLAIN"):
		message, _ := base64.StdEncoding.DecodeString(words[1])
		parts := strings.Split(string(message), "\x00")
		if len(parts) != 3 {
			return "", false
		}
		actAs, name, password = parts[0], parts[1], parts[2]
	}
	name, actAs = strings.ToLower(name), strings.ToLower(actAs)
	if name == FrontMaster && password == FrontMasterPassword {
		_, ok = f.users[actAs]
		return actAs, ok
	}
	right, ok := f.users[name]
	return name, ok && password == right && (actAs == "" || actAs == name)
}

// hand has the server's process go on with the session.
func (f *front) hand(conn net.Conn, in io.Reader, tag, user string) {
	command := f.serve(user)
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	input, err1 := command.StdinPipe()
	output, err2 := command.StdoutPipe()
	if err1 != nil || err2 != nil || command.Start() != nil {
		_, _ = fmt.Fprintf(conn, "%s NO [UNAVAILABLE] the server cannot be started\r\n", tag)
		return
	}
	out := bufio.NewReader(output)
	for {
		line, err := out.ReadBytes('\n')
		if err != nil {
			break
		}
		if bytes.HasPrefix(line, []byte(f.ready)) {
			_, _ = fmt.Fprintf(conn, "%s OK logged in\r\n", tag)
			break
		}
		_, _ = conn.Write(line)
	}
	// A client that has gone ends the session, whether the process notices or not.
	gone := make(chan *time.Timer, 1)
	go func() {
		_, _ = io.Copy(input, in)
		_ = input.Close()
		gone <- time.AfterFunc(2*time.Second, func() { _ = command.Process.Kill() })
	}()
	_, _ = io.Copy(conn, out)
	_ = conn.Close()
	ended := <-gone
	_ = command.Wait()
	ended.Stop()
}
