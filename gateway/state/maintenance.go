package state

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/pause"
)

const (
	// taskRows is how many rows one transaction of a task removes at the most, and taskPause
	// the time that it leaves to others before the next.
	taskRows  = 200
	taskPause = 100 * time.Millisecond
	taskMost  = time.Minute // for one transaction
)

// Task is something to clean up now and then.
type Task struct {
	Name string
	// Do removes up to most rows and says how many it has removed.
	Do func(ctx context.Context, most int) (rows int64, err error)
}

// Maintain does tasks, now and then every so often, until ctx ends. Each goes on, in small
// transactions, until there is nothing left for it. Nodes that do the same tasks at the same
// time do no harm.
func Maintain(ctx context.Context, log zerolog.Logger, every time.Duration, tasks ...Task) {
	for {
		for _, c := range tasks {
			rows, err := c.finish(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				log.Warn().Err(err).Str("task", c.Name).Msg("cleaning up the state has failed; it is tried again later")
			case rows > 0:
				log.Info().Int64("rows", rows).Str("task", c.Name).Msg("cleaned up the state")
			}
		}
		if !pause.For(ctx, every) {
			return
		}
	}
}

// finish does a task to its end.
func (c Task) finish(ctx context.Context) (all int64, err error) {
	for {
		once, cancel := context.WithTimeout(ctx, taskMost)
		rows, err := c.Do(once, taskRows)
		cancel()
		all += rows
		if err != nil || rows < taskRows || !pause.For(ctx, taskPause) {
			return all, err
		}
	}
}
