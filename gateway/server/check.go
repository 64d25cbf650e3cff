package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// examining is [host.DescribeWith] or [host.TryStore].
type examining func(context.Context, zerolog.Logger, host.Spec) (backends.Description, error)

// AskStore asks the backend of one store.
func AskStore(ctx context.Context, log zerolog.Logger, cfg *config.Config, store config.Store, ask examining) (backends.Description, error) {
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

// wanting is a key of policies whose values a store may be unable to do.
type wanting struct {
	key    string
	of     func(config.Policy) *string
	has    func(value string) bool
	usual  string   // what every store can do
	others []string // what this one can do besides
	doing  string   // how a refusal ends, behind "cannot"
}

// wantings are the values of policies that [backends.Reading] describes.
func wantings(can backends.Reading) []wanting {
	return []wanting{
		{
			key: "deleted", of: func(p config.Policy) *string { return p.Deleted }, doing: "do with deleted messages",
			has:   func(value string) bool { return can.Disposes(policy.DisposalOf(value)) },
			usual: "remove", others: []string{"keep"},
		},
		{
			key: "encoding", of: func(p config.Policy) *string { return p.Encoding }, doing: "render messages with",
			has:   func(value string) bool { return can.Encodes(policy.EncodingOf(value)) },
			usual: backends.EncodingMIME.String(), others: words(can.Encodings),
		},
		{
			key: "body", of: func(p config.Policy) *string { return p.Body }, doing: "render messages with",
			has:   func(value string) bool { return can.HasBody(policy.BodyOf(value)) },
			usual: backends.BodyBest.String(), others: words(can.Bodies),
		},
		{
			key: "calendar", of: func(p config.Policy) *string { return p.Calendar }, doing: "render meetings as",
			has:   func(value string) bool { return can.HasCalendar(policy.CalendarOf(value)) },
			usual: backends.CalendarICal.String(), others: words(can.Calendars),
		},
	}
}

func words[T fmt.Stringer](values []T) (all []string) {
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}

// policyProblems tells of what policies want and the store's backend cannot do: disposals of deleted
// messages, which else a user would meet at QUIT, and forms of messages.
func policyProblems(cfg *config.Config, store config.Store, can backends.Description) (problems []config.Problem) {
	i := slices.IndexFunc(cfg.Stores, func(s config.Store) bool { return s.Name == store.Name })
	if i < 0 || !can.Capabilities.Reader {
		return nil
	}
	own, values := cfg.PolicyOf(store.Name, "")
	for _, w := range wantings(can.Reading) {
		check := func(value, path string, at config.Position) {
			if !w.has(value) {
				problems = append(problems, config.Problem{
					Position: at, Path: path, Suggest: "write " + strings.Join(append([]string{w.usual}, w.others...), " or "),
					Text: fmt.Sprintf("%q is what the backend of store %s, %s, cannot %s", value, store.Name, can.Name, w.doing),
				})
			}
		}
		at := slices.IndexFunc(values, func(v config.PolicyValue) bool { return v.Name == w.key })
		path := "policy." + w.key
		if values[at].Level == "store" {
			path = fmt.Sprintf("stores[%d].%s", i, path)
		}
		check(*w.of(own), path, values[at].Position)
		for j, m := range store.Mailboxes {
			if value := w.of(m.Policy); value != nil {
				path := fmt.Sprintf("stores[%d].mailboxes[%d].policy.%s", i, j, w.key)
				check(*value, path, cfg.Place(path))
			}
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
