//go:build linux

package stores

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/provider"
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

// doctored are the steps of "dipylon doctor" in the world of tokens, in which no secret stands.
func (w *tokenWorld) doctored(t *testing.T, args ...string) (steps map[string]doctored, causes string, status int) {
	t.Helper()
	cmd := w.gateway.Command(append([]string{"doctor", "--config", w.gateway.ConfigFile, "--json"}, args...)...)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !asExit(err, &exit) {
		t.Fatal(err)
	}
	steps = make(map[string]doctored)
	for line := range strings.Lines(string(out)) {
		var s doctored
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		steps[s.Step] = s
		if s.Cause != "" {
			causes += s.Outcome + " " + s.Cause + " "
		}
	}
	w.provider.Do(func(p *provider.Provider) {
		for _, secret := range p.Secrets {
			if secret != "" && strings.Contains(string(out), secret) {
				t.Errorf("a secret is printed: %s", out)
			}
		}
	})
	if strings.Contains(string(out), "Bearer") {
		t.Errorf("a token is printed: %s", out)
	}
	return steps, strings.TrimSpace(causes), cmd.ProcessState.ExitCode()
}

// TestDoctorOfAProvider: real servers that take tokens alone. A mailbox that is well has no causes; a mail to oneself is taken, and an
// application that nobody has scoped is found out.
func TestDoctorOfAProvider(t *testing.T) {
	t.Parallel()
	w := startTokenWorld(t, time.Hour)
	steps, causes, status := w.doctored(t, "m365", ada)
	if status != 0 || causes != "" || steps["login"].Outcome != "good" || steps["token"].Outcome != "good" || steps["login at "+w.exim.Submission].Outcome != "good" {
		t.Errorf("status %d, %q: %+v", status, causes, steps)
	}
	steps, causes, status = w.doctored(t, "m365", ada, "--must-refuse", office)
	if status != 1 || causes != "failed reaches-every-mailbox" {
		t.Errorf("status %d, %q: %+v", status, causes, steps)
	}
	if _, causes, status = w.doctored(t, "route:m365"); status != 0 || causes != "" {
		t.Errorf("status %d, %q", status, causes)
	}
	w.provider.Do(func(p *provider.Provider) { p.Applications[tokenApplication].NoConsent = true })
	if _, causes, status = w.doctored(t, "m365", ada); status != 1 || causes != "failed consent-missing" {
		t.Errorf("status %d, %q", status, causes)
	}
}
