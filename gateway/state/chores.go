package state

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

const (
	// choreRows is how many rows one transaction of a chore removes at the most, and chorePause
	// the time that it leaves to others before the next.
	choreRows  = 200
	chorePause = 100 * time.Millisecond
	choreMost  = time.Minute // for one transaction
)

// Chore is something to clean up now and then.
type Chore struct {
	Name string
	// Do removes up to most rows and says how many it has removed.
	Do func(ctx context.Context, most int) (rows int64, err error)
}

// KeepHouse does chores, now and then every so often, until ctx ends. Each goes on, in small
// transactions, until there is nothing left for it. Nodes that do the same chores at the same
// time do no harm.
func KeepHouse(ctx context.Context, log zerolog.Logger, every time.Duration, chores ...Chore) {
	for {
		for _, c := range chores {
			rows, err := c.finish(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				log.Warn().Err(err).Str("chore", c.Name).Msg("cleaning up the state has failed; it is tried again later")
			case rows > 0:
				log.Info().Int64("rows", rows).Str("chore", c.Name).Msg("cleaned up the state")
			}
		}
		if !wait(ctx, every) {
			return
		}
	}
}

// finish does a chore to its end.
func (c Chore) finish(ctx context.Context) (all int64, err error) {
	for {
		once, cancel := context.WithTimeout(ctx, choreMost)
		rows, err := c.Do(once, choreRows)
		cancel()
		all += rows
		if err != nil || rows < choreRows || !wait(ctx, chorePause) {
			return all, err
		}
	}
}

// wait says whether the time has come, rather than the context's end.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
