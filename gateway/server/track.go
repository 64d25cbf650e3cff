package server

import (
	"context"
	"os"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
)

// startTrack lets a recorder keep what it sees, if the configuration wants it. The end writes what is left.
func startTrack(r *track.Recorder, log zerolog.Logger, cfg *config.Config, db *state.DB, room func(context.Context) error) (end func()) {
	r.Set(cfg.Track.Keep > 0)
	node, err := os.Hostname()
	if err != nil {
		node = cfg.Hostname
	}
	ctx, stop := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	keeping.Go(func() { r.Keep(ctx, track.Options{DB: db, Log: log, Node: node, Room: room}) })
	return func() {
		stop()
		keeping.Wait()
	}
}

// TrackedLog is a log of what a command does to messages where no gateway runs: of it only that is kept which
// dipylon track tells. The end writes what is left.
func TrackedLog(cfg *config.Config, db *state.DB) (log zerolog.Logger, end func()) {
	r := track.NewRecorder()
	return zerolog.New(r), startTrack(r, zerolog.Nop(), cfg, db, nil)
}
