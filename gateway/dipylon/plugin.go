package main

import (
	"fmt"
	"os"
	"runtime"

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
				keepPace()
				go rest(cmd.Context()) // until the process ends, as Store does
				store := b.new(serve.Logger())
				if b.disk {
					waitForDisk()
				}
				serve.Store(store)
			},
		})
	}
	cmd.AddCommand(newPluginList(), newPluginTest(), newPluginSettings())
	return cmd
}

// waitForDisk lets more goroutines run at once than there are processors. Each that waits for the disk counts as one
// that runs, until Go's monitor sees after some time that it does not: with as many syncs under way as there are
// processors all else would stand still meanwhile.
func waitForDisk() {
	if os.Getenv("GOMAXPROCS") == "" { // whoever has set it knows better
		runtime.GOMAXPROCS(max(4, 2*runtime.GOMAXPROCS(0)))
	}
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
