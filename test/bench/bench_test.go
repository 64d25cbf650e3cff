//go:build bench && linux

package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// pairs is how often two servers do the same work, in turns.
const pairs = 5

// side is one server under measurement: run does the work once.
type side struct {
	name string
	run  func() error
}

// compare runs both sides in turns and prints the median of the ratios of their times: above
// 1 ours is faster.
func compare(t *testing.T, what string, ours, theirs side) float64 {
	t.Helper()
	var ratios []float64
	var our, their []time.Duration
	for range pairs {
		a, b := timed(t, ours), timed(t, theirs)
		our, their = append(our, a), append(their, b)
		ratios = append(ratios, float64(b)/float64(a))
	}
	ratio := median(ratios)
	fmt.Printf("%-58s %8.3f s %-8s %8.3f s %-8s ratio %6.2f  (%.2f to %.2f, %d pairs, %d cores)\n", what,
		median(our).Seconds(), ours.name, median(their).Seconds(), theirs.name, ratio, slices.Min(ratios), slices.Max(ratios), pairs, runtime.NumCPU())
	return ratio
}

func timed(t *testing.T, s side) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := s.run(); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return time.Since(begin)
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
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
