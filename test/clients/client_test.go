//go:build linux

package clients

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

func TestMain(m *testing.M) {
	// Clients wait more than they work: more of them than there are processors run at a time.
	flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	os.Exit(harness.Main(m))
}

// mode is how a connection is secured.
type mode string

const (
	cleartext mode = "cleartext" // not at all
	starttls  mode = "starttls"  // STLS or STARTTLS, which the client insists on
	implicit  mode = "implicit"  // TLS from the first octet
)

// account is what a client is told.
type account struct {
	mode     mode
	port     string
	user     string // the login name, which is the address as well
	password string
	ca       string // the file of the authority to trust
	home     string // the client's own folder
	display  string // the X display for its windows, where it has any
}

// run runs a client in its home and returns what it said. A client that fails fails the test.
func (a account) run(t *testing.T, stdin []byte, argv ...string) []byte {
	t.Helper()
	out, err := a.try(t, bytes.NewReader(stdin), nil, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// line is what a program says on its terminal, and what is typed then.
type line struct{ seen, typed string }

// typist watches a terminal and types each line when its time has come.
type typist struct {
	keyboard io.Writer
	lines    []line
	screen   bytes.Buffer // what came since the last line was typed
}

func (p *typist) Write(out []byte) (int, error) {
	p.screen.Write(out)
	if len(p.lines) == 0 || !bytes.Contains(p.screen.Bytes(), []byte(p.lines[0].seen)) {
		return len(out), nil
	}
	typed := p.lines[0].typed
	p.lines = p.lines[1:]
	p.screen.Reset()
	_, err := io.WriteString(p.keyboard, typed)
	return len(out), err
}

// runOnTerminal runs a command that wants a terminal. Without lines nobody touches its keyboard.
func (a account) runOnTerminal(t *testing.T, command string, lines ...line) {
	t.Helper()
	// An end of the input would be typed as a key: it stays open as long as the command runs.
	keyboard, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	defer keyboard.Close()
	p := &typist{keyboard: open, lines: lines}
	out, err := a.try(t, keyboard, p, "script", "-qec", command, "/dev/null")
	t.Logf("on the terminal: %q", out)
	if err != nil || len(p.lines) > 0 {
		t.Fatalf("%s: %v, and %d of %d lines were typed\n%q", command, err, len(lines)-len(p.lines), len(lines), out)
	}
}

// try runs a client and returns what it said, which watch (if any) sees as it comes.
func (a account) try(t *testing.T, stdin io.Reader, watch io.Writer, argv ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := a.command(ctx, argv...)
	cmd.Stdin = stdin
	var out bytes.Buffer
	cmd.Stdout = &out
	if watch != nil {
		cmd.Stdout = io.MultiWriter(&out, watch)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	err := cmd.Run()
	t.Logf("%s\n%s", strings.Join(argv, " "), complaints.Bytes())
	return out.Bytes(), err
}

// command is a command in the client's home, with nothing of the tests' own environment.
func (a account) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = a.home
	cmd.Env = []string{
		"HOME=" + a.home, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "LANG=C.UTF-8", "TMPDIR=" + a.home,
		"FETCHMAILHOME=" + a.home, "DISPLAY=" + a.display,
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// write writes a file in the client's home and returns its path.
func (a account) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(a.home, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// script writes an executable file.
func (a account) script(t *testing.T, name, content string) string {
	t.Helper()
	path := a.write(t, name, content)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// folder makes a folder with subfolders, empty, and returns its path.
func (a account) folder(t *testing.T, name string, inner ...string) string {
	t.Helper()
	path := filepath.Join(a.home, name)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(inner, "") {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// files are the contents of all files below a folder.
func files(t *testing.T, folder string) [][]byte {
	t.Helper()
	var all [][]byte
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fill puts the values of an account into a text with {port}, {user}, {password}, {ca}, {home}.
func (a account) fill(text string) string {
	return strings.NewReplacer("{port}", a.port, "{user}", a.user, "{password}", a.password, "{ca}", a.ca, "{home}", a.home).Replace(text)
}

// clientsOwn are the header fields that clients add, take away, or put elsewhere.
var clientsOwn = []string{
	"return-path", "received", "delivered-to", "content-length", "lines", "status", "x-status", "x-uid", "x-keywords", "x-imapbase",
	"x-account-key", "x-uidl", "x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys",
}

// essence is what a client has to leave alone: the message with LF line ends and without the
// header fields that are a client's own.
func essence(message []byte) string {
	text := strings.ReplaceAll(string(message), "\r\n", "\n")
	header, body, found := strings.Cut(text, "\n\n")
	var kept []string
	own := false
	for line := range strings.SplitSeq(header, "\n") {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			name, _, _ := strings.Cut(strings.ToLower(line), ":")
			own = slices.Contains(clientsOwn, name)
		}
		if !own {
			kept = append(kept, line)
		}
	}
	text = strings.Join(kept, "\n")
	if found {
		text += "\n\n" + body
	}
	return text
}

// wantSame wants the same messages, in any order, but for what the client itself changes.
func wantSame(t *testing.T, got, wanted [][]byte, changes func(string) string) {
	t.Helper()
	essences := func(messages [][]byte) []string {
		var all []string
		for _, m := range messages {
			e := essence(m)
			if changes != nil {
				e = changes(e)
			}
			all = append(all, e)
		}
		slices.Sort(all)
		return all
	}
	g, w := essences(got), essences(wanted)
	if len(g) != len(w) {
		t.Errorf("%d messages came, and there are %d", len(g), len(w))
	}
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("a message has changed:\n%s\nwas\n%s", around(g[i], w[i]), around(w[i], g[i]))
			return
		}
	}
}

// around is the place in a where it differs from b.
func around(a, b string) string {
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	return strings.ToValidUTF8(a[max(0, at-100):min(len(a), at+200)], "?")
}
