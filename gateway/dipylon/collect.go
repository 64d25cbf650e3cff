package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/state"
)

func newCollect() *cobra.Command {
	var from queueSource
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "List, run and watch the accounts elsewhere whose mail is fetched",
		Long: `The accounts of "collect" in the configuration are mailboxes on POP3 and IMAP servers elsewhere, whose mail the running
gateway fetches into mailboxes here.

The gateway is asked through the socket in its state folder, that of another machine through its admin listener
(--server), if that has a token.`,
		Example: `  dipylon collect list --config dipylon.yaml
  dipylon collect status --config dipylon.yaml office
  dipylon collect run --config dipylon.yaml office --wait`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	from.there.flags(cmd.PersistentFlags())
	cmd.AddCommand(newCollectList(&from), newCollectStatus(&from), newCollectRun(&from))
	return cmd
}

// withCollector asks the gateway that collects.
func withCollector(cmd *cobra.Command, from *queueSource, f func(context.Context, collect.Client) error) error {
	if from.there.named() {
		return from.there.with(cmd, &from.source, func(ctx context.Context, c *admin.Client) error {
			return collectError(f(ctx, collect.Client{Admin: c}))
		})
	}
	return withConfig(cmd, &from.source, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
		return collectError(manage.WithCollector(ctx, cfg, f))
	})
}

// collectError gives what a gateway says its exit status.
func collectError(err error) error {
	if coded := (*codedError)(nil); err == nil || errors.As(err, &coded) {
		return err
	}
	if errors.Is(err, collect.ErrUnknown) {
		return withCode(exitUsage, errors.New("the gateway has no such account: dipylon collect list has those of the configuration, and a reload puts them to use"))
	}
	return askError(err)
}

// listed is an account as it is configured.
type listed struct {
	Account  string `json:"account"`
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	User     string `json:"user"`
	To       string `json:"to"`
	When     string `json:"when"`
	Leave    string `json:"leave"`
}

func newCollectList(from *queueSource) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts of the configuration",
		Long: `Lists the accounts of the configuration: where they are, whose mail goes where, and when.

Statuses: 0 listed (perhaps none), 78 the configuration is wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withConfig(cmd, &from.source, func(_ context.Context, cfg *config.Config, _ state.Options) error {
				all := make([]listed, len(cfg.Collect))
				for i, a := range cfg.Collect {
					all[i] = listedOf(a)
				}
				if asJSON {
					return jsonLines[listed](cmd.OutOrStdout())(all)
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "ACCOUNT\tPROTOCOL\tHOST\tUSER\tTO\tWHEN\tLEAVE")
				for _, a := range all {
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Account, a.Protocol, a.Host, printable(a.User), a.To, a.When, a.Leave)
				}
				return table.Flush()
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func listedOf(a config.Collect) listed {
	l := listed{Account: a.Name, Protocol: a.Protocol, Host: a.Host, User: a.User, To: a.To, When: "every " + a.Every.String(), Leave: some(a.Leave, "no")}
	if a.CatchAll {
		l.To = "by " + strings.Join(a.Headers, ", ") + "; else " + a.Fallback
	}
	if a.Cron != "" {
		l.When = strings.TrimSpace(a.Cron + " " + a.TimeZone)
	}
	return l
}

func newCollectStatus(from *queueSource) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [ACCOUNT]",
		Short: "Say how far the accounts are, and what is wrong with them",
		Long: `Says of each account, or of one, when it was collected, what came of it, how far a run under way is, and when it is
collected next. Of one account the messages that are set aside are listed, too.

Statuses: 0 all accounts are well, 1 one fails or has messages set aside, 2 there is no such account, 75 no gateway answers,
78 the configuration is wrong.`,
		Args: cobra.MaximumNArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withCollector(cmd, from, func(ctx context.Context, c collect.Client) error {
				all, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if len(args) == 1 {
					if all = slices.DeleteFunc(all, func(s collect.Status) bool { return s.Account != args[0] }); len(all) == 0 {
						return collect.ErrUnknown
					}
				}
				if err := printCollected(ctx, cmd.OutOrStdout(), c, all, len(args) == 1, asJSON); err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(s collect.Status) bool { return s.Failures > 0 || s.Aside > 0 }) {
					return withCode(1, errTold)
				}
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// detailed is an account with the messages that are set aside.
type detailed struct {
	collect.Status
	SetAside []collect.SetAside `json:"set_aside,omitempty"`
}

// printCollected prints accounts, and of a single one its messages.
func printCollected(ctx context.Context, w io.Writer, c collect.Client, all []collect.Status, single, asJSON bool) error {
	var aside []collect.SetAside
	var err error
	if single {
		if aside, err = c.Aside(ctx, all[0].Account); err != nil {
			return err
		}
	}
	if asJSON {
		for _, s := range all {
			if err := json.NewEncoder(w).Encode(detailed{s, aside}); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ACCOUNT\tSTATE\tLAST WELL\tNEXT\tDELIVERED\tFALL-BACK\tASIDE\tTO READ\tREASON")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.Account, accountState(s), timeText(s.Well), timeText(s.Next),
			s.Total.Delivered, s.Total.Fallback, s.Aside, s.ToRead, some(printable(s.Reason), "-"))
	}
	if len(aside) > 0 {
		fmt.Fprintln(table, "\nMESSAGE\tOCTETS\tSINCE\tTRIES\tAGAIN\tREASON")
		for _, m := range aside {
			fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%s\t%s\n", printable(m.ID), m.Size, timeText(m.First), m.Tries, timeText(m.Again), printable(m.Reason))
		}
	}
	return table.Flush()
}

// accountState is an account's state in a word or two.
func accountState(s collect.Status) string {
	switch {
	case s.Running:
		return fmt.Sprintf("running (%d read)", s.Last.Read)
	case s.Blocked:
		return "blocked: " + s.Kind
	case s.Failures > 0:
		return fmt.Sprintf("failed (%s, %d times)", s.Kind, s.Failures)
	case s.Ended == 0:
		return "new"
	}
	return "well"
}

func newCollectRun(from *queueSource) *cobra.Command {
	var wait, asJSON bool
	cmd := &cobra.Command{
		Use:   "run [ACCOUNT...]",
		Short: "Collect accounts now",
		Long: `Has accounts, or all of them, collected now, whatever their schedule says, and also where they are left alone after
failures or because their password was refused. Messages that are set aside are tried, too.

Statuses: 0 begun, or with --wait ended well; 1 with --wait: one has failed; 2 there is no such account; 75 no gateway
answers; 78 the configuration is wrong.`,
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withCollector(cmd, from, func(ctx context.Context, c collect.Client) error {
				started, err := c.Run(ctx, args)
				if err != nil {
					return err
				}
				if !wait {
					cmd.PrintErrf("accounts that are collected now: %d\n", len(started.Until))
					return nil
				}
				all, err := await(ctx, c, started)
				if err != nil {
					return err
				}
				if err := printCollected(ctx, cmd.OutOrStdout(), c, all, false, asJSON); err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(s collect.Status) bool { return s.Failures > 0 }) {
					return withCode(1, errTold)
				}
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until they have ended, and say what came of them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --wait: print JSON, an object a line")
	return cmd
}

// askEvery is how often a gateway is asked whether runs have ended.
const askEvery = 200 * time.Millisecond

// await waits until runs have ended, and gives the accounts.
func await(ctx context.Context, c collect.Client, started collect.Started) ([]collect.Status, error) {
	for {
		all, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(s collect.Status) bool { return started.Until[s.Account] == 0 })
		if !slices.ContainsFunc(all, func(s collect.Status) bool { return s.Running || s.Ended < started.Until[s.Account] }) {
			return all, nil
		}
		if !pause.For(ctx, askEvery) {
			return nil, ctx.Err()
		}
	}
}
