package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
)

func newPolicy() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Tell what the policy of a mailbox is, and why",
		Args:  cobra.NoArgs,
		RunE:  action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newPolicyShow(&from))
	return cmd
}

func newPolicyShow(from *source) *cobra.Command {
	var store string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show MAILBOX",
		Short: "Tell each value of a mailbox's policy, and where it comes from",
		Long: `Tells the policy of a mailbox by its address: each value, the level that it is from (the mailbox,
its store, the gateway, or a default), and its place in the configuration file. The store is the
one whose domain the address is in, unless it is named. No store is asked: an address that is
another of an account's has the policy that stands under its primary one.

Statuses: 0 told, 1 no store has such addresses, 78 the configuration is wrong.`,
		Example: "  dipylon policy show --config dipylon.yaml ada@sakes.example",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if err := from.find(); err != nil {
				return err
			}
			cfg, err := from.load()
			if err != nil {
				return configError(cmd, err)
			}
			name, err := storeOfMailbox(cfg, store, args[0])
			if err != nil {
				return err
			}
			_, values := cfg.PolicyOf(name, args[0])
			values = append(values, cfg.PerAddress())
			if asJSON {
				return policyJSON(cmd, values)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, v := range values {
				fmt.Fprintf(table, "%s\t%v\t%s\t%s\n", v.Name, v.Value, v.Level, placeOf(v))
			}
			return table.Flush()
		}),
	}
	cmd.Flags().StringVar(&store, "store", "", "the mailbox's store")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func placeOf(v config.PolicyValue) string {
	if v.Position.Line == 0 {
		return "-"
	}
	return v.Position.String()
}

func policyJSON(cmd *cobra.Command, values []config.PolicyValue) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	for _, v := range values {
		err := encoder.Encode(struct {
			Name  string `json:"name"`
			Value string `json:"value"`
			Level string `json:"level"`
			File  string `json:"file,omitempty"`
			Line  int    `json:"line,omitempty"`
		}{v.Name, fmt.Sprint(v.Value), v.Level, v.Position.File, v.Position.Line})
		if err != nil {
			return err
		}
	}
	return nil
}

// storeOfMailbox finds the store that has a mailbox, by its name or the address's domain.
func storeOfMailbox(cfg *config.Config, named, mailbox string) (string, error) {
	if named != "" {
		store, err := manage.StoreNamed(cfg, named)
		return store.Name, err
	}
	store, err := manage.StoreOf(cfg, mailbox)
	if err != nil {
		return "", fmt.Errorf("%w; --store names one", err)
	}
	return store.Name, nil
}
