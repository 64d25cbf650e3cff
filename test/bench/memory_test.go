//go:build bench && linux

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// share is a process's and its children's proportional set size in octets: what several of them
// use together (their program, above all) is counted once.
func share(pid int) (octets int64, err error) {
	for _, p := range append(harness.Children(pid), pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, err
		}
		octets += field(string(text), "Pss:")
	}
	return octets, nil
}

// forgetPeaks makes the peaks of a process and its children what they have now, see proc(5).
func forgetPeaks(pid int) error {
	for _, p := range append(harness.Children(pid), pid) {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}

// resident is the memory of a process and its children, now and the most since forgetPeaks.
func resident(pid int) (now, most int64, err error) {
	for _, p := range append(harness.Children(pid), pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			return 0, 0, err
		}
		now += field(string(text), "VmRSS:")
		most += field(string(text), "VmHWM:")
	}
	return now, most, nil
}

// cpuTime is what a process and its children have used, those that have ended included, see proc(5).
func cpuTime(pid int) (time.Duration, error) {
	const tick = 10 * time.Millisecond
	var ticks int64
	for _, p := range append(harness.Children(pid), pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if errors.Is(err, os.ErrNotExist) {
			continue // its parent has counted it
		}
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the state on
		for _, field := range fields[11:15] {                                     // utime, stime, cutime, cstime
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * tick, nil
}

// field is a number of kB in a file of /proc, in octets.
func field(text, name string) int64 {
	_, after, _ := strings.Cut(text, name)
	line, _, _ := strings.Cut(after, "\n")
	kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	return kib << 10
}
