//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// memoryExample is a folder with settings of a store in memory, and its command.
func memoryExample(t *testing.T) (folder string, command []string) {
	t.Helper()
	folder = t.TempDir()
	settings := "accounts:\n"
	for _, user := range exampleUsers {
		settings += fmt.Sprintf("  - {user: %s, address: %s, password: %s}\n", user.Address, user.Address, user.Password)
	}
	if err := os.WriteFile(filepath.Join(folder, "settings.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, []string{harness.Helper(t, "./test/plugins/misbehave"), "top"}
}

// TestPluginTestTold: "dipylon plugin test" says once what is wrong with its means, and its status
// tells a test that passed from one that could not find out.
func TestPluginTestTold(t *testing.T) {
	t.Parallel()
	folder, command := memoryExample(t)
	user := exampleUsers[0]
	for _, test := range []struct {
		name   string
		flags  []string
		status int
		out    string // on standard output
		err    string // on standard error, once
	}{
		{"a wrong password", []string{"--password", "wrong"}, 75, "", "nothing was tested: the account " + user.Address + " cannot log in"},
		{"the second's password is wrong", []string{"--password", user.Password, "--second-user", exampleUsers[1].Address, "--second-password", "wrong"}, 75, "", "the account " + exampleUsers[1].Address + " cannot log in"},
		{"an address that is no mailbox", []string{"--password", user.Password, "--address", "nobody@sakes.example"}, 75, "", "mail for nobody@sakes.example is not taken"},
		{"not tested", []string{"--password", user.Password, "--run", "maildrop/two-accounts"}, 0, "  not tested   two-accounts-at-once             the target has no second account", ""},
		{"not tested, strict", []string{"--strict", "--password", user.Password, "--run", "maildrop/two-accounts"}, 1, "0 passed, 0 failed, 1 not tested, 0 not offered", ""},
		{"not offered, strict", []string{"--strict", "--password", user.Password, "--run", "configure/its-own|health/ready"}, 0, "1 passed, 0 failed, 0 not tested, 1 not offered", ""},
		{"no such case", []string{"--password", user.Password, "--run", "no-such-case"}, 2, "", "no case has such a name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			arguments := append([]string{"plugin", "test", "--settings", "settings.yaml", "--user", user.Address}, test.flags...)
			cmd := exec.Command(harness.Binary(t, harness.Plain), append(append(arguments, "--"), command...)...)
			cmd.Dir = folder
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if status := cmd.ProcessState.ExitCode(); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if !strings.Contains(string(out), test.out) || test.out == "" && len(out) > 0 {
				t.Errorf("standard output: %q, want %q", out, test.out)
			}
			if strings.Count(said.String(), test.err) != 1 && test.err != "" || test.err == "" && said.Len() > 0 {
				t.Errorf("standard error: %q, want %q", said.String(), test.err)
			}
		})
	}
}

// TestPluginTestBrokenOff: what was found until Ctrl-C is told as it is found, and summed up.
func TestPluginTestBrokenOff(t *testing.T) {
	t.Parallel()
	folder, command := memoryExample(t)
	cmd := exec.Command(harness.Binary(t, harness.Plain), append([]string{
		"plugin", "test", "--settings", "settings.yaml", "--user", exampleUsers[0].Address, "--password", exampleUsers[0].Password, "--",
	}, command...)...)
	cmd.Dir = folder
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	last := ""
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "  ok ") && !strings.Contains(last, "passed") {
			_ = cmd.Process.Signal(os.Interrupt) // as soon as there is a line: it does not wait for the end
		}
		last = lines.Text()
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d", status)
	}
	if !regexp.MustCompile(`^\d+ passed, \d+ failed, \d+ not tested, \d+ not offered, \d+ not run$`).MatchString(last) {
		t.Errorf("the last line is %q", last)
	}
	if got := said.String(); got != "dipylon: the test was broken off\n" {
		t.Errorf("standard error: %q", got)
	}
}

// TestPluginTestOfEndlessPlugin: a plugin that does not end, neither a maildrop nor itself, does not
// keep its author's test from ending.
func TestPluginTestOfEndlessPlugin(t *testing.T) {
	t.Parallel()
	folder, command := memoryExample(t)
	cmd := exec.Command(harness.Binary(t, harness.Plain),
		"plugin", "test", "--verbose", "--settings", "settings.yaml", "--user", exampleUsers[0].Address, "--password", exampleUsers[0].Password, "--",
		command[0], "endless-memory")
	cmd.Dir = folder
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var asked time.Time
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if asked.IsZero() && strings.Contains(lines.Text(), "a maildrop is closed without an end") {
			asked = time.Now()
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	_ = cmd.Wait()
	if took := time.Since(asked); asked.IsZero() || took > time.Minute {
		t.Errorf("it ended %s after SIGTERM", took)
	}
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d", status)
	}
}

// TestPluginTestPut: a command fills a store as another program would.
func TestPluginTestPut(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	program := harness.Helper(t, "./plugins/example-go")
	accounts := ""
	for _, user := range exampleUsers {
		hash := exec.Command(program, "hash", "10")
		hash.Stdin = strings.NewReader(user.Password + "\n")
		text, err := hash.Output()
		if err != nil {
			t.Fatal(err)
		}
		accounts += user.Address + " " + string(text)
		if err := os.MkdirAll(filepath.Join(folder, "mail", user.Address), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"mail/accounts": accounts, "settings.yaml": "root: mail\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put := `f=mail/$1/$(date +%s%N); cat > $f.part && mv $f.part $f.eml; echo "$1" >> put`
	table, status := pluginTest(t, folder, "--put", put, "--run", "^maildrop/(whole|oldest-first|sizes)$", "--", program)
	if status != 0 || !strings.Contains(table, "3 passed, 0 failed") {
		t.Errorf("status %d:\n%s", status, table)
	}
	if used, err := os.ReadFile(filepath.Join(folder, "put")); err != nil || strings.Count(string(used), exampleUsers[0].Address) != 9 {
		t.Errorf("the command was used for %q (%v)", used, err)
	}
	table, status = pluginTest(t, folder, "--put", "echo no room >&2; exit 3", "--run", "^maildrop/whole$", "--", program)
	if status != 1 || !strings.Contains(table, "--put: exit status 3: no room") {
		t.Errorf("a command that fails: status %d:\n%s", status, table)
	}
}
