package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/vault"
)

func newOAuthForget(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "forget [store:|route:|collect:]NAME",
		Short: "Remove the login of a store, a route or an account that is collected from the state",
		Long: `Removes what the state keeps of the store, the route or the account of collect of that name: its login (the refresh
token), and the tokens that came of it. It need not be in the configuration any more; "dipylon status" names those that are not. Where
there are several of that name, store:NAME, route:NAME or collect:NAME says which.

The provider is not told: take the consent back there, too. A gateway that runs with the login uses the access token that it
has until that ends, mostly after an hour.

Statuses: 0 removed, 1 there was nothing, 2 there are several of that name, 75 the state is not to be had now, 78 the configuration is wrong.`,
		Example: `  dipylon oauth forget --config dipylon.yaml m365
  dipylon oauth forget --config dipylon.yaml route:provider`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if err := from.find(); err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return configError(cmd, err)
			}
			v, done, err := server.OpenVault(cmd.Context(), cfg)
			if err != nil {
				return stateError(err)
			}
			defer done() //nolint:errcheck // what was removed is
			kind, name := kindAndName(args[0])
			whose, err := forgetLogin(cmd.Context(), cfg, v, kind, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The login of the %s is removed. The provider is not told: take the consent back there, too.\n", forTerminal(whose))
			return nil
		}),
	}
}

// forgotten is what a login may be of: whose part of the vault it is in, and where an earlier version has left it.
type forgotten struct {
	kind, owner string
	files       []string
}

// loginsOf are what of a name may have a login, in the configuration or not.
func loginsOf(cfg *config.Config, name string) []forgotten {
	collect := cfg.CollectFolder(name)
	return []forgotten{
		{"store", vault.Store(name), []string{oauth.VaultIn(filepath.Join(cfg.StateFolder, "stores", name))}},
		{"route", vault.Route(name), []string{oauth.VaultIn(cfg.RouteFolder(name))}},
		{"collect", vault.Collect(name), []string{oauth.VaultIn(collect), oauth.VaultIn(filepath.Join(collect, "imap"))}},
	}
}

// forgetLogin removes the login of a name, and says whose it was.
func forgetLogin(ctx context.Context, cfg *config.Config, v *vault.Vault, kind, name string) (owner string, err error) {
	if filepath.Base(name) != name || name == ".." || name == "." { // it becomes part of a path
		return "", withCode(exitUsage, fmt.Errorf("%q is no name of a store, a route or an account", name))
	}
	var all []forgotten
	for _, f := range loginsOf(cfg, name) {
		if kind != "" && f.kind != kind {
			continue
		}
		kept, err := v.Keeps(ctx, f.owner)
		if err != nil {
			return "", stateError(err)
		}
		if kept || slices.ContainsFunc(f.files, func(file string) bool { _, err := os.Stat(file); return err == nil }) {
			all = append(all, f)
		}
	}
	switch {
	case len(all) == 0 && kind != "":
		return "", fmt.Errorf("the state keeps no login of a %s %q", kind, name)
	case len(all) == 0:
		return "", fmt.Errorf("the state keeps no login of a store, a route or an account of collect %q", name)
	case len(all) > 1:
		return "", withCode(exitUsage, fmt.Errorf("a %s and a %s of the name %q have logins: say %s:%s, say", all[0].kind, all[1].kind, name, all[0].kind, name))
	}
	for _, file := range all[0].files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if _, err := v.Forget(ctx, all[0].owner); err != nil {
		return "", stateError(err)
	}
	return all[0].owner, nil
}
