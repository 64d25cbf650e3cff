package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/tempfolder"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/plugins/host"
)

// checking is one "dipylon check".
type checking struct {
	from                   source
	show, offline, connect bool
}

func newCheck() *cobra.Command {
	c := &checking{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration",
		Long: `Reads the configuration and tells everything that is wrong with it, with file, line and
column. The stores' settings are checked by their backends, which are started for that and
ended again; nothing is created, locked or listened on.

What can be served and will not work, or not for long, is a warning, and does not change the exit
status: certificates that have expired or do so within 30 days, or are not for the hostname, ports that
this user may not open, secrets in a file that every user of the machine can read, stores that are to do what their backends cannot.

With --connect the state database is opened as the gateway would open it, but for changes, and each
store is started with its settings and asked whether it can be used; a store's backend may make its
folders then.`,
		Example: `  dipylon check --config /etc/dipylon/dipylon.yaml
  dipylon check --config dipylon.yaml --show       what is in effect, defaults included
  dipylon check --config dipylon.yaml --offline    the file alone, no backend is started
  dipylon check --config dipylon.yaml --connect    are the database and the stores there?`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return c.run(cmd) }),
	}
	c.from.configFlag(cmd)
	cmd.Flags().BoolVar(&c.show, "show", false, "print the configuration that is in effect; secrets are hidden")
	cmd.Flags().BoolVar(&c.offline, "offline", false, "do not start backends to check their settings")
	cmd.Flags().BoolVar(&c.connect, "connect", false, "ask the database and the stores whether they can be used")
	cmd.MarkFlagsMutuallyExclusive("offline", "connect")
	return cmd
}

func (c *checking) run(cmd *cobra.Command) error {
	if err := c.from.find(); err != nil {
		return err
	}
	cfg, err := c.from.load()
	if err != nil {
		return configError(cmd, c.withStores(cmd, err))
	}
	warnings := slices.Concat(server.FileWarnings(cfg), server.CertificateWarnings(cfg, time.Now()), server.ListenerWarnings(cfg))
	if !c.offline {
		found, err := c.stores(cmd.Context(), cfg)
		tellWarnings(cmd, append(warnings, found...))
		if err != nil {
			return storeProblems(cmd, err)
		}
	} else {
		tellWarnings(cmd, warnings)
	}
	if c.connect {
		if err := connectState(cmd.Context(), cfg); err != nil {
			return err
		}
	}
	if c.show {
		text, err := cfg.YAML()
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", cfg.Name())
	return nil
}

// withStores adds, to what is wrong with a file, what its backends say of the stores that could be
// read: one mistake does not hide the others.
func (c *checking) withStores(cmd *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*config.Error](err)
	if !ok || wrong.Readable == nil || c.offline {
		return err
	}
	more := server.CheckStores(cmd.Context(), zerolog.Nop(), wrong.Readable, wrong.Readable.Stores)
	return server.JoinProblems([]error{err, more})
}

// stores asks the backends of all stores, at the same time.
func (c *checking) stores(ctx context.Context, cfg *config.Config) ([]config.Problem, error) {
	errs, warnings := make([]error, len(cfg.Stores)), make([][]config.Problem, len(cfg.Stores))
	var checks sync.WaitGroup
	for i := range cfg.Stores {
		checks.Go(func() {
			var can backends.Description
			if can, errs[i] = server.AskStore(ctx, zerolog.Nop(), cfg, cfg.Stores[i], host.DescribeWith); errs[i] != nil {
				return
			}
			warnings[i] = server.StoreWarnings(cfg, i, can)
			if c.connect {
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

// connectState asks the database that the configuration names. One that is not there yet is made when
// the gateway starts.
func connectState(ctx context.Context, cfg *config.Config) error {
	options := server.StateOptions(zerolog.Nop(), cfg)
	if options.URL == "" {
		if _, err := os.Stat(filepath.Join(options.Folder, state.FileName)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err := state.Ping(ctx, options); err != nil {
		return stateError(err)
	}
	return nil
}

// tellWarnings prints warnings.
func tellWarnings(cmd *cobra.Command, warnings []config.Problem) {
	for _, w := range warnings {
		at := w.Position.String() + ": "
		if w.Path != "" {
			at += w.Path + ": "
		}
		cmd.PrintErrln(at + "warning: " + w.Text)
	}
}

// storeProblems tells what backends said of their settings. A backend that could not be asked
// is no fault of the file's.
func storeProblems(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		return configError(cmd, wrong)
	}
	return withCode(exitTemporary, err)
}
