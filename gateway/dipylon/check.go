package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/plugins/host"
)

func newCheck() *cobra.Command {
	var from source
	var show, offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration",
		Long: `Reads the configuration and tells everything that is wrong with it, with file, line and
column. The stores' settings are checked by their backends, which are started for that and
ended again; nothing is created, locked or listened on.`,
		Example: `  dipylon check --config /etc/dipylon/dipylon.yaml
  dipylon check --config dipylon.yaml --show       what is in effect, defaults included
  dipylon check --config dipylon.yaml --offline    the file alone, no backend is started`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			if err := from.find(); err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return configError(cmd, err)
			}
			if !offline {
				if err := checkStores(cmd.Context(), zerolog.Nop(), cfg, cfg.Stores); err != nil {
					return storeProblems(cmd, err)
				}
			}
			if show {
				text, err := cfg.YAML()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", cfg.Name())
			return nil
		}),
	}
	from.configFlag(cmd)
	cmd.Flags().BoolVar(&show, "show", false, "print the configuration that is in effect; secrets are hidden")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not start backends to check their settings")
	return cmd
}

// storeProblems tells what backends said of their settings. A backend that could not be asked
// is no fault of the file's.
func storeProblems(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		return configError(cmd, wrong)
	}
	return withCode(exitTemporary, err)
}

// checkStores lets backends check their settings, all at the same time. Wrong settings come
// back as a [*config.Error], with places in the file.
func checkStores(ctx context.Context, log zerolog.Logger, cfg *config.Config, stores []config.Store) error {
	errs := make([]error, len(stores))
	var checks sync.WaitGroup
	for i, store := range stores {
		checks.Go(func() { errs[i] = checkStore(ctx, log, cfg, store) })
	}
	checks.Wait()
	return joinProblems(errs)
}

func checkStore(ctx context.Context, log zerolog.Logger, cfg *config.Config, store config.Store) error {
	spec, err := specOf(cfg, store)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.PluginStart.Std()+stopMost)
	defer cancel()
	return settingsError(cfg, store.Name, host.CheckSettings(ctx, log, spec))
}

// settingsError puts the places of the file into what a backend found in its settings.
func settingsError(cfg *config.Config, store string, err error) error {
	wrong, ok := errors.AsType[*backends.SettingsError](err)
	if !ok {
		return err
	}
	var problems []config.Problem
	for _, p := range wrong.Problems {
		problems = append(problems, config.Problem{Path: p.Path, Text: p.Problem, Suggest: p.Suggest})
	}
	return cfg.SettingsError(store, problems)
}

// joinProblems makes one error of several: all the problems of the configuration if there are
// any, or else the other errors.
func joinProblems(errs []error) error {
	var problems []config.Problem
	for _, err := range errs {
		if wrong, ok := errors.AsType[*config.Error](err); ok {
			problems = append(problems, wrong.Problems...)
		}
	}
	if len(problems) > 0 {
		return config.Join(problems)
	}
	return errors.Join(errs...)
}
