//go:build linux

package harness

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Children are the process ids of a process's children, and theirs, that still run.
func Children(pid int) []int {
	var all []int
	for generation := []int{pid}; len(generation) > 0; {
		var next []int
		for _, parent := range generation {
			next = append(next, forked(parent)...)
		}
		all = append(all, next...)
		generation = next
	}
	all = slices.DeleteFunc(all, func(pid int) bool { return !Alive(pid) })
	slices.Sort(all)
	return all
}

// forked are the children of a process: each of its threads has a list (proc_tid_children(5)).
func forked(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, list := range lists {
		content, _ := os.ReadFile(list) // the thread may have ended meanwhile
		for _, field := range strings.Fields(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// Alive says whether a process still runs (a zombie does not).
func Alive(pid int) bool {
	status, err := statusOf(pid)
	return err == nil && !strings.HasPrefix(status["State"], "Z")
}

// Kill is kill -9.
func Kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %d: %v", pid, err)
	}
}

// Memory is the resident memory of a process in octets: now, and the most it ever was.
func Memory(t *testing.T, pid int) (now, most int64) {
	t.Helper()
	status, err := statusOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes(status["VmRSS"]), kilobytes(status["VmHWM"])
}

func kilobytes(value string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	return n << 10
}

func statusOf(pid int) (map[string]string, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	status := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		status[key] = strings.TrimSpace(value)
	}
	return status, lines.Err()
}

// Eventually asks until the answer is yes, for things that no event tells of. It ends the test
// when that takes longer than within, or than a minute where that is less: the machine may have much else to do.
func Eventually(t *testing.T, within time.Duration, what string, condition func() bool) {
	t.Helper()
	within = max(within, time.Minute)
	for deadline := time.Now().Add(within); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s: not yet %s", within, what)
		}
	}
}
