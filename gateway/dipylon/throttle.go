package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newThrottle() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "throttle",
		Short: "List and reset the counts of failed logins",
		Long: `Who guesses passwords waits. Failed logins are counted for networks (an IPv4 /24, an IPv6 /64),
for accounts from wherever, and for the pair of an account and an address that it has logged in
from: such a known pair waits for its own failures alone. Beyond some free failures, attempts are
made one after another with a growing delay between them, and who would have to wait for too long
is refused. Counts decay by themselves; login.throttle in the configuration has the numbers.

The gateway may be running; it knows of a reset within a few seconds, and so do all nodes that
share the state.`,
		Example: `  dipylon throttle list --config dipylon.yaml
  dipylon throttle reset --config dipylon.yaml anna@sakes.example
  dipylon throttle reset --config dipylon.yaml 192.0.2.7
  dipylon throttle reset --config dipylon.yaml --all`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newThrottleList(&from), newThrottleReset(&from))
	return cmd
}

// withCounts does something with the counts in the configuration's state.
func withCounts(cmd *cobra.Command, from *source, f func(context.Context, *state.DB, login.ThrottleLimits, []login.Count) error) error {
	return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		limits := server.ThrottleLimits(cfg)
		counts, err := login.Counts(ctx, db, limits)
		if err == nil {
			err = f(ctx, db, limits, counts)
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return withCode(exitTemporary, err)
		}
		return nil
	})
}

// countLeast: what is less has decayed.
const countLeast = 0.1

func newThrottleList(from *source) *cobra.Command {
	var known, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the counts of failed logins, the last changed first",
		Long: `Lists what is counted for networks, accounts and known pairs of both: the failures as of now, and
the delay from one attempt to the next that follows from them.

Statuses: 0 listed (perhaps none), 75 the state cannot be reached now, 78 the configuration is
wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withCounts(cmd, from, func(_ context.Context, _ *state.DB, limits login.ThrottleLimits, counts []login.Count) error {
				var told []countLine
				for _, c := range counts {
					if c.Failures >= countLeast || known && c.Known {
						told = append(told, lineOf(c, limits))
					}
				}
				if asJSON {
					encoder := json.NewEncoder(cmd.OutOrStdout())
					for _, line := range told {
						if err := encoder.Encode(line); err != nil {
							return err
						}
					}
					return nil
				}
				return tellCounts(cmd.OutOrStdout(), told)
			})
		}),
	}
	cmd.Flags().BoolVar(&known, "known", false, "list known pairs without failures, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// countLine is a count for people and programs.
type countLine struct {
	For      string    `json:"for"` // network, account, pair
	Network  string    `json:"network,omitempty"`
	Address  string    `json:"address,omitempty"`
	Account  string    `json:"account,omitempty"`
	Failures float64   `json:"failures"`
	DelayMS  int64     `json:"delay_ms"`
	Known    bool      `json:"known,omitempty"`
	Changed  time.Time `json:"changed"`
}

func lineOf(c login.Count, limits login.ThrottleLimits) countLine {
	line := countLine{
		For: "account", Network: c.Network, Address: c.Address, Account: c.Account, Failures: c.Failures,
		DelayMS: limits.Delay(c.Failures).Milliseconds(), Known: c.Known, Changed: c.Changed.UTC(),
	}
	switch {
	case c.Network != "":
		line.For = "network"
	case c.Address != "":
		line.For = "pair"
	}
	return line
}

func tellCounts(out io.Writer, counts []countLine) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FOR\tNETWORK OR ADDRESS\tACCOUNT\tFAILURES\tDELAY\tKNOWN\tLAST CHANGED")
	for _, c := range counts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%.1f\t%v\t%s\t%s\n", c.For, some(c.Network+c.Address, "-"), some(printable(c.Account), "-"),
			c.Failures, time.Duration(c.DelayMS)*time.Millisecond, map[bool]string{true: "yes", false: "-"}[c.Known], c.Changed.Local().Format(time.DateTime))
	}
	return table.Flush()
}

func newThrottleReset(from *source) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "reset [ACCOUNT | ADDRESS | NETWORK]...",
		Short: "Take failed logins back: of accounts, addresses or networks, or of all",
		Long: `Takes the failures back that are counted for accounts (named as they log in), for the networks of
addresses, or for networks, and those of known pairs with them. Known pairs stay known.

Statuses: 0 done (perhaps there was nothing to take back), 75 the state cannot be reached now,
78 the configuration is wrong.`,
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return withCode(exitUsage, errors.New("name accounts, addresses or networks, or say --all"))
			}
			return withCounts(cmd, from, func(ctx context.Context, db *state.DB, _ login.ThrottleLimits, counts []login.Count) error {
				var meant []login.Count
				for _, c := range counts {
					for _, arg := range args {
						if c.Of(arg) {
							meant = append(meant, c)
							break
						}
					}
				}
				var n int64
				var err error
				if all || len(meant) > 0 {
					n, err = login.Reset(ctx, db, meant)
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d counts are reset\n", n)
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all failures of everybody")
	return cmd
}
