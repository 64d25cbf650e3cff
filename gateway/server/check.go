package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/policy"
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
	if err != nil {
		return can, SettingsError(cfg, store.Name, err)
	}
	return can, config.Join(policyProblems(cfg, store, can))
}

// policyProblems tells of disposals of deleted messages that the store does not have, which else a
// user would meet at QUIT.
func policyProblems(cfg *config.Config, store config.Store, can backends.Description) (problems []config.Problem) {
	i := slices.IndexFunc(cfg.Stores, func(s config.Store) bool { return s.Name == store.Name })
	if i < 0 || !can.Capabilities.Reader {
		return nil
	}
	check := func(deleted, path string, at config.Position) {
		if !can.Reading.Disposes(policy.DisposalOf(deleted)) {
			problems = append(problems, config.Problem{
				Position: at, Path: path, Suggest: "write remove or keep",
				Text: fmt.Sprintf("%q is what the backend of store %s, %s, cannot do with deleted messages", deleted, store.Name, can.Name),
			})
		}
	}
	own, values := cfg.PolicyOf(store.Name, "")
	at := slices.IndexFunc(values, func(v config.PolicyValue) bool { return v.Name == "deleted" })
	check(*own.Deleted, "policy.deleted", values[at].Position)
	for j, m := range store.Mailboxes {
		if m.Policy.Deleted != nil {
			path := fmt.Sprintf("stores[%d].mailboxes[%d].policy.deleted", i, j)
			check(*m.Policy.Deleted, path, cfg.Place(path))
		}
	}
	return problems
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
