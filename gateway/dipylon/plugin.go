package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/plugins/serve"
)

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Built-in backends, and the test for anybody's backend",
		Long: `A backend runs in a process of its own, which the gateway starts. For a built-in backend
that is "dipylon plugin KIND"; by hand it does nothing but say so.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	for _, b := range builtins() {
		cmd.AddCommand(&cobra.Command{
			Use:    b.kind,
			Short:  "The built-in backend for " + b.short,
			Args:   cobra.NoArgs,
			Hidden: true, // it is for the gateway to call
			Run: func(cmd *cobra.Command, _ []string) {
				go rest(cmd.Context()) // until the process ends, as Store does
				serve.Store(b.new(serve.Logger()))
			},
		})
	}
	cmd.AddCommand(newPluginList(), newPluginTest(), newPluginSettings())
	return cmd
}

func newPluginList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the built-in backends",
		Example: "  dipylon plugin list",
		Args:    cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			for _, b := range builtins() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n", b.kind, b.short)
			}
			return nil
		}),
	}
}
