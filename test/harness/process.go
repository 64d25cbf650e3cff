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
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents := map[int]int{}
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …; the name may hold anything.
		_, rest, ok := strings.Cut(string(content[strings.LastIndexByte(string(content), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		parents[id], _ = strconv.Atoi(fields[1])
	}
	var all []int
	for generation := []int{pid}; len(generation) > 0; {
		var next []int
		for id, parent := range parents {
			if slices.Contains(generation, parent) {
				next = append(next, id)
			}
		}
		all = append(all, next...)
		generation = next
	}
	slices.Sort(all)
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
// when that takes longer than within.
func Eventually(t *testing.T, within time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s: not yet %s", within, what)
		}
	}
}
