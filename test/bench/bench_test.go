//go:build bench && linux

package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// pairs is how often two servers do the same work, in turns.
var pairs = flag.Int("pairs", 7, "how often each of two servers does the same work")

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// row is one line of a table of results. The ratio is ours to theirs.
type row struct {
	what, unit string
	goal       float64 // 0: there is none
	atMost     bool    // the goal is not to be exceeded, or else to be reached
}

// side is one server under measurement: measure does the work once.
type side struct {
	name    string
	measure func() (float64, error)
}

// compare lets both sides work in turns, the one first that was second before, and prints the
// medians and the median of the ratios, as a line of a Markdown table.
func compare(t *testing.T, r row, ours, theirs side) {
	t.Helper()
	var our, their, ratios []float64
	for pair := range *pairs {
		var a, b float64
		if pair%2 == 0 {
			a, b = measured(t, ours), measured(t, theirs)
		} else {
			b, a = measured(t, theirs), measured(t, ours)
		}
		our, their, ratios = append(our, a), append(their, b), append(ratios, a/b)
	}
	goal := fmt.Sprintf("≥ %.4g", r.goal)
	switch {
	case r.goal == 0:
		goal = ""
	case r.atMost:
		goal = fmt.Sprintf("≤ %.4g", r.goal)
	}
	fmt.Printf("| %s | %s %s | %s %s | **%.2f** | %s | %.2f to %.2f |\n", r.what, number(median(our)), r.unit, number(median(their)), r.unit,
		median(ratios), goal, slices.Min(ratios), slices.Max(ratios))
}

// heading is what stands above the lines that compare prints.
func heading(ours, theirs string) {
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s, %s, %d pairs, load at the start %s\n\n", time.Now().UTC().Format(time.DateOnly), machine(), *pairs, strings.Join(strings.Fields(string(load))[:1], ""))
	fmt.Printf("| work | %s | %s | ratio | goal | ratios of the pairs |\n|---|---|---|---|---|---|\n", ours, theirs)
}

// machine is the size of the machine.
func machine() string {
	info, _ := os.ReadFile("/proc/meminfo")
	var kib int64
	_, _ = fmt.Sscanf(string(info), "MemTotal: %d kB", &kib)
	return fmt.Sprintf("%d cores (%s), %d GiB, %s", runtime.NumCPU(), processor(), (kib+1<<19)>>20, runtime.Version())
}

// processor is what the kernel says of the first one.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	var said []string
	for _, key := range []string{"model name", "cpu family", "model", "cpu MHz"} {
		_, after, _ := strings.Cut(string(info), "\n"+key+"\t")
		line, _, _ := strings.Cut(after, "\n")
		said = append(said, strings.TrimSpace(strings.TrimLeft(line, ":\t ")))
	}
	return fmt.Sprintf("%s, family %s model %s, %s MHz", said[0], said[1], said[2], said[3])
}

func measured(t *testing.T, s side) float64 {
	t.Helper()
	value, err := s.measure()
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return value
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// number writes a figure with three digits that mean something.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// drain logs in, lists, and reads every message, as a POP3 client that keeps mail on the server.
func drain(address, user, password string, want int) error {
	p, err := harness.LoginPOP3(address, nil, user, password)
	if err != nil {
		return err
	}
	defer p.Close()
	sizes, err := p.List()
	if err != nil {
		return err
	}
	if len(sizes) != want {
		return fmt.Errorf("%d messages are listed, not %d", len(sizes), want)
	}
	for n := 1; n <= len(sizes); n++ {
		if _, err := p.RetrTo(n, io.Discard); err != nil {
			return err
		}
	}
	return p.Quit()
}
