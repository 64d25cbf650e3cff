package host

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func scoreOf(t *testing.T, pid string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return score
}

// TestPluginsAreKilledFirst: where memory runs out, the plugin that has it ends before the gateway.
func TestPluginsAreKilledFirst(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	own, plugin := scoreOf(t, "self"), scoreOf(t, fmt.Sprint(s.Status().PID))
	if plugin != min(own+oomMore, oomMost) || plugin <= own && own < oomMost {
		t.Errorf("the gateway's score is %d, and the plugin's %d", own, plugin)
	}
}

// TestTimerSlack: what is started has the slack, and the thread that has started it has its own again.
func TestTimerSlack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own := func() int {
		slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return slack
	}
	before := own()
	var said strings.Builder
	child := exec.Command("cat", "/proc/self/timerslack_ns")
	child.Stdout = &said
	if err := withSlack(child.Start); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(said.String()), fmt.Sprint(max(before, int(timerSlack))); got != want {
		t.Errorf("the child's slack is %s ns, not %s", got, want)
	}
	if after := own(); after != before {
		t.Errorf("the thread's slack was %d ns and is %d", before, after)
	}
}
