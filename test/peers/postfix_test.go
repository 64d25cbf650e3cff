//go:build linux

package peers

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// TestPostfixEndsWithTheTest: nothing of it outlives a test that is killed.
func TestPostfixEndsWithTheTest(t *testing.T) {
	const asked = "DIPYLON_TEST_POSTFIX"
	if os.Getenv(asked) != "" {
		StartPostfix(t, PostfixOptions{})
		_, _ = os.Stdout.WriteString("started\n")
		time.Sleep(time.Minute) // it is killed meanwhile
		return
	}
	dir, err := os.MkdirTemp("", "postfix-") // for what it leaves behind
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	openUp(t, dir)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestPostfixEndsWithTheTest$")
	cmd.Env = append(os.Environ(), asked+"=1", "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
		t.Errorf("Postfix was not started: %q, %v", line, err)
	}
	theirs := harness.Children(cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(theirs) < 3 {
		t.Errorf("%d processes were there", len(theirs))
	}
	for _, pid := range theirs {
		harness.Eventually(t, time.Minute, "the end of all processes", func() bool { return !harness.Alive(pid) })
	}
}
