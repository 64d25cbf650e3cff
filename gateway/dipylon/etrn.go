package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/asking"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newETRN() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "etrn",
		Short: "Ask servers elsewhere for the mail that they keep",
		Long: `The servers of "etrn" in the configuration keep mail for this gateway until they are asked for it (ETRN, RFC 1985). The running
gateway asks them by their schedules. The mail comes by their own connections.`,
		Example: `  dipylon etrn status --config dipylon.yaml
  dipylon etrn run --config dipylon.yaml provider`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newETRNRun(&from), newETRNStatus(&from))
	return cmd
}

// errNoServers says that there is nobody to ask.
var errNoServers = withCode(exitUsage, errors.New("the configuration has no servers to ask: etrn has them"))

// serversOf are the servers of a configuration with these names; none: all.
func serversOf(cfg *config.Config, names []string) (all []config.ETRN, err error) {
	if len(cfg.ETRN) == 0 {
		return nil, errNoServers
	}
	for _, name := range names {
		if !slices.ContainsFunc(cfg.ETRN, func(e config.ETRN) bool { return e.Name == name }) {
			return nil, withCode(exitUsage, fmt.Errorf("the configuration has no server %q to ask: dipylon etrn status has them", name))
		}
	}
	return slices.DeleteFunc(slices.Clone(cfg.ETRN), func(e config.ETRN) bool { return len(names) > 0 && !slices.Contains(names, e.Name) }), nil
}

// askedLine is what a server has said of one node.
type askedLine struct {
	Server string `json:"server"`
	Node   string `json:"node,omitempty"` // none: the server was not reached
	OK     bool   `json:"ok"`
	Said   string `json:"said"`
}

func newETRNRun(from *source) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "run [SERVER...]",
		Short: "Ask servers now",
		Long: `Asks servers, or all of them, now, whether a gateway runs or not, and says what they answer: for a script that runs when a line
has come up.

Statuses: 0 all have started what they have, 1 one has not, 2 there is no such server, 78 the configuration is wrong.`,
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				servers, err := serversOf(cfg, args)
				if err != nil {
					return err
				}
				var lines []askedLine
				for _, e := range servers {
					lines = append(lines, askServer(ctx, cfg, e)...)
				}
				if err := printAsked(cmd, lines, asJSON); err != nil {
					return err
				}
				if slices.ContainsFunc(lines, func(l askedLine) bool { return !l.OK }) {
					return withCode(exitFailure, errTold)
				}
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// askServer asks one server.
func askServer(ctx context.Context, cfg *config.Config, e config.ETRN) (lines []askedLine) {
	s, err := server.Asked(cfg, e)
	var answers []asking.Answer
	if err == nil {
		answers, err = asking.Ask(ctx, s)
	}
	for _, a := range answers {
		l := askedLine{Server: e.Name, Node: a.Node, OK: a.Err == nil, Said: strings.TrimPrefix(a.Said, "smtp; ")}
		if l.Said == "" && a.Err != nil {
			l.Said = a.Err.Error()
		}
		lines = append(lines, l)
	}
	if err != nil && len(answers) == 0 {
		lines = append(lines, askedLine{Server: e.Name, Said: err.Error()})
	}
	return lines
}

func printAsked(cmd *cobra.Command, lines []askedLine, asJSON bool) error {
	if asJSON {
		return jsonLines[askedLine](cmd.OutOrStdout())(lines)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVER\tNODE\tSTARTED\tANSWER")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", l.Server, cmp.Or(l.Node, "-"), map[bool]string{true: "yes", false: "no"}[l.OK], some(printable(l.Said), "-"))
	}
	return table.Flush()
}

// askedStatus is a server as it is configured, and what is known of it.
type askedStatus struct {
	Server   string    `json:"server"`
	Host     string    `json:"host"`
	For      []string  `json:"for"`
	When     string    `json:"when"`
	Asked    time.Time `json:"asked,omitzero"`
	Well     time.Time `json:"well,omitzero"`
	Failures int       `json:"failures"`
	Reason   string    `json:"reason,omitempty"`
}

func newETRNStatus(from *source) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say when servers were asked, and what is wrong with them",
		Long: `Says of each server of the configuration when the gateways of its state have asked it last, and when that went well. What
"dipylon etrn run" asks is not among it.

Statuses: 0 all are well, 1 one fails, 2 there are none, 75 the state cannot be read now, 78 the configuration is wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
				all, err := askedStatuses(ctx, cfg, o)
				if err != nil {
					return err
				}
				if asJSON {
					for _, s := range all {
						if err := json.NewEncoder(cmd.OutOrStdout()).Encode(s); err != nil {
							return err
						}
					}
				} else if err := printAskedStatuses(cmd, all); err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(s askedStatus) bool { return s.Failures > 0 }) {
					return withCode(exitFailure, errTold)
				}
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func askedStatuses(ctx context.Context, cfg *config.Config, o state.Options) (all []askedStatus, err error) {
	servers, err := serversOf(cfg, nil)
	if err != nil {
		return nil, err
	}
	db, err := state.Open(ctx, o)
	if err != nil {
		return nil, stateError(err)
	}
	defer db.Close() //nolint:errcheck // it was read
	for _, e := range servers {
		known, err := asking.Statuses(ctx, db, []string{e.Name})
		if err != nil {
			return nil, withCode(exitTemporary, err)
		}
		s := known[0]
		told := askedStatus{Server: e.Name, Host: e.Host, For: e.For, When: "every " + e.Every.String(), Asked: s.Asked, Well: s.Well, Failures: s.Failures, Reason: s.Reason}
		if e.Cron != "" {
			told.When = strings.TrimSpace(e.Cron + " " + e.TimeZone)
		}
		all = append(all, told)
	}
	return all, nil
}

func printAskedStatuses(cmd *cobra.Command, all []askedStatus) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVER\tHOST\tFOR\tWHEN\tASKED\tLAST WELL\tFAILURES\tREASON")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Server, s.Host, strings.Join(s.For, " "), s.When, timeText(s.Asked), timeText(s.Well), s.Failures, some(printable(s.Reason), "-"))
	}
	return table.Flush()
}
