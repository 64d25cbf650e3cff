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
	"strconv"
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

// Fronted is a running IMAP server behind a front.
type Fronted struct {
	IMAP string // host:port, without TLS
	Dir  string // of the users' homes, by user

	t         testing.TB
	front     front
	listener  net.Listener
	accepting sync.WaitGroup
	sessions  sync.WaitGroup
	mu        sync.Mutex
	open      map[net.Conn]bool
	ended     *sync.Cond // of mu: a session has
}

// unpackedServer is one whose packages ./test/run has unpacked.
type unpackedServer struct {
	name, program string
	// prepare makes a user's home, which the user owns afterwards.
	prepare func(programs, home string)
	// serve is the process for a user's session. It runs as the user, in the user's home.
	serve func(programs, home, user string) *exec.Cmd
	// greet and ready are as in front.
	greet, ready string
}

// startFronted starts a server for these users, until the test ends; nil: ada and bob, as with Dovecot.
func startFronted(t testing.TB, users map[string]string, server unpackedServer) *Fronted {
	t.Helper()
	f := &Fronted{IMAP: "127.0.0.1:0", Dir: t.TempDir(), t: t, open: make(map[net.Conn]bool)}
	f.ended = sync.NewCond(&f.mu)
	programs := copied(t, unpacked(t, server.name, server.program))
	uid, gid, _ := unprivileged(t)
	users = usual(users)
	for user := range users {
		home := filepath.Join(f.Dir, user)
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		server.prepare(programs, home)
	}
	giveAway(t, f.Dir, uid, gid)
	f.front = front{users: users, greet: server.greet, ready: server.ready, serve: func(user string) *exec.Cmd {
		home := filepath.Join(f.Dir, user)
		command := server.serve(programs, home, user)
		command.Dir, command.SysProcAttr = home, as(uid, gid)
		return command
	}}
	f.Start()
	t.Cleanup(f.Stop)
	return f
}

// Start listens, at the same address each time.
func (f *Fronted) Start() {
	f.t.Helper()
	l, err := net.Listen("tcp", f.IMAP)
	if err != nil {
		f.t.Fatal(err)
	}
	f.listener, f.IMAP = l, l.Addr().String()
	f.accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.open[conn] = true
			f.mu.Unlock()
			f.sessions.Go(func() {
				f.front.session(conn)
				f.mu.Lock()
				delete(f.open, conn)
				f.ended.Broadcast()
				f.mu.Unlock()
			})
		}
	})
}

// Wait waits until all sessions have ended, with their processes, which they have a short time after their
// clients have gone.
func (f *Fronted) Wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.open) > 0 {
		f.ended.Wait()
	}
}

// Stop ends it, sessions and all.
func (f *Fronted) Stop() {
	_ = f.listener.Close()
	f.accepting.Wait() // no session begins from here on
	f.mu.Lock()
	for conn := range f.open {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.sessions.Wait()
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

func usual(users map[string]string) map[string]string {
	if users == nil {
		return map[string]string{"ada@peer.example": "ada-secret", "bob@peer.example": "bob-secret"}
	}
	return users
}

// copied is a copy of unpacked programs that a user who is not root can reach.
func copied(t testing.TB, root string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "programs")
	if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	openUp(t, dir)
	return dir
}

// giveAway makes a user own a folder with all in it.
func giveAway(t testing.TB, dir, uid, gid string) {
	t.Helper()
	openUp(t, dir)
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-R", uid+":"+gid, dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
}

// as are the attributes of a process of a user's.
func as(uid, gid string) *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	u, _ := strconv.ParseUint(uid, 10, 32)
	g, _ := strconv.ParseUint(gid, 10, 32)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}}
}
