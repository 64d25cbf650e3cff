package track

import (
	"compress/flate"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestQuiet: the compressor's tables are given up once no events come for a while, and not before.
func TestQuiet(t *testing.T) {
	for after, kept := range map[time.Duration]bool{quietTime - time.Millisecond: true, quietTime + time.Millisecond: false} {
		synctest.Test(t, func(t *testing.T) {
			w, err := flate.NewWriter(nil, flate.BestSpeed)
			if err != nil {
				t.Fatal(err)
			}
			k := &keeper{Recorder: NewRecorder(), o: Options{Log: zerolog.Nop()}, deflater: w}
			ctx, stop := context.WithCancel(t.Context())
			var keeping sync.WaitGroup
			keeping.Go(func() { k.run(ctx) })
			time.Sleep(after)
			stop()
			keeping.Wait()
			if (k.deflater != nil) != kept {
				t.Errorf("after %s: kept %t", after, !kept)
			}
		})
	}
}

// TestTracked: an event is known by its name alone, wherever that stands in the line, and not by what a value says.
func TestTracked(t *testing.T) {
	for line, want := range map[string]bool{
		`{"level":"info","event":"delivery","outcome":"delivered"}`:            true,
		`{"level":"info","outcome":"delivered","event":"message.in"}` + "\n":   false,
		`{"level":"info","event":"session_end"}`:                               false,
		`{"level":"info","reply":"\"event\":\"delivery\""}`:                    false,
		`{"level":"info","reply":"\"event\":\"delivery\"","event":"delivery"}`: true,
		`{"peer":{"event":"none"},"event":"delivery"}`:                         true,
		`{"event":"delivery`:    false,
		`{"event":"deliver"}`:   false,
		`{"event":"deliveryx"}`: false,
		`{"event":""}`:          false,
		``:                      false,
	} {
		if isTracked([]byte(line)) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
	for name := range tracked {
		if !isTracked([]byte(`{"event":"` + name + `"}`)) {
			t.Error(name)
		}
	}
}

func BenchmarkTracked(b *testing.B) {
	line := []byte(`{"level":"info","session":"abcdefghijkl","remote":"127.0.0.1:12345","transaction":"abcdefghijkl.1","key":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","event":"delivery","from":"sender@load.example","recipient":"u1@bench.example","store":"mail","outcome":"delivered","code":250,"enhanced":"2.0.0","message_id":"<0000000001@load.example>","octets":4300,"again":false,"message":"delivery"}`)
	for b.Loop() {
		isTracked(line)
	}
}
