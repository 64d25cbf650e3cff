package server

import (
	"context"
	"errors"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/plugins/host"
)

// CheckStores lets backends check their settings, all at the same time. Wrong settings come
// back as a [*config.Error], with places in the file.
func CheckStores(ctx context.Context, log zerolog.Logger, cfg *config.Config, stores []config.Store) error {
	errs := make([]error, len(stores))
	var checks sync.WaitGroup
	for i, store := range stores {
		checks.Go(func() { _, errs[i] = AskStore(ctx, log, cfg, store, host.DescribeWith) })
	}
	checks.Wait()
	return JoinProblems(errs)
}

// asking is [host.DescribeWith] or [host.TryStore].
type asking func(context.Context, zerolog.Logger, host.Spec) (backends.Description, error)

// AskStore asks the backend of one store.
func AskStore(ctx context.Context, log zerolog.Logger, cfg *config.Config, store config.Store, ask asking) (backends.Description, error) {
	spec, err := SpecOf(cfg, store)
	if err != nil {
		return backends.Description{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.PluginStart.Std()+stopMost)
	defer cancel()
	can, err := ask(ctx, log, spec)
	return can, SettingsError(cfg, store.Name, err)
}

// SettingsError puts the places of the file into what a backend found in its settings.
func SettingsError(cfg *config.Config, store string, err error) error {
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

// JoinProblems makes one error of several: all the problems of the configuration if there are
// any, or else the other errors.
func JoinProblems(errs []error) error {
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
