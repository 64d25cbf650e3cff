package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// MoveState moves a configuration's state: a SQLite one into a PostgreSQL database, with large contents of mail in
// transit, and the other way. No gateway may run, and none starts meanwhile. Tell is told what was just done. It says
// how many rows there were.
func MoveState(ctx context.Context, cfg *config.Config, to state.Options, tell func(what string)) (rows int64, err error) {
	m := state.Moving{From: server.StateOptions(zerolog.Nop(), cfg), To: to, Tell: tell}
	folder := cfg.StateFolder
	switch {
	case m.From.URL != "" && to.URL != "":
		return 0, errors.New("the state is in a PostgreSQL database already")
	case m.From.URL != "":
		folder = to.Folder
		if err := state.MakeFolder(folder); err != nil {
			return 0, fmt.Errorf("the state folder: %w", err)
		}
	}
	m.Contents = func(ctx context.Context, from, to *state.DB) error {
		return spool.MoveContents(ctx, server.SpoolFolder(cfg), from, to, func(n int) { tell(fmt.Sprintf("contents of mail in transit: %d", n)) })
	}
	lock, err := server.LockState(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("there is no state database in %s", folder)
	}
	if err != nil {
		return 0, server.Temporary(err)
	}
	defer lock.Release()
	if rows, err = state.Move(ctx, m); err != nil {
		return rows, server.Temporary(err)
	}
	return rows, nil
}

// BackupState copies a configuration's SQLite state, which may be in use, into a new file, with large contents of mail
// in transit.
func BackupState(ctx context.Context, cfg *config.Config, file string) error {
	return state.Backup(ctx, server.StateOptions(zerolog.Nop(), cfg), file, func(ctx context.Context, from, to *state.DB) error {
		return spool.CopyContents(ctx, server.SpoolFolder(cfg), from, to)
	})
}

// Restored is what [RestoreState] has done.
type Restored struct {
	Kept string // the name of what was there; empty: nothing was
	Held int64  // recipients of mail in transit that are held
	// Contents is a folder with the large contents of the mail in transit of what was there; empty: there were none.
	Contents string
}

// RestoreState puts a backup in the place of a configuration's SQLite state. No gateway may run, and none starts
// meanwhile. Mail in transit is held, as it may have been delivered since the backup was made; unless release says
// that it is tried as if nothing had happened.
func RestoreState(ctx context.Context, cfg *config.Config, file string, release bool) (r Restored, err error) {
	o := server.StateOptions(zerolog.Nop(), cfg)
	if o.URL == "" {
		if err := state.MakeFolder(cfg.StateFolder); err != nil {
			return r, fmt.Errorf("the state folder: %w", err)
		}
		lock, err := server.LockState(cfg.StateFolder)
		if err != nil {
			return r, server.Temporary(err)
		}
		defer lock.Release()
	}
	var change func(context.Context, *state.DB) error
	if !release {
		change = func(ctx context.Context, db *state.DB) (err error) {
			r.Held, err = spool.HoldAll(ctx, db)
			return err
		}
	}
	if r.Kept, err = state.Restore(ctx, o, file, time.Now(), change); err != nil || r.Kept == "" {
		return r, err
	}
	from := server.SpoolFolder(cfg)
	to := from + strings.TrimPrefix(r.Kept, filepath.Join(o.Folder, state.FileName))
	kept, err := spool.KeepContents(from, to)
	if err != nil {
		return r, fmt.Errorf("the backup is in place, but contents of mail in transit of what was there, which is %s, cannot be kept: "+
			"copy the folder %s before a gateway starts, which removes those that the backup does not know: %w", r.Kept, from, err)
	}
	if kept > 0 {
		r.Contents = to
	}
	return r, nil
}

// HoldState holds all mail in transit of a configuration's state, as [RestoreState] does, and says how many recipients
// there are: for a PostgreSQL database that was restored with its server's means. No gateway may run.
func HoldState(ctx context.Context, cfg *config.Config) (held int64, err error) {
	o := server.StateOptions(zerolog.Nop(), cfg)
	if o.URL == "" {
		lock, err := server.LockState(cfg.StateFolder)
		if err != nil {
			return 0, server.Temporary(err)
		}
		defer lock.Release()
		o.Alone = true
	}
	db, err := state.Open(ctx, o)
	if err != nil {
		return 0, server.Temporary(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if held, err = spool.HoldAll(ctx, db); err != nil {
		return 0, server.Temporary(err)
	}
	return held, nil
}
