package manage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/tempfolder"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/plugins/host"
)

// Asking says how much of a configuration is asked about beyond the file itself.
type Asking int

// How much is asked.
const (
	AskNobody   Asking = iota // no backend is started
	AskBackends               // each backend checks its settings
	AskStores                 // and the stores and the database say whether they can be used
)

// Check says what in a good configuration deserves a warning, and what the backends of its stores say of
// their settings: a [*config.Error], or another error of a backend that could not be asked.
func Check(ctx context.Context, cfg *config.Config, asking Asking) (warnings []config.Problem, err error) {
	warnings = slices.Concat(server.FileWarnings(cfg), server.CertificateWarnings(cfg, time.Now()), server.ListenerWarnings(cfg), server.RouteWarnings(cfg), server.TransferWarnings(cfg), server.CollectWarnings(cfg))
	if asking == AskNobody {
		return warnings, nil
	}
	if asking == AskStores {
		warnings = append(warnings, server.HostWarnings(ctx, cfg)...)
	}
	found, err := checkStores(ctx, cfg, asking)
	return append(warnings, found...), err
}

// CheckReadable adds, to what is wrong with a file, what its backends say of the stores that could be
// read: one mistake does not hide the others.
func CheckReadable(ctx context.Context, err error) error {
	wrong, ok := errors.AsType[*config.Error](err)
	if !ok || wrong.Readable == nil {
		return err
	}
	more := server.CheckStores(ctx, zerolog.Nop(), wrong.Readable, wrong.Readable.Stores)
	return server.JoinProblems([]error{err, more})
}

// checkStores asks the backends of all stores, at the same time.
func checkStores(ctx context.Context, cfg *config.Config, asking Asking) ([]config.Problem, error) {
	errs, warnings := make([]error, len(cfg.Stores)), make([][]config.Problem, len(cfg.Stores))
	var checks sync.WaitGroup
	for i := range cfg.Stores {
		checks.Go(func() {
			var can backends.Description
			if can, errs[i] = server.AskStore(ctx, zerolog.Nop(), cfg, cfg.Stores[i], host.DescribeWith); errs[i] != nil {
				return
			}
			warnings[i] = server.StoreWarnings(cfg, i, can)
			if asking == AskStores {
				errs[i] = connectStore(ctx, cfg, cfg.Stores[i])
			}
		})
	}
	checks.Wait()
	return slices.Concat(warnings...), server.JoinProblems(errs)
}

// connectStore starts a store as the gateway does, with a state folder of its own, and asks whether
// it can be used.
func connectStore(ctx context.Context, cfg *config.Config, store config.Store) error {
	dir, err := tempfolder.New("", "check")
	if err != nil {
		return err
	}
	defer dir.Remove() //nolint:errcheck // it is in the folder for such things
	_, err = server.AskStore(ctx, zerolog.Nop(), cfg, store, func(ctx context.Context, log zerolog.Logger, spec host.Spec) (backends.Description, error) {
		spec.Settings.StateDir = dir.Path
		return host.TryStore(ctx, log, spec)
	})
	return err
}

// PingState asks the database that the configuration names. One that is not there yet is made when
// the gateway starts.
func PingState(ctx context.Context, cfg *config.Config) error {
	options := server.StateOptions(zerolog.Nop(), cfg)
	if options.URL == "" {
		if _, err := os.Stat(filepath.Join(options.Folder, state.FileName)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return state.Ping(ctx, options)
}
