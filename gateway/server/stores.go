package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/plugins/host"
)

// stopMost is how long a plugin has to end before it is killed.
const stopMost = 10 * time.Second

// BuiltinCommand is the argv of a built-in backend: this program.
func BuiltinCommand(kind string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's file: %w", err)
	}
	return []string{self, "plugin", kind}, nil
}

// SpecOf says how a store's plugin is run.
func SpecOf(cfg *config.Config, s config.Store) (host.Spec, error) {
	command := s.Plugin.Command
	if s.Plugin.Builtin != "" {
		var err error
		if command, err = BuiltinCommand(s.Plugin.Builtin); err != nil {
			return host.Spec{}, err
		}
	}
	var env []string
	for name, value := range s.Plugin.Env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return host.Spec{
		Store: s.Name, Command: command, Dir: cfg.Dir(), SHA256: s.Plugin.SHA256, Env: env,
		Settings: backends.Settings{
			Store: s.Name, Hostname: cfg.Hostname, Domains: s.Domains,
			StateDir: filepath.Join(cfg.StateFolder, "stores", s.Name),
			Raw:      s.Settings.JSON, BaseDir: cfg.Dir(),
		},
		StartTimeout: cfg.Timeouts.PluginStart.Std(),
		CallTimeout:  cfg.Timeouts.PluginCall.Std(),
		StallTimeout: cfg.Timeouts.PluginStall.Std(),
		DrainTimeout: cfg.Timeouts.PluginDrain.Std(),
		StopTimeout:  stopMost,
	}, nil
}

// specOf is [SpecOf] with what the store keeps for all gateways.
func (g *Server) specOf(cfg *config.Config, s config.Store) (host.Spec, error) {
	spec, err := SpecOf(cfg, s)
	spec.Settings.Vault = g.vault.Of(vault.Store(s.Name))
	return spec, err
}

// StateOptions is how the state of a configuration is opened.
func StateOptions(log zerolog.Logger, cfg *config.Config) state.Options {
	return state.Options{Log: log, Folder: cfg.State.Folder, URL: cfg.State.URL}
}

// running is a store whose plugin runs, or is tried to.
type running struct {
	store *host.Store
	spec  host.Spec // what it runs under
}

// same says whether another spec would change nothing.
func (r *running) same(spec host.Spec) bool { return r != nil && reflect.DeepEqual(r.spec, spec) }

// NewStore makes a store whose plugin is not started yet, and its state folder. Whoever gets it
// closes it.
func NewStore(log zerolog.Logger, spec host.Spec) (*host.Store, error) {
	if err := state.MakeFolder(spec.Settings.StateDir); err != nil {
		return nil, fmt.Errorf("the state folder of store %q: %w", spec.Store, err)
	}
	return host.New(log, spec), nil
}

// prepare is [NewStore] for a store that is to run.
func (g *Server) prepare(spec host.Spec) (*running, error) {
	store, err := NewStore(g.log, spec)
	if err != nil {
		return nil, err
	}
	return &running{store: store, spec: spec}, nil
}

// follow passes a store's hints on to those who remember things of it, until the store is closed.
func (g *Server) follow(name string, r *running) {
	g.work.Go(func() {
		r.store.Follow(g.base, func(h backends.Hint) { g.authenticator.Changed(name, h) })
	})
}

// startPatience is how long the first start waits for stores. Who needs longer is not ready
// when the listeners are, and its users are told to try again later.
const startPatience = 15 * time.Second

// startStores starts all stores at the same time. The error is for settings that are wrong: a
// [*config.Error]. Anything else keeps being tried.
func (g *Server) startStores(ctx context.Context, cfg *config.Config) error {
	type outcome struct {
		store string
		err   error
	}
	outcomes := make(chan outcome, len(cfg.Stores))
	for _, s := range cfg.Stores {
		spec, err := g.specOf(cfg, s)
		if err != nil {
			return err
		}
		r, err := g.prepare(spec)
		if err != nil {
			return err
		}
		g.stores[s.Name] = r
		g.follow(s.Name, r)
		g.work.Go(func() { outcomes <- outcome{s.Name, r.store.Start(g.alive)} })
	}
	patience := time.NewTimer(startPatience)
	defer patience.Stop()
	var errs []error
	for range cfg.Stores {
		select {
		case o := <-outcomes:
			errs = append(errs, SettingsError(cfg, o.store, o.err))
		case <-patience.C:
			g.log.Warn().Msg("a store is not ready yet: going on without it")
			return onlyConfig(JoinProblems(errs))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return onlyConfig(JoinProblems(errs))
}

// onlyConfig drops errors that are no fault of the configuration; package host has logged them.
func onlyConfig(err error) error {
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		return wrong
	}
	return nil
}

// table makes the routing table of a configuration.
func (g *Server) table(cfg *config.Config, plugins map[string]*running) (*stores.Table, error) {
	var all []stores.Source
	for _, s := range cfg.Stores {
		plugin := plugins[s.Name].store
		all = append(all, stores.Config{
			Name: s.Name, Domains: s.Domains, Default: s.Default, Sends: s.Sends,
			Passwords: stores.PasswordPolicy(s.Passwords), SendAs: s.SendAs,
		}.In(stores.Plugin{Backend: plugin, Description: plugin.Description, Settings: s.Settings.JSON}, stores.Traced(g.log), g.calls.Middleware))
	}
	return stores.NewTable(all...)
}

// warn logs what is in the configuration and will not work, or not well.
func (g *Server) warn(cfg *config.Config) {
	warnings := slices.Concat(FileWarnings(cfg), CertificateWarnings(cfg, time.Now()), ListenerWarnings(cfg), RouteWarnings(cfg), TransferWarnings(cfg), CollectWarnings(cfg))
	for i, s := range cfg.Stores {
		if status := g.stores[s.Name].store.Status(); status.Ready {
			warnings = append(warnings, StoreWarnings(cfg, i, status.Description)...)
			warnings = append(warnings, policyProblems(cfg, s, status.Description)...) // no start is refused for those
		}
	}
	logWarnings(g.log, warnings)
	if cfg.TLS.SelfSigned() && cfg.Name() != config.DefaultName {
		g.log.Warn().Str("certificate", SelfSignedFiles(cfg.StateFolder).Certificate).
			Msg("the configuration names no certificate: clients meet a self-signed one")
	}
}

// tellCalls writes what became of the calls to a store that is given up.
func (g *Server) tellCalls(store string) {
	for _, c := range g.calls.Of(store) {
		g.log.Info().Str(events.Store, store).Str("call", c.Call).Int64("calls", c.Calls).Int64("refused", c.Refused).
			Int64("failed", c.Failed).Dur("mean_ms", c.Took/time.Duration(max(1, c.Calls))).Dur("longest_ms", c.Longest).Msg("calls to a store")
	}
}

// closeStores ends all plugins.
func (g *Server) closeStores() {
	var closing sync.WaitGroup
	for name, r := range g.stores {
		g.tellCalls(name)
		closing.Go(func() {
			if err := r.store.Close(); err != nil {
				g.log.Warn().Err(err).Str("store", name).Msg("the store did not close in good order")
			}
		})
	}
	closing.Wait()
}
