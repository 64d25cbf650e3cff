//go:build linux

package host

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// cpuTime is what this process and the plugin have used.
func cpuTime(b *testing.B, plugin int) time.Duration {
	var here syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &here); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(plugin) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond
	return time.Duration(here.Utime.Nano()+here.Stime.Nano()) + time.Duration(user+system)*tick
}

// measured runs a benchmark's loop and reports the CPU time of both sides.
func measured(b *testing.B, s *Store, loop func()) {
	pid := s.Status().PID
	before := cpuTime(b, pid)
	b.ResetTimer()
	loop()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b, pid)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkUnary(b *testing.B) {
	s, _ := start(b, specOf(b, "store", fakeSettings{}))
	measured(b, s, func() {
		for range b.N {
			if _, err := s.Login(b.Context(), ann); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenClose(b *testing.B) {
	s, _ := start(b, specOf(b, "store", fakeSettings{}))
	measured(b, s, func() {
		for range b.N {
			drop, err := s.Open(b.Context(), backends.OpenRequest{Credential: ann})
			if err != nil {
				b.Fatal(err)
			}
			if err := drop.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func fetchOnce(b *testing.B, drop backends.Maildrop, size int) {
	fetchOf(b, drop, backends.MessageID(fmt.Sprintf("size:%d", size)), size)
}

func fetchOf(b *testing.B, drop backends.Maildrop, id backends.MessageID, size int) {
	content, err := drop.Fetch(b.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		b.Error(err)
		return
	}
	if n, err := content.(io.WriterTo).WriteTo(io.Discard); n != int64(size) || err != nil {
		b.Error(n, err)
	}
	_ = content.Close()
}

// BenchmarkFetch is one message after the other, and several at once as read-ahead does it.
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{1_000, 60_000, 100_000_000} {
		for _, atOnce := range []int{1, 8} {
			b.Run(fmt.Sprintf("%dK/at-once=%d", size/1000, atOnce), func(b *testing.B) {
				s, _ := start(b, specOf(b, "store", fakeSettings{}))
				drop := openDrop(b, s)
				b.SetBytes(int64(size))
				var left atomic.Int64
				left.Store(int64(b.N))
				measured(b, s, func() {
					done := make(chan struct{})
					for range atOnce {
						go func() {
							defer func() { done <- struct{}{} }()
							for left.Add(-1) >= 0 {
								fetchOnce(b, drop, size)
							}
						}()
					}
					for range atOnce {
						<-done
					}
				})
			})
		}
	}
}

// BenchmarkDeliver sends messages into the store.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{60_000, 100_000_000} {
		b.Run(fmt.Sprintf("%dK", size/1000), func(b *testing.B) {
			s, _ := start(b, specOf(b, "store", fakeSettings{}))
			b.SetBytes(int64(size))
			measured(b, s, func() {
				for range b.N {
					_, err := s.Deliver(b.Context(), delivery("b@x.example"), io.LimitReader(&endless{}, int64(size)))
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkFetchMany is 16 messages a request, in chunks.
func BenchmarkFetchMany(b *testing.B) {
	s, _ := start(b, specOf(b, "store", fakeSettings{}))
	drop := openDrop(b, s)
	ids := make([]string, 16)
	for i := range ids {
		ids[i] = "size:60032"
	}
	b.SetBytes(60032)
	measured(b, s, func() {
		for left := b.N; left > 0; left -= len(ids) {
			contents := many(b, drop, ids...)
			for range ids {
				c, err := contents.Next(b.Context())
				if err == nil {
					_, err = c.(io.WriterTo).WriteTo(io.Discard)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			_ = contents.Close()
		}
	})
}

// octetsRead is what this process has read, of sockets too.
func octetsRead(b *testing.B) (octets int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err == nil {
		_, err = fmt.Sscanf(string(text), "rchar: %d", &octets)
	}
	if err != nil {
		b.Fatal(err)
	}
	return octets
}

// BenchmarkSizes finds the sizes of messages: each fetched only to be counted, four at a time, and
// measured where they are, 16 with a request.
func BenchmarkSizes(b *testing.B) {
	for _, size := range []int{9_024, 60_032} {
		id := backends.MessageID(fmt.Sprintf("unsized:%d", size))
		fetch := func(b *testing.B, drop backends.Maildrop) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						fetchOf(b, drop, id, size)
					}
				})
			}
			all.Wait()
		}
		measure := func(b *testing.B, drop backends.Maildrop) {
			for left := b.N; left > 0; left -= 16 {
				ids := slices.Repeat([]backends.MessageID{id}, min(16, left))
				for m, err := range drop.(backends.Measurer).Measure(b.Context(), backends.MeasureRequest{IDs: ids, Sizes: true}) {
					if err != nil || m.Size != int64(size) {
						b.Fatal(m, err)
					}
				}
			}
		}
		for name, work := range map[string]func(*testing.B, backends.Maildrop){"fetched": fetch, "measured": measure} {
			b.Run(fmt.Sprintf("%dK/%s", size/1000, name), func(b *testing.B) {
				s, _ := start(b, specOf(b, "store", fakeSettings{}))
				drop := openDrop(b, s)
				before := octetsRead(b)
				measured(b, s, func() { work(b, drop) })
				b.ReportMetric(float64(octetsRead(b)-before)/float64(b.N), "octets/op")
			})
		}
	}
}
