package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/state"
)

func newQueue() *cobra.Command {
	var from queueSource
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "List, try again, hold, delete and export mail in transit",
		Long: `What could not be delivered at once waits in the queue, by destination: a domain, "route:NAME" for
a route with hosts, "store:NAME" for a store.

A running gateway is asked, through a socket in its state folder that its user alone can open. Where
none runs, the database is opened; one that is to start meanwhile says that it is in use. A gateway of another
machine is asked through its admin listener (--server), if that has a token.

States: waiting, in-flight (it is being delivered at this moment), uncertain (an attempt may have
delivered it; it is tried again), held (until it is released); delivered and failed recipients are
shown while their message has others.`,
		Example: `  dipylon queue stats --config dipylon.yaml
  dipylon queue list --config dipylon.yaml --destination far.example
  dipylon queue show --config dipylon.yaml 66f2a1b3c4d5e01
  dipylon queue retry --config dipylon.yaml --destination far.example
  dipylon queue delete --config dipylon.yaml --sender spammer@sakes.example --yes`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	from.there.flags(cmd.PersistentFlags())
	cmd.AddCommand(newQueueList(&from), newQueueShow(&from), newQueueStats(&from), newQueueExport(&from))
	cmd.AddCommand(newQueueChanges(&from)...)
	return cmd
}

// queueSource says whose queue is meant.
type queueSource struct {
	source
	there remote
}

// withQueue does something with the mail in transit of the configuration.
func withQueue(cmd *cobra.Command, from *queueSource, changes bool, f func(context.Context, queue.Queue) error) error {
	if from.there.named() {
		return from.there.with(cmd, &from.source, func(ctx context.Context, c *admin.Client) error {
			return queueError(f(ctx, queue.NewClient(c)))
		})
	}
	return withConfig(cmd, &from.source, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
		q, closing, err := manage.OpenQueue(ctx, cfg, changes)
		if err != nil {
			return serveError(cmd, err)
		}
		return queueError(errors.Join(f(ctx, q), closing()))
	})
}

// queueError gives what the queue says its exit status.
func queueError(err error) error {
	if coded := (*codedError)(nil); err == nil || errors.As(err, &coded) || errors.Is(err, queue.ErrNotFound) {
		return err
	}
	if _, wrong := errors.AsType[*queue.ArgumentError](err); wrong {
		return withCode(exitUsage, err)
	}
	return askError(err)
}

// filterFlags adds the flags of a filter to a command.
func filterFlags(cmd *cobra.Command, f *queue.Filter) {
	cmd.Flags().StringVar(&f.Destination, "destination", "", "what waits for it: a domain, route:NAME or store:NAME")
	cmd.Flags().StringVar(&f.Recipient, "recipient", "", "this recipient, as the list has it")
	cmd.Flags().StringVar(&f.Sender, "sender", "", `this sender; "<>" is none, as of reports`)
	cmd.Flags().StringSliceVar(&f.States, "state", nil, "one of these states: "+strings.Join(queue.States(), ", "))
	cmd.Flags().StringVar(&f.Key, "key", "", "the message with this key")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(queue.States(), cobra.ShellCompDirectiveNoFileComp)) // it is there
}

func newQueueList(from *queueSource) *cobra.Command {
	var filter queue.Filter
	var asJSON bool
	var most int
	var after string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List messages, the oldest first",
		Long: `Lists the messages of which a recipient is meant, the oldest first, with a line for each recipient.

Statuses: 0 listed (perhaps none), 75 the queue cannot be read now, 78 the configuration is wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withQueue(cmd, from, false, func(ctx context.Context, q queue.Queue) error {
				print := messageLines(cmd.OutOrStdout())
				if asJSON {
					print = jsonLines[queue.Message](cmd.OutOrStdout())
				}
				return listQueue(ctx, cmd, q, filter, after, most, print)
			})
		}),
	}
	filterFlags(cmd, &filter)
	cmd.Flags().IntVar(&most, "most", 1000, "list at most so many messages")
	cmd.Flags().StringVar(&after, "after", "", "go on behind the message with this id")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// listQueue prints pages until there are no more.
func listQueue(ctx context.Context, cmd *cobra.Command, q queue.Queue, f queue.Filter, after string, most int, print func([]queue.Message) error) error {
	for first := true; most > 0; first = false {
		page, err := q.List(ctx, f, after, min(most, queue.PageMost))
		if err == nil && (first || len(page.Messages) > 0) {
			err = print(page.Messages)
		}
		if err != nil || page.Next == "" {
			return err
		}
		most -= len(page.Messages)
		after = page.Next
	}
	cmd.PrintErrf("There may be more: --after %s\n", after)
	return nil
}

// jsonLines prints things as JSON, one a line.
func jsonLines[T any](out io.Writer) func([]T) error {
	encoder := json.NewEncoder(out)
	return func(all []T) error {
		for _, one := range all {
			if err := encoder.Encode(one); err != nil {
				return err
			}
		}
		return nil
	}
}

// messageLines prints messages as a table, each page with widths of its own.
func messageLines(out io.Writer) func([]queue.Message) error {
	begun := false
	return func(all []queue.Message) error {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		if !begun {
			fmt.Fprintln(table, "ID\tSTATE\tDESTINATION\tSENDER\tRECIPIENT\tATTEMPTS\tNEXT\tLAST")
			begun = true
		}
		for _, m := range all {
			for _, r := range m.Recipients {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, r.State, printable(r.Destination), senderText(m.Sender),
					printable(r.Address), r.Attempts, nextText(r), some(printable(lastText(r.Last)), "-"))
			}
		}
		return table.Flush()
	}
}

// nextText is when a recipient is tried.
func nextText(r queue.Recipient) string {
	if r.Due.IsZero() && r.Why != "" {
		return "when asked for"
	}
	return timeText(r.Due)
}

// lastMost bounds what a table has of another server's text, in octets.
const lastMost = 100

func lastText(o *queue.Outcome) string {
	if o == nil {
		return ""
	}
	text := cmp.Or(o.Diagnostic, strings.TrimSpace(o.Code+" "+o.Server)) // a server that was not reached has said nothing
	if len(text) > lastMost {
		return strings.ToValidUTF8(text[:lastMost], "") + "…"
	}
	return text
}

func senderText(sender string) string { return some(printable(sender), "<>") }

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func newQueueShow(from *queueSource) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show MESSAGE",
		Short: "Tell all that is known of a message",
		Long: `Tells what is known of a message, by its id or its key, and of each of its recipients.

Statuses: 0 told, 1 there is no such message, 75 the queue cannot be read now, 78 the configuration
is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withQueue(cmd, from, false, func(ctx context.Context, q queue.Queue) error {
				m, err := q.Show(ctx, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return jsonLines[queue.Message](cmd.OutOrStdout())([]queue.Message{m})
				}
				return printMessage(cmd.OutOrStdout(), m)
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printMessage(out io.Writer, m queue.Message) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s:\t%s\n", name, printable(value))
		}
	}
	line("id", m.ID)
	line("key", m.Key)
	line("sender", some(m.Sender, "<>"))
	line("received", timeText(m.Received))
	if !m.Expires.IsZero() {
		line("expires", timeText(m.Expires))
	}
	line("octets", fmt.Sprint(m.Size))
	if m.Priority != 0 {
		line("priority", fmt.Sprint(m.Priority))
	}
	line("envelope id", m.EnvelopeID)
	line("account", m.Account)
	line("client", m.Client)
	line("session", m.Session)
	line("damage", m.Damage)
	for _, r := range m.Recipients {
		line("recipient", r.Address)
		line("  destination", r.Destination)
		line("  state", r.State)
		line("  attempts", fmt.Sprint(r.Attempts))
		if !r.Due.IsZero() {
			line("  next", timeText(r.Due))
		}
		line("  waits", r.Why)
		if r.Last != nil {
			line("  last", strings.TrimSpace(timeText(r.Last.At)+" "+r.Last.Code+" "+r.Last.Diagnostic))
			line("  server", r.Last.Server)
		}
	}
	return table.Flush()
}

func newQueueStats(from *queueSource) *cobra.Command {
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count recipients by destination and state",
		Long: `Counts the recipients by destination and state, those with most first. All that there is is read.

Statuses: 0 counted, 75 the queue cannot be read now, 78 the configuration is wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withQueue(cmd, from, false, func(ctx context.Context, q queue.Queue) error {
				stats, err := q.Stats(ctx, most)
				if err != nil {
					return err
				}
				if asJSON {
					return jsonLines[queue.Statistic](cmd.OutOrStdout())(stats)
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "DESTINATION\tSTATE\tRECIPIENTS\tOLDEST\tNEXT\tWAITS")
				for _, s := range stats {
					fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", printable(s.Destination), s.State, s.Recipients, timeText(s.Oldest), timeText(s.Due), some(printable(s.Why), "-"))
				}
				return table.Flush()
			})
		}),
	}
	cmd.Flags().IntVar(&most, "most", 1000, "print at most so many lines")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}
