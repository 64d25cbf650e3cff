//go:build linux && amd64

package faults

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// setClock sets the wall clock of a process, so that it is so much ahead of the machine's, from one moment to the next and
// while the process runs. Neither the program nor the machine knows of it, and clocks that nobody sets (CLOCK_MONOTONIC,
// CLOCK_BOOTTIME) go on as they did, as where an administrator sets the clock. Children have their own.
//
// Programs ask for the time in a page of code that the kernel gives each process (vdso(7)). The process's copy of
// it is written over, as debuggers do to set a breakpoint there.
func setClock(t *testing.T, pid int, ahead time.Duration) {
	t.Helper()
	code, err := clockOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "a moment at which no thread asks for the time", func() bool {
		set, err := code.write(pid, ahead)
		if err != nil {
			t.Fatalf("the clock of process %d: %v", pid, err)
		}
		return set
	})
}

// clockCode is where a process has the code of __vdso_clock_gettime.
type clockCode struct{ page, from, size uint64 }

// clockOf finds it.
func clockOf(pid int) (c clockCode, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return c, err
	}
	var end uint64
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &c.page, &end); err != nil {
				return c, err
			}
		}
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return c, err
	}
	defer memory.Close()
	page := make([]byte, end-c.page)
	if _, err := memory.ReadAt(page, int64(c.page)); err != nil {
		return c, err
	}
	file, err := elf.NewFile(bytes.NewReader(page))
	if err != nil {
		return c, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "__vdso_clock_gettime" })
	if i < 0 {
		return c, errors.New("its vdso has no __vdso_clock_gettime")
	}
	c.from, c.size = c.page+symbols[i].Value, symbols[i].Size
	return c, nil
}

// asksTheKernel is the code that is put there, up to the distance from its end to the seconds. It asks the kernel, and
// adds the seconds to the wall clock.
var asksTheKernel = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 10, // jne to the ret
	0x48, 0x8b, 0x0d, // mov rcx, [rip+distance]
}

// addsSeconds is the code behind the distance.
var addsSeconds = []byte{
	0x48, 0x01, 0x0e, // add [rsi], rcx: tv_sec is its first field
	0xc3, // ret
}

// write stops the process, and puts the code in place; false: a thread is in it.
func (c clockCode) write(pid int, ahead time.Duration) (set bool, err error) {
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer memory.Close()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
	if free, err := c.nobodyIn(pid); err != nil || !free {
		return false, err
	}
	code := bytes.Clone(asksTheKernel)
	code = binary.LittleEndian.AppendUint32(code, uint32(len(addsSeconds)))
	code = append(code, addsSeconds...)
	code = binary.LittleEndian.AppendUint64(code, uint64(int64(ahead/time.Second)))
	if uint64(len(code)) > c.size {
		return false, fmt.Errorf("its __vdso_clock_gettime has only %d octets", c.size)
	}
	_, err = memory.WriteAt(code, int64(c.from))
	return true, err
}

// nobodyIn waits until all threads have stopped, and says whether none of them has stopped in the kernel's page.
func (c clockCode) nobodyIn(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(filepath.Join(thread, "stat"))
		if err != nil {
			continue // it has ended
		}
		behindName := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if behindName[0] != "T" {
			return false, nil
		}
		where, err := os.ReadFile(filepath.Join(thread, "syscall"))
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(where)) // the last one is the program counter (proc_pid_syscall(5))
		at, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err != nil {
			return false, nil // "running": it has not stopped yet
		}
		if at >= c.page && at < c.from+c.size {
			return false, nil
		}
	}
	return true, nil
}

// TestSetClock: what is set is the wall clock alone, of the one process alone.
func TestSetClock(t *testing.T) {
	p, begin := launch(t, []string{"FAULTS_TEST=clock"}, os.Args[0]), time.Now()
	ask := func() (ahead, ran time.Duration) {
		t.Helper()
		p.tell(t, "")
		var seconds, millis int64
		if _, err := fmt.Sscan(p.line(t), &seconds, &millis); err != nil {
			t.Fatal(err)
		}
		return time.Until(time.Unix(seconds, 0)), time.Duration(millis) * time.Millisecond
	}
	for _, want := range []time.Duration{0, 26 * time.Hour, -26 * time.Hour, 3 * time.Hour, 0} {
		setClock(t, p.cmd.Process.Pid, want)
		ahead, ran := ask()
		if off := ahead - want; off < -time.Minute || off > time.Minute {
			t.Errorf("it is %s ahead, not %s", ahead, want)
		}
		if ran < 0 || ran > time.Since(begin) {
			t.Errorf("it has run for %s", ran)
		}
	}
}
