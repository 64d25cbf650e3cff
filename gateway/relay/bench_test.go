//go:build linux

package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// BenchmarkRelay is a message of 4 KB out of a spool on SQLite to a server on this machine.
func BenchmarkRelay(b *testing.B) {
	w := newWorld(b, far)
	s, err := spool.Open(b.Context(), spool.Options{
		Log: zerolog.Nop(), DB: databases.Open(b, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(b)}), Folder: b.TempDir(), Reserve: 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark's
	server := w.at(b, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"PIPELINING"}})
	w.relay.Queue, w.relay.Now, w.relay.Log = relay.FromSpool(s), time.Now, zerolog.Nop()
	w.relay.Limits = relay.Limits{}
	content := text + string(make([]byte, 4000))
	for i := range b.N {
		accept(b, s, letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i)), content)
	}
	b.ResetTimer()
	w.run(b)
	for len(server.Received()) < b.N {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	w.end()
}
