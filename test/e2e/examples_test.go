//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/scrypt"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/test/harness"
)

// example is the Python plugin, with a store of its own in a folder of the test's.
type example struct {
	command string
	folder  string // has settings.yaml in it, and the store's root, mail
}

const exampleDomain = "sakes.example"

// exampleUsers are the two accounts of an example's store.
var exampleUsers = []harness.User{
	{Address: "anna@" + exampleDomain, Password: "open sesame"},
	{Address: "bert@" + exampleDomain, Password: "close sesame"},
}

func (e example) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pythonProgram is the Python example's program.
func pythonProgram(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../plugins/example-python/dipylon-mbox")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pythonExample makes a store. The suite logs in a thousand times, so that the passwords' hashes
// are cheap.
func pythonExample(t *testing.T) example {
	t.Helper()
	e := example{pythonProgram(t), t.TempDir()}
	if err := os.Mkdir(filepath.Join(e.folder, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	accounts := ""
	for _, user := range exampleUsers {
		salt := []byte("salt salt salt s")
		sum, err := scrypt.Key([]byte(user.Password), salt, 2, 8, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		in64 := base64.StdEncoding.EncodeToString
		accounts += fmt.Sprintf("%s scrypt$1$8$1$%s$%s\n", user.Address, in64(salt), in64(sum))
	}
	e.write(t, "mail/accounts", accounts)
	e.write(t, "settings.yaml", "root: mail\n")
	return e
}

// pluginTest runs "dipylon plugin test" and gives what it printed, and its exit status.
func pluginTest(t *testing.T, folder string, more ...string) (table string, status int) {
	t.Helper()
	first, second := exampleUsers[0], exampleUsers[1]
	cmd := exec.Command(harness.Binary(t, harness.Plain), append([]string{
		"plugin", "test", "--settings", "settings.yaml", "--patience", "30s", // the machine is busy with other tests
		"--user", first.Address, "--password", "env:FIRST", "--second-user", second.Address, "--second-password", "env:SECOND",
	}, more...)...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "FIRST="+first.Password, "SECOND="+second.Password)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Logf("on its standard error:\n%s", stderr.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// summary is the last line of the table of "dipylon plugin test".
var summary = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed, (\d+) not tested, (\d+) not offered$`)

// TestPythonKeepsTheContract: the Python example passes "dipylon plugin test".
func TestPythonKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := pythonExample(t)
	table, status := pluginTest(t, e.folder, "--large", "8388608", "--many", "100", "--", e.command)
	passed(t, table, status)
}

// TestAfternoon follows the page that builds the Go example, in an empty folder: it has nothing but
// the files that the page shows, under the names that it gives them, and the commands, as they
// stand there. They end with "dipylon plugin test". The module comes from this checkout, as
// it would come from a proxy.
func TestAfternoon(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../plugins/afternoon.md")
	if err != nil {
		t.Fatal(err)
	}
	folder, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(harness.Binary(t, harness.Plain), filepath.Join(bin, "dipylon")); err != nil {
		t.Fatal(err)
	}
	writeFilesOf(t, string(page), folder)
	commands := commandsOf(t, string(page))
	cmd := exec.Command("sh", "-e", "-c", commands)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod -ldflags=-w", "GOPROXY=off", "GOWORK=off")
	cmd.Stderr = os.Stderr
	table, err := cmd.Output()
	if err != nil {
		t.Error(err)
	}
	passed(t, string(table), cmd.ProcessState.ExitCode())
}

// writeFilesOf puts the Go files that a page shows into a folder. A block without a package clause
// goes on with the file before it.
func writeFilesOf(t *testing.T, page, folder string) {
	t.Helper()
	name, files := "", make(map[string]string)
	for _, block := range regexp.MustCompile("(?ms)(?:^`([a-z]+\\.go)`:\n\n)?^```go\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		starts := strings.HasPrefix(block[2], "package ")
		if starts != (block[1] != "") {
			t.Fatalf("a file begins without a name, or a name is not followed by a file: %.60q", block[0])
		}
		if starts {
			name = block[1]
		} else {
			files[name] += "\n"
		}
		files[name] += block[2]
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// commandsOf are a page's commands, in their order. Of them one would ask the network.
func commandsOf(t *testing.T, page string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var commands strings.Builder
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		commands.WriteString(block[1])
	}
	const get = "go get github.com/dipylon/dipylon\n"
	if strings.Count(commands.String(), get) != 1 {
		t.Fatal("the page does not say where the module comes from")
	}
	return strings.Replace(commands.String(), get, fmt.Sprintf(
		"cp %[1]s/go.sum .\ngo mod edit -replace=github.com/dipylon/dipylon=%[1]s -require=github.com/dipylon/dipylon@v0.0.0\n", root), 1)
}

// passed wants a table without a failure, of a store that reads and takes mail in.
func passed(t *testing.T, table string, status int) {
	t.Helper()
	found := summary.FindStringSubmatch(table)
	if status != 0 || found == nil || found[2] != "0" {
		t.Fatalf("status %d:\n%s", status, table)
	}
	t.Log(found[0])
	for _, group := range []string{"login", "maildrop", "remove", "receiver", "concurrency"} {
		if !regexp.MustCompile("(?m)^" + group + "\n  ok ").MatchString(table) {
			t.Errorf("the group %s was not offered:\n%s", group, table)
		}
	}
}

// TestWrongPlugin: "dipylon plugin test" tells of a plugin that does one thing wrong, case by
// case, and fails.
func TestWrongPlugin(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	settings := "accounts:\n"
	for _, user := range exampleUsers {
		settings += fmt.Sprintf("  - {user: %s, address: %s, password: %s}\n", user.Address, user.Address, user.Password)
	}
	if err := os.WriteFile(filepath.Join(folder, "settings.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	table, status := pluginTest(t, folder, "--", harness.Helper(t, "./test/plugins/misbehave"), "top")
	var failed []string
	for _, line := range regexp.MustCompile(`(?m)^  FAIL +(\S+) +\S+\n {6}\S`).FindAllStringSubmatch(table, -1) {
		failed = append(failed, line[1])
	}
	// A body with no line, or with fewer than asked for, is the same either way.
	// It keeps its mail in memory, besides.
	want := []string{
		"top-0", "top-1", "top-n", "top-of-long-lines", "top-of-a-large-message", "measure-tops",
		"killed-after-a-delivery", "killed-after-a-removal", "ids-last", "killed-with-a-session",
	}
	if !slices.Equal(failed, want) {
		t.Errorf("these cases fail: %q, and should: %q", failed, want)
	}
	if found := summary.FindStringSubmatch(table); status != 1 || found == nil || found[2] != fmt.Sprint(len(failed)) {
		t.Errorf("status %d:\n%s", status, table)
	}
}

// besideOthers are the cases in which it matters who put the messages there, and those that need what
// "dipylon plugin test" is not told of; TestPythonKeepsTheContract has the others.
var besideOthers = regexp.MustCompile(`^(configure/(its-own-bad-settings|good-settings)|maildrop/.*|remove/.*|mark/.*|concurrency/.*)$`)

// TestPythonBesideOthers runs the contract's suite against the Python example while another
// program, which keeps to the locks, puts messages into its mbox files.
func TestPythonBesideOthers(t *testing.T) {
	t.Parallel()
	e := pythonExample(t)
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	in := backends.Settings{Store: "test", BaseDir: e.folder, Domains: []string{exampleDomain}, Raw: []byte(`{"root": "mail", "message_size": 8000000}`)}
	spec := func(in backends.Settings) host.Spec {
		return host.Spec{Store: "test", Command: []string{e.command}, Settings: in}
	}
	first, second := exampleUsers[0], exampleUsers[1]
	archive := filepath.Join(e.folder, "mail", first.Address, "Archive")
	if err := errors.Join(os.MkdirAll(filepath.Dir(archive), 0o700), os.WriteFile(archive, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	target := storetest.Target{
		Only: besideOthers, Patience: time.Minute, Timeout: 5 * time.Minute,
		Open: func(ctx context.Context) (backends.Store, error) {
			withState := in
			withState.StateDir = t.TempDir()
			s := host.New(log, spec(withState))
			return s, s.Start(ctx)
		},
		Settings:  in,
		Configure: func(ctx context.Context, in backends.Settings) error { return host.CheckSettings(ctx, log, spec(in)) },
		BadSettings: map[string]string{
			"root":         `{"root": "/dev/null"}`,
			"message_size": `{"root": "mail", "message_size": -1}`,
		},
		User: first.Address, Password: first.Password, Address: first.Address,
		SecondUser: second.Address, SecondPassword: second.Password, SecondAddress: second.Address,
		Folder: "Archive", Many: 100, Large: 1 << 20,
		Put: func(ctx context.Context, user string, message []byte) error {
			return appendToMbox(ctx, filepath.Join(e.folder, "mail", user, "INBOX"), message)
		},
	}
	passed := map[string]int{}
	err := storetest.Check(t.Context(), target, func(r storetest.Result) {
		if r.Err != nil {
			t.Errorf("%s/%s: %v", r.Group, r.Name, r.Err)
		}
		if r.Passed() {
			passed[r.Group]++
		}
	})
	if err != nil {
		t.Error(err)
	}
	for _, group := range []string{"configure", "maildrop", "remove", "mark", "concurrency"} {
		if passed[group] == 0 {
			t.Errorf("no case of the group %s passed", group)
		}
	}
	t.Logf("passed: %v", passed)
}

// TestPythonLocks: another program appends to an mbox file, mail is delivered to it, and messages
// are removed from it, all at once. Each message is read once, and none is lost.
func TestPythonLocks(t *testing.T) {
	t.Parallel()
	e := pythonExample(t)
	in := backends.Settings{Store: "test", BaseDir: e.folder, StateDir: t.TempDir(), Domains: []string{exampleDomain}, Raw: []byte(`{"root": "mail"}`)}
	s := host.New(zerolog.Nop(), host.Spec{Store: "test", Command: []string{e.command}, Settings: in})
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const each = 60
	user := exampleUsers[0]
	inbox := filepath.Join(e.folder, "mail", user.Address, "INBOX")
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := range each {
			if err := appendToMbox(t.Context(), inbox, simple(fmt.Sprint("other ", n))); err != nil {
				t.Errorf("the other program: %v", err)
			}
		}
	})
	writing.Go(func() {
		for n := range each {
			d := backends.Delivery{Key: fmt.Sprint("key", n), Envelope: backends.Envelope{From: "sender@corpus.example"}, Recipients: backends.To(user.Address)}
			verdicts, err := s.Deliver(t.Context(), d, bytes.NewReader(simple(fmt.Sprint("delivered ", n))))
			if err != nil || verdicts[0].Failure != nil {
				t.Errorf("delivery %d: %+v, %v", n, verdicts, err)
			}
		}
	})
	over := make(chan struct{})
	go func() {
		writing.Wait()
		close(over)
	}()
	seen := make(map[string]int)
	for last := false; !last; {
		select {
		case <-over:
			last = true
		default:
		}
		for _, subject := range takeAll(t, s, user) {
			seen[subject]++
		}
	}
	for n := range each {
		for _, subject := range []string{fmt.Sprint("other ", n), fmt.Sprint("delivered ", n)} {
			if seen[subject] != 1 {
				t.Errorf("the message %q was read %d times", subject, seen[subject])
			}
		}
	}
}

// takeAll reads and removes what is in an inbox, and gives the subjects.
func takeAll(t *testing.T, s *host.Store, user harness.User) []string {
	t.Helper()
	credential := backends.Credential{Kind: backends.CredentialPassword, User: user.Address, Secret: []byte(user.Password)}
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	var subjects []string
	var ids []backends.MessageID
	for entry, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: entry.ID})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(content)
		if err := errors.Join(err, content.Close()); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(whole, []byte("Subject: "))
		subject, _, _ := bytes.Cut(rest, []byte("\r\n"))
		if !bytes.HasSuffix(whole, simple(string(subject))) {
			t.Errorf("a message came out as %.300q", whole)
		}
		subjects, ids = append(subjects, string(subject)), append(ids, entry.ID)
	}
	if _, err := drop.Remove(t.Context(), ids, backends.DisposalRemove); err != nil {
		t.Fatal(err)
	}
	return subjects
}

// appendToMbox delivers to an mbox file as other programs do: under both locks, in the form
// called mboxrd, without anything of the plugin's own.
func appendToMbox(ctx context.Context, path string, message []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	for ctx.Err() == nil {
		done, err := tryAppend(path, message)
		if done || err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // there is nothing to wait for a lock with
	}
	return ctx.Err()
}

func tryAppend(path string, message []byte) (done bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	defer file.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock); err != nil {
		return false, nil // held
	}
	dot, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer os.Remove(dot.Name())
	defer dot.Close()
	ours, err := file.Stat()
	if err != nil {
		return false, err
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(ours, now) {
		return false, err // the name is another file's since
	}
	if _, err := file.Seek(0, 2); err != nil {
		return false, err
	}
	text := bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n"))
	text = regexp.MustCompile(`(?m)^(>*From )`).ReplaceAll(text, []byte(">$1"))
	head, rest, _ := bytes.Cut(fmt.Appendf(nil, "From other@program.example %s\n%s\n", time.Now().Format(time.ANSIC), text), []byte("\n\n"))
	_, err1 := file.Write(head)
	time.Sleep(2 * time.Millisecond) // slow, so that whoever does not keep to the locks gets in between
	_, err2 := file.Write(append([]byte("\n\n"), rest...))
	err = errors.Join(err1, err2)
	return err == nil, err
}

// pythonGateway is a gateway whose only store is the Python example.
func pythonGateway(t *testing.T) (*harness.Gateway, harness.User) {
	t.Helper()
	store := harness.Mapping{
		"name": "mail", "plugin": harness.Mapping{"command": []string{pythonProgram(t)}},
		"domains": []string{harness.Domain}, "settings": harness.Mapping{"root": "mail"},
	}
	dir, user := t.TempDir(), harness.User{Address: "erika@" + harness.Domain, Password: "open sesame"}
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pythonProgram(t), "password", filepath.Join(dir, "mail", "accounts"), user.Address)
	cmd.Stdin = strings.NewReader(user.Password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return harness.Start(t, harness.Options{Dir: dir, Stores: []harness.Mapping{store}}), user
}

// TestPythonPlugin: mail goes in and out through the Python example, and its log is in ours.
func TestPythonPlugin(t *testing.T) {
	t.Parallel()
	g, user := pythonGateway(t)
	g.Log.Wait(t, 0, "the store is open", `"level":"info"`, `"store":"mail"`)
	contents := [][]byte{simple("one"), simple("two\r\nFrom here\r\n>From there\r\n."), simple("three")}
	deliver(t, g, user, contents...)
	refusal(t, mx(t, g).Begin(harness.Envelope{From: "sender@corpus.example", To: []string{"nobody@" + harness.Domain}}), "550 5.1.1")

	p := login(t, g, user)
	for i, content := range contents {
		got, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trace(got, content); err != nil {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	before, err := p.UIDL()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Dele(2), p.Quit()); err != nil {
		t.Fatal(err)
	}
	p = login(t, g, user)
	defer p.Quit()
	if after, err := p.UIDL(); err != nil || len(after) != 2 || after[1] != before[1] || after[2] != before[3] {
		t.Errorf("the unique-ids were %v, and are %v without the second (%v)", before, after, err)
	}
	_, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, "wrong")
	refusal(t, err, "-ERR [AUTH]")
}

// TestPythonPluginDiesInRetr (I3, I10): kill -9 of the Python process in the middle of a large
// message. The client sees the connection end, and no terminator; and a new login succeeds
// within two seconds, starting Python included.
func TestPythonPluginDiesInRetr(t *testing.T) {
	g, user := pythonGateway(t)
	const size = 20 << 20 // more than the buffers of sockets hold
	inbox := filepath.Join(g.Dir, "mail", user.Address, "INBOX")
	large := "From other@program.example Mon Nov  9 08:01:02 2026\n" + largeText(size) + "\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(inbox), 0o700), os.WriteFile(inbox, []byte(large), 0o600)); err != nil {
		t.Fatal(err)
	}
	reading := login(t, g, user)
	begun, killed := make(chan struct{}), make(chan struct{})
	gate := &gate{begun: begun, proceed: killed}
	var retr error
	var wait sync.WaitGroup
	wait.Go(func() { _, retr = reading.RetrTo(1, gate) })
	<-begun
	harness.Kill(t, g.Plugin(t))
	died := time.Now()
	close(killed)
	wait.Wait()
	if !harness.Closed(retr) || gate.octets >= size {
		t.Errorf("after %d octets RETR ended with %v", gate.octets, retr)
	}
	p := loginWithin(t, g, user, died, 2*time.Second*slack)
	defer p.Quit()
	t.Logf("a login succeeded %v after the death", time.Since(died).Round(time.Millisecond))
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Errorf("there are %d messages (%v)", n, err)
	}
}

// loginWithin logs in again and again until it succeeds. An outage is not told as anything else.
func loginWithin(t *testing.T, g *harness.Gateway, user harness.User, since time.Time, within time.Duration) *harness.POP3 {
	t.Helper()
	for {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		if err == nil {
			return p
		}
		if refusal := err.Error(); !strings.Contains(refusal, "[SYS/TEMP]") && !strings.Contains(refusal, "[IN-USE]") {
			t.Fatalf("a login while the plugin starts: %v", err)
		}
		if time.Since(since) > within {
			t.Fatalf("no login within %v: %v", within, err)
		}
	}
}

// TestPythonAfterACrash: what a plugin leaves behind that was killed in the middle of a delivery
// costs nobody a message. Its lock file is not waited for, the part of a message is not shown,
// and the second attempt is taken.
func TestPythonAfterACrash(t *testing.T) {
	t.Parallel()
	g, user := pythonGateway(t)
	deliver(t, g, user, simple("before"))
	inbox := filepath.Join(g.Dir, "mail", user.Address, "INBOX")
	file, err := os.OpenFile(inbox, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(file, "From x Thu Jan  1 00:00:00 1970\nX-Mbox-Id: 1764288000000000000-%032d\nSubject: par", 0)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inbox+".lock", fmt.Appendln(nil, gone.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(t, g, user, simple("after")) // whoever waits for the lock does not take it in time
	p := login(t, g, user)
	defer p.Quit()
	if n, _, err := p.Stat(); n != 2 || err != nil {
		t.Errorf("there are %d messages (%v)", n, err)
	}
	for i, want := range []string{"body of before", "body of after"} {
		if got, err := p.Retr(i + 1); err != nil || !bytes.Contains(got, []byte(want)) {
			t.Errorf("message %d is %.200q (%v)", i+1, got, err)
		}
	}
}

// TestPythonOctets runs the Python example's own test of its mbox form.
func TestPythonOctets(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/usr/bin/python3", "-m", "unittest", "-v", "test_octets")
	cmd.Dir = filepath.Dir(pythonProgram(t))
	out, err := cmd.CombinedOutput()
	if ran := regexp.MustCompile(`(?m)^Ran (\d+) tests`).FindSubmatch(out); err != nil || ran == nil || string(ran[1]) != "3" {
		t.Errorf("%v\n%s", err, out)
	}
}
