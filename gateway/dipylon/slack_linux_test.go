package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLateTimers: all threads of the gateway have the slack, and nothing tells of it to what it starts.
func TestLateTimers(t *testing.T) {
	p := serveIn(t, t.TempDir(), "")
	p.await(0, "ready")
	pid := p.cmd.Process.Pid
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		if os.IsNotExist(err) {
			continue // it has ended
		}
		if err != nil || strings.TrimSpace(string(slack)) != fmt.Sprint(int(timerSlack)) {
			t.Errorf("thread %s: %q, %v", filepath.Base(thread), slack, err)
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		if environment, err := os.ReadFile("/proc/" + child + "/environ"); err == nil && strings.Contains(string(environment), slackKey) {
			t.Errorf("%s is told of it", child)
		}
	}
}
