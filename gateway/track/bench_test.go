//go:build linux

package track_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
	"github.com/dipylon/dipylon/test/databases"
)

// BenchmarkKeep is what an event costs, from the log to the database.
func BenchmarkKeep(b *testing.B) {
	db := databases.Open(b, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(b)})
	r := track.NewRecorder()
	r.Set(true)
	l := zerolog.New(r)
	keep, stop := context.WithCancel(b.Context())
	stop() // Keep writes what there is, and ends
	for i := 0; b.Loop(); i++ {
		l.Info().Str(events.Event, events.Relay).Str("key", fmt.Sprint("GFNLKKJKNLVZA3SMR6VF6AIVD", i)).
			Str(events.MessageID, fmt.Sprint("<", i, "@sakes.example>")).Str("from", "ada@sakes.example").
			Str("recipient", fmt.Sprint("r", i%5000, "@far.example")).Str("destination", "far.example").Str(events.Outcome, "relayed").
			Int("code", 250).Str("enhanced", "2.0.0").Str("server", "mx.far.example").Str("diagnostic", "smtp; 250 2.0.0 stored").
			Int64(events.Octets, 4096).Int("attempts", 1).Int64("waited_ms", 20).Msg("relay")
		if i%4096 == 4095 {
			r.Keep(keep, track.Options{DB: db, Log: zerolog.Nop(), Node: "mx"})
		}
	}
	if r.Lost() != 0 {
		b.Errorf("%d are lost", r.Lost())
	}
}
