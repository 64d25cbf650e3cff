package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
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
