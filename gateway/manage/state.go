package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// MoveState moves a configuration's SQLite state into a PostgreSQL database, with large contents of mail in transit.
// No gateway may run, and none starts meanwhile. Tell is told what was just done. It says how many rows there were.
func MoveState(ctx context.Context, cfg *config.Config, url string, tell func(what string)) (rows int64, err error) {
	if cfg.State.URL != "" {
		return 0, errors.New("the state is in a PostgreSQL database already")
	}
	lock, err := server.LockState(cfg.StateFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("there is no state database in %s", cfg.StateFolder)
	}
	if err != nil {
		return 0, server.Temporary(err)
	}
	defer lock.Release()
	rows, err = state.Move(ctx, state.Moving{
		From: server.StateOptions(zerolog.Nop(), cfg),
		To:   state.Options{Log: zerolog.Nop(), URL: url},
		Contents: func(ctx context.Context, to *state.DB) error {
			return spool.MoveContents(ctx, server.SpoolFolder(cfg), to, func(n int) { tell(fmt.Sprintf("large contents: %d", n)) })
		},
		Tell: tell,
	})
	if err != nil {
		return rows, server.Temporary(err)
	}
	return rows, nil
}
