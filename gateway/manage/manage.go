// Package manage is what an administrator does with a gateway's configuration, its stores and its
// state, without a command line: the commands call it, and so can whatever else lets people
// administrate. It prints nothing.
package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/plugins/host"
)

// ArgumentError says which argument is wrong.
type ArgumentError struct {
	Name string
	Err  error
}

// Error implements error.
func (e *ArgumentError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap gives what is wrong with it.
func (e *ArgumentError) Unwrap() error { return e.Err }

// StoreNamed is a store of the configuration.
func StoreNamed(cfg *config.Config, name string) (config.Store, error) {
	at := slices.IndexFunc(cfg.Stores, func(s config.Store) bool { return s.Name == name })
	if at < 0 {
		return config.Store{}, fmt.Errorf("the configuration has no store %q", name)
	}
	return cfg.Stores[at], nil
}

// StoreOf finds the store that has a mailbox, by the domain of its address. A mailbox without a
// domain is in the only store.
func StoreOf(cfg *config.Config, mailbox string) (config.Store, error) {
	_, domain, _ := strings.Cut(mailbox, "@")
	if len(cfg.Stores) == 1 && domain == "" {
		return cfg.Stores[0], nil
	}
	at := slices.IndexFunc(cfg.Stores, func(s config.Store) bool {
		return slices.ContainsFunc(s.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	})
	if at < 0 {
		return config.Store{}, fmt.Errorf("no store has addresses like %q", mailbox)
	}
	return cfg.Stores[at], nil
}

// stopped is a store whose plugin is not started yet. Whoever gets it closes it.
type stopped struct {
	*host.Store
	done func() error
}

// Close closes the store, and then what it has had of the state.
func (s stopped) Close() error { return errors.Join(s.Store.Close(), s.done()) }

// prepare makes a store that is to be used as the gateway does.
func prepare(ctx context.Context, cfg *config.Config, s config.Store) (stopped, error) {
	spec, err := server.SpecOf(cfg, s)
	if err != nil {
		return stopped{}, err
	}
	done, err := withLogin(ctx, cfg, s, &spec)
	if err != nil {
		return stopped{}, err
	}
	store, err := server.NewStore(zerolog.Nop(), spec)
	if err != nil {
		return stopped{}, errors.Join(err, done())
	}
	return stopped{store, done}, nil
}

// withLogin gives a store the vault that has its login, where it keeps one. Others get tokens for themselves.
func withLogin(ctx context.Context, cfg *config.Config, s config.Store, spec *host.Spec) (done func() error, err error) {
	if !keepsLogin(s) {
		return func() error { return nil }, nil
	}
	v, done, err := server.OpenVault(ctx, cfg)
	if err != nil {
		return nil, err
	}
	spec.Settings.Vault = v.Of(vault.Store(s.Name))
	return done, nil
}
