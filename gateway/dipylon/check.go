package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
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
this user may not open, secrets in a file that every user of the machine can read, stores that are to do what their backends cannot, routes that no mail takes,
and routes that let none out.

With --connect the state database is opened as the gateway would open it, but for changes, and each
store is started with its settings and asked whether it can be used; a store's backend may make its
folders then. Names of routes' hosts are looked up.`,
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
		if !c.offline {
			err = manage.CheckReadable(cmd.Context(), err)
		}
		return configError(cmd, err)
	}
	warnings, err := manage.Check(cmd.Context(), cfg, c.asking())
	tellWarnings(cmd, warnings)
	if err != nil {
		return storeProblems(cmd, err)
	}
	if c.connect {
		if err := manage.PingState(cmd.Context(), cfg); err != nil {
			return stateError(err)
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

func (c *checking) asking() manage.Asking {
	switch {
	case c.offline:
		return manage.AskNobody
	case c.connect:
		return manage.AskStores
	}
	return manage.AskBackends
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
