package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
)

func newQuarantine() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "List and release messages that their stores could not give",
		Long: `A message that its store cannot give, because it cannot put it into a form for mail programs or
fails with it again and again, is in quarantine: mail programs get a notice in its place, which
has the message's number. The message stays in the store, even when the notice is deleted.

Once the reason is gone, a release makes the gateway ask the store again, from the next session of
the mailbox on. Mail programs take a released message for a new one.

A message of a store's outbox that fails, or ends the store's plugin, each time it is collected is
here, too, without an account, in the folder outbox. It is not sent meanwhile. A release has it
collected again within some minutes; so has a change of its size, sender or recipients, within a day.
One without an id in the store stands for collections that break before the store names a message:
find the message by the store's log or its plugin's, and take it out of the outbox.

States: held (a notice is served), hidden (the notice was deleted), suspected (it has failed, and
is asked for again), released.`,
		Example: `  dipylon quarantine list --config dipylon.yaml
  dipylon quarantine show --config dipylon.yaml a841bc9e
  dipylon quarantine release --config dipylon.yaml a841bc9e`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newQuarantineList(&from), newQuarantineShow(&from), newQuarantineRelease(&from))
	return cmd
}

// withQuarantine does something with the quarantine of the configuration's state.
func withQuarantine(cmd *cobra.Command, from *source, f func(context.Context, *folder.Quarantine) error) error {
	return withState(cmd, from, func(ctx context.Context, o state.Options) error {
		db, err := state.Open(ctx, o)
		if err != nil {
			return stateError(err)
		}
		return errors.Join(f(ctx, &folder.Quarantine{DB: db}), db.Close())
	})
}

func newQuarantineList(from *source) *cobra.Command {
	var all, asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the messages in quarantine",
		Long: `Lists the messages that are held or hidden, those that failed last first.

Statuses: 0 listed (perhaps none), 75 the state cannot be reached now, 78 the configuration is
wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withQuarantine(cmd, from, func(ctx context.Context, w *folder.Quarantine) error {
				states := []folder.QuarantineState{folder.Held, folder.Hidden}
				if all {
					states = nil
				}
				entries, err := w.List(ctx, most, states...)
				if err != nil {
					return withCode(exitTemporary, err)
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), entries)
				}
				return printEntries(cmd.OutOrStdout(), entries)
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "list those that are suspected or released, too")
	cmd.Flags().IntVar(&most, "most", 1000, "list at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func printEntries(out io.Writer, entries []folder.QuarantineEntry) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NUMBER\tSTATE\tSTORE\tACCOUNT\tFOLDER\tLAST FAILED\tREASON")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Number, e.State, printable(e.Store), printable(e.Account),
			printable(folderName(e)), e.Last.Format(time.DateTime), printable(e.Reason))
	}
	return table.Flush()
}

func folderName(e folder.QuarantineEntry) string {
	if e.Folder == "" {
		return "(inbox)"
	}
	return e.Folder
}

// printable makes a store's text safe for a terminal.
func printable(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// entryJSON is a message in quarantine for programs.
type entryJSON struct {
	Number   string    `json:"number"`
	State    string    `json:"state"`
	Store    string    `json:"store"`
	Account  string    `json:"account"`
	Folder   string    `json:"folder,omitempty"`
	ID       []byte    `json:"id"` // base64: the store's, any octets
	UIDL     string    `json:"uidl"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Failures int64     `json:"failures"`
	Served   int64     `json:"served"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

func printJSON(out io.Writer, entries []folder.QuarantineEntry) error {
	encoder := json.NewEncoder(out)
	for _, e := range entries {
		err := encoder.Encode(entryJSON{
			Number: e.Number, State: string(e.State), Store: e.Store, Account: e.Account, Folder: e.Folder,
			ID: []byte(e.ID), UIDL: e.UIDL, Reason: e.Reason, Detail: e.Detail, Failures: e.Failures, Served: e.Served,
			First: e.First, Last: e.Last,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newQuarantineShow(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "show NUMBER",
		Short: "Tell all that is known of a message in quarantine",
		Long: `Tells what is known of a message. The number is the one that the notice has, or its beginning.

Statuses: 0 told, 1 there is no such message, 75 the state cannot be reached now, 78 the
configuration is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withQuarantine(cmd, from, func(ctx context.Context, w *folder.Quarantine) error {
				e, err := theOne(ctx, w, args[0])
				if err != nil {
					return err
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for _, line := range [][2]string{
					{"number", e.Number},
					{"state", string(e.State)},
					{"store", e.Store},
					{"account", e.Account},
					{"folder", folderName(e)},
					{"the store's id", printable(string(e.ID))},
					{"unique-id", e.UIDL},
					{"reason", printable(e.Reason)},
					{"detail", printable(e.Detail)},
					{"failures", fmt.Sprintf("%d, the first at %s, the last at %s", e.Failures, e.First.Format(time.RFC3339), e.Last.Format(time.RFC3339))},
					{"notices served", strconv.FormatInt(e.Served, 10)},
				} {
					fmt.Fprintf(table, "%s:\t%s\n", line[0], line[1])
				}
				return table.Flush()
			})
		}),
	}
}

func newQuarantineRelease(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "release NUMBER...",
		Short: "Make the gateway ask the store for messages again",
		Long: `Releases messages, which may have been hidden: from the next session of their mailboxes on the
store is asked for them again. One that it still cannot give comes back here.

Statuses: 0 released, 1 there is no such message, 75 the state cannot be reached now, 78 the
configuration is wrong.`,
		Args: cobra.MinimumNArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withQuarantine(cmd, from, func(ctx context.Context, w *folder.Quarantine) error {
				for _, number := range args {
					e, err := theOne(ctx, w, number)
					if err == nil {
						err = w.Release(ctx, e)
					}
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "released %s of %s\n", e.Number, cmp.Or(e.Account, "the outbox of "+e.Store))
				}
				return nil
			})
		}),
	}
}

// theOne is the message that a number, or its beginning, means.
func theOne(ctx context.Context, w *folder.Quarantine, number string) (folder.QuarantineEntry, error) {
	if number == "" {
		return folder.QuarantineEntry{}, withCode(exitUsage, errors.New("the number is empty"))
	}
	found, err := w.Find(ctx, number)
	switch {
	case err != nil:
		return folder.QuarantineEntry{}, withCode(exitTemporary, err)
	case len(found) == 0:
		return folder.QuarantineEntry{}, fmt.Errorf("no message in quarantine has the number %s", printable(number))
	case len(found) > 1:
		return folder.QuarantineEntry{}, fmt.Errorf("several numbers begin with %s", printable(number))
	}
	return found[0], nil
}
