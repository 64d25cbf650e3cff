package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	backend "github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/vault"
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
	cmd.AddCommand(newOAuthLogin(&from), newOAuthForget(&from))
	return cmd
}

func newOAuthLogin(from *source) *cobra.Command {
	var given bool
	cmd := &cobra.Command{
		Use:   "login [store:|route:|collect:]NAME",
		Short: "Have somebody allow the gateway to act for them at the provider of a store, a route or an account that is collected",
		Long: `Shows an address and a code (RFC 8628). Whoever opens the address, enters the code and consents lets the
gateway act as them, for the store, the route or the account of collect of that name, with "grant: refresh_token" in its
oauth settings; where there are several of that name, store:NAME, route:NAME or collect:NAME says which. The refresh token
that comes of it is kept encrypted (seal_key) in the state, where the running gateway finds it at once, and so do all
gateways on the same PostgreSQL database. They give each other the next one where the provider makes the old one void.

With --refresh-token a refresh token that was got elsewhere is the first line of the input. It is tried before it is
kept.

Statuses: 0 logged in, 1 not, 75 the provider is not to be had now, 78 the configuration is wrong.`,
		Example: `  dipylon oauth login --config dipylon.yaml m365
  dipylon oauth login --config dipylon.yaml collect:old-mailbox`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if err := from.find(); err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return configError(cmd, err)
			}
			kind, name := kindAndName(args[0])
			source, done, err := loginSource(cmd.Context(), cfg, kind, name)
			if err != nil {
				return err
			}
			defer done() //nolint:errcheck // what was put is on the disk
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

// kindAndName takes apart what a login is of.
func kindAndName(text string) (kind, name string) {
	for _, kind := range []string{"store", "route", "collect"} {
		if name, is := strings.CutPrefix(text, kind+":"); is {
			return kind, name
		}
	}
	return "", text
}

// loginSource is what the tokens of a store, a route or an account that is collected come from. done closes what it keeps them in.
func loginSource(ctx context.Context, cfg *config.Config, kind, name string) (source *oauth.Source, done func() error, err error) {
	found, err := loginsNamed(cfg, kind, name)
	if err != nil {
		return nil, nil, err
	}
	c, err := found.settings()
	if err != nil {
		return nil, nil, err
	}
	if c.Grant != oauth.RefreshToken {
		return nil, nil, withCode(exitConfig, fmt.Errorf("%q needs no login: its oauth settings have no \"grant: refresh_token\"", name))
	}
	v, done, err := server.OpenVault(ctx, cfg)
	if err != nil {
		return nil, nil, stateError(err)
	}
	c.Vault.Shared = v.Of(found.owner)
	if source, err = oauth.New(c); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return source, done, nil
}

// keptLogin is what a login may be of.
type keptLogin struct {
	kind, owner string // "store", and whose part of the vault it is in
	settings    func() (oauth.Config, error)
}

// loginsNamed finds what has a name and tokens, of a kind or of any. Where there are several somebody has to say which.
func loginsNamed(cfg *config.Config, kind, name string) (found keptLogin, err error) {
	var all []keptLogin
	for _, r := range cfg.Routes {
		if r.Name == name && r.OAuth != nil {
			all = append(all, keptLogin{"route", vault.Route(name), func() (oauth.Config, error) { return cfg.OAuthOf(r), nil }})
		}
	}
	for _, a := range cfg.Collect {
		if a.Name == name && a.OAuth != nil {
			all = append(all, keptLogin{"collect", vault.Collect(name), func() (oauth.Config, error) { return collectedLogin(cfg, a) }})
		}
	}
	if s, err := manage.StoreNamed(cfg, name); err == nil && (len(all) == 0 || kind == "store" || hasOAuth(s.Settings.JSON)) {
		all = append(all, keptLogin{"store", vault.Store(name), func() (oauth.Config, error) {
			spec, err := server.SpecOf(cfg, s)
			if err != nil {
				return oauth.Config{}, err
			}
			return pluginLogin(fmt.Sprintf("the store %q", name), spec.Settings)
		}})
	}
	all = slices.DeleteFunc(all, func(l keptLogin) bool { return kind != "" && l.kind != kind })
	switch {
	case len(all) == 0 && kind != "":
		return found, fmt.Errorf("the configuration has no %s %q with oauth", kind, name)
	case len(all) == 0:
		return found, fmt.Errorf("the configuration has no store %q, and no route and no account of collect with oauth of that name", name)
	case len(all) > 1:
		return found, withCode(exitUsage, fmt.Errorf("the name %q is that of a %s and of a %s: say %s:%s, say", name, all[0].kind, all[1].kind, all[0].kind, name))
	}
	return all[0], nil
}

// collectedLogin is how an account's tokens are got: by the gateway, or by the IMAP backend that it is given to.
func collectedLogin(cfg *config.Config, a config.Collect) (oauth.Config, error) {
	if a.Protocol != "imap" {
		return cfg.CollectOAuth(a), nil
	}
	spec, err := server.CollectSpec(cfg, a)
	if err != nil {
		return oauth.Config{}, err
	}
	return pluginLogin(fmt.Sprintf("the account %q", a.Name), spec.Settings)
}

// pluginOAuth is the part of a backend's settings that says how it gets tokens.
type pluginOAuth struct {
	OAuth backend.OAuth `json:"oauth"`
}

func hasOAuth(settings []byte) bool {
	var o pluginOAuth
	return json.Unmarshal(settings, &o) == nil && o.OAuth.Given()
}

// pluginLogin is how a built-in backend gets its tokens.
func pluginLogin(whose string, s backends.Settings) (oauth.Config, error) {
	if !hasOAuth(s.Raw) {
		return oauth.Config{}, withCode(exitConfig, fmt.Errorf("%s has no oauth in its settings", whose))
	}
	var settings pluginOAuth
	if err := json.Unmarshal(s.Raw, &settings); err != nil {
		return oauth.Config{}, withCode(exitConfig, fmt.Errorf("the settings of %s cannot be read", whose))
	}
	var wrong backends.SettingsError
	c := settings.OAuth.Config(&wrong, "oauth", s)
	if err := wrong.Err(); err != nil {
		return oauth.Config{}, withCode(exitConfig, err)
	}
	return c, nil
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
