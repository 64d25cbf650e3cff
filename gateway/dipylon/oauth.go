package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	backend "github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newOAuth() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "oauth",
		Short: "Log in at providers that take OAuth tokens",
		Args:  cobra.NoArgs,
		RunE:  action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newOAuthLogin(&from))
	return cmd
}

func newOAuthLogin(from *source) *cobra.Command {
	var given bool
	cmd := &cobra.Command{
		Use:   "login NAME",
		Short: "Have somebody allow the gateway to act for them at the provider of a store or a route",
		Long: `Shows an address and a code (RFC 8628). Whoever opens the address, enters the code and consents lets the
gateway act as them, for the store, or the route, of that name, with "grant: refresh_token" in its oauth settings. The
refresh token that comes of it is kept encrypted (seal_key) in its part of the state folder, where the running
gateway finds it at once. Of several gateways each has a login of its own: run it on each.

With --refresh-token a refresh token that was got elsewhere is the first line of the input. It is tried before it is
kept.

Statuses: 0 logged in, 1 not, 75 the provider is not to be had now, 78 the configuration is wrong.`,
		Example: "  dipylon oauth login --config dipylon.yaml m365",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if err := from.find(); err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return configError(cmd, err)
			}
			source, err := loginSource(cfg, args[0])
			if err != nil {
				return err
			}
			defer source.Close()
			if given {
				err = keepLogin(cmd, source)
			} else {
				err = source.Login(cmd.Context(), func(p oauth.Prompt) { showPrompt(cmd.OutOrStdout(), p) })
			}
			if err != nil {
				return loginFailed(err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "Logged in.")
			return nil
		}),
	}
	cmd.Flags().BoolVar(&given, "refresh-token", false, "take the first line of the input as the refresh token")
	return cmd
}

// loginSource is what the tokens of a store, or of a route, come from.
func loginSource(cfg *config.Config, name string) (*oauth.Source, error) {
	for _, r := range cfg.Routes {
		if r.Name == name && r.OAuth != nil {
			return withVault(cfg.OAuthOf(r), cfg.RouteFolder(name), name)
		}
	}
	store, err := manage.StoreNamed(cfg, name)
	if err != nil {
		return nil, err
	}
	spec, err := server.SpecOf(cfg, store)
	if err != nil {
		return nil, err
	}
	var settings struct {
		OAuth backend.OAuth `json:"oauth"`
	}
	if err := json.Unmarshal(store.Settings.JSON, &settings); err != nil || !settings.OAuth.Given() {
		return nil, withCode(exitConfig, fmt.Errorf("the store %q has no oauth in its settings", name))
	}
	var wrong backends.SettingsError
	c := settings.OAuth.Config(&wrong, "oauth", spec.Settings)
	if err := wrong.Err(); err != nil {
		return nil, withCode(exitConfig, err)
	}
	return withVault(c, spec.Settings.StateDir, name)
}

// withVault is what tokens come from where somebody logs in, with the folder for what is kept of it.
func withVault(c oauth.Config, folder, name string) (*oauth.Source, error) {
	if c.Grant != oauth.RefreshToken {
		return nil, withCode(exitConfig, fmt.Errorf("%q needs no login: its oauth settings have no \"grant: refresh_token\"", name))
	}
	if err := state.MakeFolder(folder); err != nil {
		return nil, err
	}
	return oauth.New(c)
}

// showPrompt says what somebody has to do.
func showPrompt(out io.Writer, p oauth.Prompt) {
	fmt.Fprintf(out, "Open %s and enter the code %s", forTerminal(p.Address), forTerminal(p.Code))
	if !p.Until.IsZero() {
		fmt.Fprintf(out, " within %d minutes", max(1, int(time.Until(p.Until).Round(time.Minute)/time.Minute)))
	}
	fmt.Fprintln(out, ".")
}

// refreshMost bounds a refresh token, in octets.
const refreshMost = 32 << 10

// keepLogin takes a refresh token from the input.
func keepLogin(cmd *cobra.Command, source *oauth.Source) error {
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), refreshMost)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the refresh token: %w", err)
	}
	token := strings.TrimSpace(line)
	if token == "" {
		return errors.New("the input has no refresh token")
	}
	return source.KeepLogin(cmd.Context(), token)
}

// loginFailed makes the exit status of a failure.
func loginFailed(err error) error {
	if wrong, is := errors.AsType[*oauth.Error](err); is && wrong.Passes() {
		return withCode(exitTemporary, err)
	}
	return err
}
