//go:build linux

package stores

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// doctored is a step as "dipylon doctor --json" prints it.
type doctored struct{ Step, Outcome, Detail, Cause, Advice string }

// doctor has the way to a mailbox examined. The status is that of the process.
func doctor(t *testing.T, g *harness.Gateway, password, mailbox string) (steps []doctored, status int) {
	t.Helper()
	cmd := g.Command("doctor", "--config", g.ConfigFile, "--json", "--password-stdin", "real", mailbox)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !asExit(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var s doctored
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		steps = append(steps, s)
	}
	if strings.Contains(string(out), password) {
		t.Errorf("the password is printed: %s", out)
	}
	return steps, cmd.ProcessState.ExitCode()
}

func asExit(err error, exit **exec.ExitError) (is bool) {
	*exit, is = err.(*exec.ExitError) //nolint:errorlint // package exec does not wrap it
	return is
}

// testDoctor: a mailbox that is well has no causes, and a wrong password is one.
func testDoctor(t *testing.T, g *harness.Gateway) {
	deliver(t, g, "doctor", simple("first"))
	steps, status := doctor(t, g, secret("doctor"), address("doctor"))
	last := steps[len(steps)-1]
	if status != 0 || last.Step != "message" || last.Outcome != "good" {
		t.Errorf("status %d: %+v", status, steps)
	}
	for _, s := range steps {
		if s.Cause != "" || s.Advice != "" || s.Outcome == "failed" {
			t.Errorf("nothing is wrong: %+v", s)
		}
	}
	steps, status = doctor(t, g, "guessed-wrong", address("doctor"))
	if last = steps[len(steps)-1]; status != 1 || last.Step != "login" || last.Cause != "wrong-credentials" {
		t.Errorf("status %d: %+v", status, steps)
	}
}
