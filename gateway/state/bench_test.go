//go:build linux

package state

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/test/peers"
)

// BenchmarkWrite is small durable writes, by so many callers at once.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", kind, callers), func(b *testing.B) {
				o := Options{Log: zerolog.Nop(), Folder: b.TempDir()}
				if kind == "postgres" {
					o.URL = peers.SharedPostgres(b).Database(b)
				}
				db := open(b, o)
				var next atomic.Int64
				var writing sync.WaitGroup
				b.ResetTimer()
				for range callers {
					writing.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							if err := put(b.Context(), db, fmt.Sprint(n)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				writing.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}

// BenchmarkQueryRow is one row by its key.
func BenchmarkQueryRow(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			o := Options{Log: zerolog.Nop(), Folder: b.TempDir()}
			if kind == "postgres" {
				o.URL = peers.SharedPostgres(b).Database(b)
			}
			db := open(b, o)
			if err := put(b.Context(), db, "a"); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				var used int64
				if err := db.QueryRow(b.Context(), "SELECT used FROM folders WHERE key = $1", []byte("a")).Scan(&used); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
