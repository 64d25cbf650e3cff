package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen.
const patience = 60 * time.Second

// process is a gateway that a test runs.
type process struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	out  lockedBuffer
	exit chan error

	mu    sync.Mutex
	lines []map[string]any
	more  chan struct{} // closed, and made anew, with each line
}

// lockedBuffer is what was printed, and tells when there is more.
type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.b.Write(p)
}

// now is what was printed so far; the channel is closed when there is more.
func (l *lockedBuffer) now() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return l.b.String(), l.more
}

// awaitPrinted waits until a text is on the standard output, and gives all of it.
func (p *process) awaitPrinted(text string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		printed, more := p.out.now()
		if strings.Contains(printed, text) {
			return printed
		}
		select {
		case <-more:
		case <-timeout:
			p.t.Fatalf("it never prints %q", text)
		}
	}
}

// serveIn starts "dipylon serve" in a folder. With a configuration, it is written to a file first.
func serveIn(t *testing.T, dir, configuration string, env ...string) *process {
	t.Helper()
	args := []string{"serve"}
	if configuration != "" {
		write(t, dir, configuration)
		args = append(args, "--config", "gate.yaml")
	}
	p := &process{t: t, dir: dir, cmd: exec.Command("dipylon", args...), exit: make(chan error, 1), more: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout = dir, &p.out
	p.cmd.Env = append(os.Environ(), env...)
	log, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.read(log) })
	go func() {
		reading.Wait()
		p.exit <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended as a rule
		reading.Wait()
		if t.Failed() {
			t.Logf("the log of the gateway:\n%s", p.log())
		}
	})
	return p
}

func write(t *testing.T, dir, configuration string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "gate.yaml"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *process) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		entry := map[string]any{}
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			entry["message"] = lines.Text()
		}
		p.mu.Lock()
		p.lines = append(p.lines, entry)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, line := range p.lines {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// mark is the place in the log that await looks from.
func (p *process) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// await waits for a log line that has a text in its message, and fields, "name=value".
func (p *process) await(from int, message string, fields ...string) map[string]any {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		for ; from < len(p.lines); from++ {
			if matches(p.lines[from], message, fields) {
				defer p.mu.Unlock()
				return p.lines[from]
			}
		}
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			p.t.Fatalf("the log never says %q %v", message, fields)
		}
	}
}

func matches(line map[string]any, message string, fields []string) bool {
	text, _ := line["message"].(string)
	if !strings.Contains(text, message) {
		return false
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if !strings.Contains(fmt.Sprint(line[name]), value) {
			return false
		}
	}
	return true
}

// address waits until a protocol is listened for, and gives where.
func (p *process) address(from int, protocol string) string {
	p.t.Helper()
	for {
		line := p.await(from, "listening", "protocol="+protocol)
		if line["protocol"] == protocol {
			return line["address"].(string)
		}
		from++
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ended waits for the end and gives the exit status.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.exit:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatal("the gateway does not end")
		return -1
	}
}

func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.ended(); status != exitOK {
		p.t.Errorf("it ends with status %d", status)
	}
}

// user makes an account.
func (p *process) user(root, address string) {
	p.t.Helper()
	addUser(p.t, p.dir, root, address)
}

const password = "open sesame"

func addUser(t *testing.T, dir, root, address string) {
	t.Helper()
	cmd := exec.Command("dipylon", "maildir", "user", "add", "--root", root, address)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// talk is a conversation in lines, with either protocol.
type talk struct {
	t    *testing.T
	conn net.Conn
	text *textproto.Conn
}

func dial(t *testing.T, address string, overTLS bool) *talk {
	t.Helper()
	var conn net.Conn
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if overTLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &talk{t, conn, textproto.NewConn(conn)}
}

// expect reads a line that begins with a text. Replies of several lines are read to their end.
func (c *talk) expect(want string) string {
	c.t.Helper()
	for {
		line, err := c.text.ReadLine()
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", want, err)
		}
		if len(line) > 3 && line[3] == '-' && line[0] >= '2' && line[0] <= '5' {
			continue
		}
		if !strings.HasPrefix(line, want) {
			c.t.Fatalf("the answer is %q, want %q", line, want)
		}
		return line
	}
}

func (c *talk) say(command, want string) string {
	c.t.Helper()
	if err := c.text.PrintfLine("%s", command); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	return c.expect(want)
}

// pop3 logs in to a POP3 listener that takes plain passwords.
func pop3Login(t *testing.T, address, user, password string, overTLS bool) *talk {
	t.Helper()
	c := dial(t, address, overTLS)
	c.expect("+OK")
	c.say("USER "+user, "+OK")
	c.say("PASS "+password, "+OK")
	return c
}

// deliver hands a message to an MX.
func deliver(t *testing.T, address, recipient, subject string) {
	t.Helper()
	c := dial(t, address, false)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<sender@elsewhere.example>", "250")
	c.say("RCPT TO:<"+recipient+">", "250")
	c.say("DATA", "354")
	c.say("From: sender@elsewhere.example\r\nSubject: "+subject+"\r\n\r\nHello.\r\n.", "250")
	c.say("QUIT", "221")
}
