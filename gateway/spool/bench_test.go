//go:build linux

package spool

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

// eachKind runs a benchmark on an empty database of each kind.
func eachKind(b *testing.B, f func(b *testing.B, s *Spool)) {
	b.Run("sqlite", func(b *testing.B) {
		f(b, start(b, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(b)}))
	})
	b.Run("postgres", func(b *testing.B) {
		f(b, start(b, state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(b).Database(b)}))
	})
}

// accepting takes in so many messages of 4 KiB from so many callers.
func accepting(b *testing.B, s *Spool, callers int) {
	body := full(b, buffer.Options{}, strings.Repeat("0123456789abcde\n", 256))
	var next atomic.Int64
	var working sync.WaitGroup
	for range callers {
		working.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				m := everything()
				m.Key = fmt.Sprint("key-", n)
				m.Recipients = m.Recipients[:1]
				m.Recipients[0].Destination = fmt.Sprintf("d%d.example", n%10)
				if err := s.Accept(b.Context(), m, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
}

// BenchmarkAccept is messages of 4 KiB that are taken in and lie there.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			eachKind(b, func(b *testing.B, s *Spool) {
				report := measured(b)
				accepting(b, s, callers)
				report()
			})
		})
	}
}

// BenchmarkThrough is messages of 4 KiB that are taken in, handed out and delivered at the same time.
func BenchmarkThrough(b *testing.B) {
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			eachKind(b, func(b *testing.B, s *Spool) {
				report := measured(b)
				var working sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(b.N))
				ended := make(chan struct{})
				for range 4 {
					working.Go(func() { deliverAll(b, s, &left, ended) })
				}
				accepting(b, s, callers)
				working.Wait()
				report()
			})
		})
	}
}

// deliverAll delivers until nothing is left.
func deliverAll(b *testing.B, s *Spool, left *atomic.Int64, ended chan struct{}) {
	ctx := contextUntil(b, ended)
	for {
		name, err := s.Ready(ctx)
		if err != nil {
			return
		}
		for {
			deliveries, err := s.Claim(b.Context(), name, 100)
			if err != nil {
				b.Error(err)
				return
			}
			if len(deliveries) == 0 {
				break
			}
			results := make([]Result, len(deliveries))
			for i, d := range deliveries {
				results[i] = all(d, Outcome{State: Delivered, At: time.Now()})
			}
			if err := s.Settle(b.Context(), results...); err != nil {
				b.Error(err)
				return
			}
			if left.Add(-int64(len(deliveries))) == 0 {
				close(ended)
			}
		}
		s.Done(name, time.Time{})
	}
}

// contextUntil ends with a channel.
func contextUntil(b *testing.B, ended <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx
}

// measured begins to measure; what it gives reports, the processor's time of this process, too.
func measured(b *testing.B) (report func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ResetTimer()
	return func() {
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "µs-cpu/message")
	}
}

// BenchmarkOpen is a start with a million waiting, until the first of them is handed out.
func BenchmarkOpen(b *testing.B) {
	db := databases.Open(b, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(b)})
	waiting(b, db, "dead.example", 1_000_000, 1)
	for b.Loop() {
		s, err := Open(b.Context(), Options{Log: zerolog.Nop(), DB: db, Folder: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		d := claim(b, s, next(b, s), 1)
		if len(d) != 1 {
			b.Fatal("nothing is handed out")
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBeside is a message to a living destination, from Accept to Settle, beside so many that wait for
// a dead one.
func BenchmarkBeside(b *testing.B) {
	for _, many := range []int{0, 100_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			eachKind(b, func(b *testing.B, s *Spool) {
				if many > 0 {
					waiting(b, s.db, "dead.example", many, 1)
					s.schedule.rewind()
					s.Done(next(b, s), time.Now().Add(time.Hour))
				}
				n := 0
				for b.Loop() {
					n++
					accept(b, s, to(fmt.Sprint(n), "a@alive.example"), "text")
					name := next(b, s)
					settle(b, s, all(one(b, s, name), Outcome{State: Delivered, At: time.Now()}))
					s.Done(name, time.Time{})
				}
			})
		})
	}
}
