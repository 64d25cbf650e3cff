package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/dipylon/dipylon/plugins/proto/wire"
)

const (
	// handshakeMost bounds the line that a plugin may write to standard output as a handshake:
	// with a certificate in it, it is about a thousand octets long.
	handshakeMost = 8 << 10
	// lingering is how long the pipes of a process that has ended are still read: a child of
	// it may hold them open for ever.
	lingering = 300 * time.Millisecond
)

// process is one run of a plugin's program. It is a [runner.Runner], since go-plugin's own
// waits for the pipes before it waits for the process, and hands all that the process writes
// to a parser that trusts it.
//
// A process has three goroutines: one that starts it and waits for it, and one for each of
// its outputs. They have ended when exited is closed.
type process struct {
	cmd     *exec.Cmd
	private string // folder that a unix socket has to be in
	tcp     bool   // a loopback TCP address is taken

	handshake *os.File  // go-plugin reads the first line of standard output here
	greeting  *greeting // what that line was
	output    *lines    // takes what else the process writes, on either output

	lifeline *os.File    // the other end is the process's standard input
	files    *fileSocket // the other end is what wire.FilesKey names; nil: there is none
	exited   chan struct{}
	err      error // of the wait, once exited is closed

	killing sync.Mutex // around starting, killing and collecting
	killed  bool
	reaped  bool
}

var _ runner.Runner = (*process)(nil)

// greeting remembers a plugin's first line, to explain why a start failed.
type greeting struct {
	mu   sync.Mutex
	line string
	seen bool
	open bool // without the LF that ends a line
}

func (g *greeting) set(line []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.line, g.seen, g.open = string(bytes.TrimSpace(line)), true, !bytes.HasSuffix(line, newline)
}

// unended says that what was written is no line.
func (g *greeting) unended() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *greeting) get() (line string, seen bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.line, g.seen
}

func newProcess(argv, env []string, private string, tcp bool, output *lines) *process {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(env, wire.LifelineKey+"="+wire.LifelineStdin)
	cmd.SysProcAttr = attributes()
	return &process{
		cmd: cmd, private: private, tcp: tcp, output: output,
		greeting: &greeting{}, exited: make(chan struct{}),
	}
}

// pipes are the ends of the process's standard files; ours are kept, its own are closed here
// once it has them.
type pipes struct {
	stdin, stdout, stderr *os.File // the process's
	lifeline, out, errs   *os.File // ours
	line, handshake       *os.File // between the reader of stdout and go-plugin
	files                 *os.File // the process's end of the socket for files; nil: there is none
}

func (p *pipes) closeAll() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr, p.lifeline, p.out, p.errs, p.line, p.handshake, p.files} {
		if f != nil {
			_ = f.Close()
		}
	}
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	for _, pair := range []struct{ r, w **os.File }{
		{&p.stdin, &p.lifeline}, {&p.out, &p.stdout}, {&p.errs, &p.stderr}, {&p.handshake, &p.line},
	} {
		var err error
		if *pair.r, *pair.w, err = os.Pipe(); err != nil {
			p.closeAll()
			return nil, err
		}
	}
	return p, nil
}

// Start starts the process.
func (p *process) Start(context.Context) error {
	files, err := newPipes()
	if err != nil {
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files.stdin, files.stdout, files.stderr
	if p.files, files.files, err = newFileSocket(); err != nil {
		files.closeAll()
		return err
	}
	if files.files != nil {
		p.cmd.ExtraFiles = []*os.File{files.files} // descriptor 3
		p.cmd.Env = append(p.cmd.Env, wire.FilesKey+"=3")
	}
	p.lifeline, p.handshake = files.lifeline, files.handshake
	started := make(chan error)
	go p.run(files, started)
	return <-started
}

// run starts the process and waits for it, on one thread that does nothing else: Linux sends
// the signal of PR_SET_PDEATHSIG when the thread that started the child ends, and Go ends
// threads as it likes.
func (p *process) run(files *pipes, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.begin(); err != nil {
		files.closeAll()
		p.err = err
		close(p.exited)
		started <- err
		return
	}
	for _, f := range []*os.File{files.stdin, files.stdout, files.stderr, files.files} {
		_ = f.Close() // of nil: an error, and nothing else
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.readOutput(files.out, files.line) })
	readers.Go(func() { p.log(files.errs) })
	started <- nil

	p.reap()
	_ = files.lifeline.Close()
	for _, f := range []*os.File{files.out, files.errs} {
		if f.SetReadDeadline(time.Now().Add(lingering)) != nil {
			time.AfterFunc(lingering, func() { _ = f.Close() })
		}
	}
	readers.Wait()
	p.output.end()
	_, _ = files.out.Close(), files.errs.Close()
	close(p.exited)
}

var errKilled = errors.New("given up before it was started")

func (p *process) begin() error {
	p.killing.Lock()
	defer p.killing.Unlock()
	if p.killed {
		return errKilled
	}
	err := withSlack(p.cmd.Start)
	if err == nil {
		killFirst(p.cmd.Process.Pid)
	}
	return err
}

// reap waits for the end of the process and kills what is left of its group: where the system
// can, while the dead leader still keeps the group's number from being given to somebody else.
func (p *process) reap() {
	if !awaitExit(p.cmd.Process.Pid) {
		err := p.cmd.Wait()
		p.killing.Lock()
		defer p.killing.Unlock()
		p.err, p.reaped = err, true
		killGroup(p.cmd.Process)
		return
	}
	p.killing.Lock()
	defer p.killing.Unlock()
	killGroup(p.cmd.Process)
	p.err, p.reaped = p.cmd.Wait(), true
}

// readOutput hands the first line of standard output to go-plugin, and the rest to the log.
func (p *process) readOutput(out io.Reader, line *os.File) {
	buffered := bufio.NewReaderSize(out, handshakeMost)
	first, err := buffered.ReadSlice('\n')
	if len(first) > 0 {
		p.greeting.set(first)
	}
	if err == nil { // a line that does not end is no handshake
		_, _ = line.Write(append(bytes.TrimSpace(first), '\n'))
	}
	_ = line.Close()
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		p.log(buffered)
	}
}

func (p *process) log(r io.Reader) {
	lines := p.output.stream()
	_, _ = io.Copy(lines, r)
	lines.flush()
}

// terminate asks the process itself to end; it does nothing when it has ended.
func (p *process) terminate() {
	p.killing.Lock()
	defer p.killing.Unlock()
	if !p.reaped && p.cmd.Process != nil {
		terminate(p.cmd.Process)
	}
}

// Kill kills the process with all its children that stayed in its group.
func (p *process) Kill(context.Context) error {
	p.killing.Lock()
	defer p.killing.Unlock()
	p.killed = true
	if !p.reaped && p.cmd.Process != nil {
		killGroup(p.cmd.Process)
	}
	return nil
}

// Wait waits until the process has ended and its output has been read.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// status says how the process ended; it has.
func (p *process) status() string {
	if p.cmd.ProcessState != nil {
		return p.cmd.ProcessState.String()
	}
	return fmt.Sprint(p.err)
}

// Stdout gives go-plugin the handshake line and then the end.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr gives go-plugin nothing: see output.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name is the program's path.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process's number.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

func (p *process) pid() int {
	if p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Diagnose has nothing to add: launch explains a failed start itself.
func (p *process) Diagnose(context.Context) string { return "" }

// HostToPlugin is not asked for: the gateway has no address that a plugin would call.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// PluginToHost judges the address that the plugin says it listens on: a unix socket in the
// folder it was given, or, where the connection is encrypted, a loopback TCP port. Anything
// else could be anybody's.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	switch network {
	case "unix":
		if filepath.IsAbs(address) && sameFolder(filepath.Dir(address), p.private) {
			return network, address, nil
		}
		return "", "", errors.New("it listens on a socket outside of the folder in PLUGIN_UNIX_SOCKET_DIR")
	case "tcp":
		if !p.tcp {
			return "", "", errors.New("it listens on TCP, which needs AutoMTLS")
		}
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return "", "", errors.New("it listens on an address that is not a loopback one")
		}
		return network, address, nil
	}
	return "", "", errors.New("it listens on a network of an unknown kind")
}

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
