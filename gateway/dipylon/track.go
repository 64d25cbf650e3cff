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
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
)

func newTrack() *cobra.Command {
	var from source
	var there remote
	var since, until string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "track NAME",
		Short: "Tell what became of messages",
		Long: `Tells the life of messages: how they came in, what stores and other servers answered for each
recipient, what administrators did with them, and which reports were sent. NAME is a Message-ID, the
address of a sender or recipient, or what the log and the Received field call the message (transaction
or key). All gateways that share the state's database are meant; they may be running.

What happened in the last second may not be there yet. Events are kept for as long as track.keep says.

Statuses: 0 found, 1 nothing found, 75 the state cannot be reached now, 78 the configuration is wrong.`,
		Example: `  dipylon track --config dipylon.yaml '<4711@sakes.example>'
  dipylon track --config dipylon.yaml judy@far.example --since 2h
  dipylon track --config dipylon.yaml judy@far.example --since 2026-11-28 --until 2026-11-29T12:00:00Z --json`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			q, err := trackQuery(args[0], since, until, time.Now())
			if err != nil {
				return withCode(exitUsage, err)
			}
			if there.named() {
				return there.with(cmd, &from, func(ctx context.Context, c *admin.Client) error {
					found, err := track.Ask(ctx, c, q)
					if err != nil {
						return askError(err)
					}
					return tellTracks(cmd, "There are no events of it.", found, asJSON)
				})
			}
			return withConfig(cmd, &from, func(ctx context.Context, cfg *config.Config, o state.Options) error {
				found, err := findTracks(ctx, o, q)
				if err != nil {
					return err
				}
				kept := "Events are kept for " + cfg.Track.Keep.String() + "."
				if cfg.Track.Keep == 0 {
					kept = "None are kept, as track.keep of the configuration says."
				}
				return tellTracks(cmd, kept, found, asJSON)
			})
		}),
	}
	from.configFlag(cmd)
	there.flags(cmd.Flags())
	cmd.Flags().StringVar(&since, "since", "", "not before: a time (2026-11-28, 2026-11-28T09:30:00Z) or how long ago (90m, 2d)")
	cmd.Flags().StringVar(&until, "until", "", "not after, in the same forms")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object for each message, with the events as the log has them")
	return cmd
}

func trackQuery(name, since, until string, now time.Time) (q track.Query, err error) {
	q.Name = name
	if strings.TrimSpace(name) == "" {
		return q, errors.New("what is looked for is empty")
	}
	if q.Since, err = timeOf(since, now); err != nil {
		return q, fmt.Errorf("--since: %w", err)
	}
	if q.Until, err = timeOf(until, now); err != nil {
		return q, fmt.Errorf("--until: %w", err)
	}
	return q, nil
}

// timeOf reads a time, or how long ago it was; zero: the text is empty.
func timeOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	ago, err := config.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, fmt.Errorf("%q is neither a time, as 2026-11-28T09:30:00Z, nor how long ago it was, as 90m or 2d", text)
	}
	return now.Add(-ago.Std()), nil
}

func findTracks(ctx context.Context, o state.Options, q track.Query) (r track.Result, err error) {
	db, err := state.Open(ctx, o)
	if err != nil {
		return r, stateError(err)
	}
	r, err = track.Find(ctx, db, q)
	if err = errors.Join(err, db.Close()); err != nil {
		return r, withCode(exitTemporary, err)
	}
	return r, nil
}

// tellTracks prints what was found, or that nothing was, with what is kept.
func tellTracks(cmd *cobra.Command, kept string, r track.Result, asJSON bool) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	for _, m := range r.Messages {
		err := error(nil)
		if asJSON {
			err = encoder.Encode(m.Tell())
		} else {
			err = printTrack(cmd.OutOrStdout(), m)
		}
		if err != nil {
			return err
		}
	}
	if r.More {
		cmd.PrintErrln("There is more than is shown: say --since and --until, or a Message-ID.")
	}
	if len(r.Messages) > 0 {
		return nil
	}
	cmd.PrintErrln("Nothing is found. " + kept)
	return withCode(exitFailure, errTold)
}

// printTrack prints a message as a heading and a line for each event.
func printTrack(w io.Writer, m track.Message) error {
	var id, from string
	for _, e := range m.Events {
		if id == "" {
			id = e.MessageID
		}
		if from == "" {
			from = e.From
		}
	}
	if id == "" {
		id = "(its Message-ID is not known)"
	}
	fmt.Fprintf(w, "%s from <%s>\n", printable(id), printable(strings.Trim(from, "<>")))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range m.Events {
		what, how := wordsOf(e)
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), printable(e.Node), printable(what),
			printable(e.Recipient), printable(strings.Join(how, ", ")))
	}
	return table.Flush()
}

// wordsOf tells an event in words.
func wordsOf(e track.Event) (what string, how []string) {
	add := func(text, before string) {
		if text != "" {
			how = append(how, before+text)
		}
	}
	answer := ""
	if e.Code != 0 {
		answer = strings.TrimSpace(fmt.Sprint(e.Code, " ", e.Enhanced))
	}
	switch e.Event {
	case events.MessageIn:
		add(strings.TrimSpace(answer+" "+e.Reply), "")
		how = append(how, fmt.Sprint("recipients: ", e.Recipients), fmt.Sprintf("%d octets", e.Octets))
		add(e.Remote, "from ")
		add(e.Protocol, "by ")
		add(e.Cause, "")
		return "came in", how
	case events.Collected:
		how = append(how, fmt.Sprint("recipients: ", e.Recipients), fmt.Sprintf("%d octets", e.Octets))
		add(e.Store, "from the outbox of store ")
		return "came in", how
	case events.Fetched:
		how = append(how, fmt.Sprint("recipients: ", e.Recipients), fmt.Sprintf("%d octets", e.Octets))
		add(e.Source, "from ")
		return "collected", how
	case events.Queued:
		add(e.Destination, "for ")
		return "queued", how
	case events.QueueChange:
		add(e.Action, "")
		add(e.Destination, "for ")
		return "changed", how
	}
	add(answer, "")
	add(e.Store, "store ")
	add(e.Server, "server ")
	add(e.Destination, "for ")
	add(e.Folder, "in ")
	add(e.StoredAs, "stored as ")
	add(cmp.Or(e.Diagnostic, e.Cause), "")
	add(e.FallBack, "waits now for ")
	if !e.Next.IsZero() {
		add(e.Next.Local().Format("2006-01-02 15:04:05"), "next try ")
	}
	add(e.Report, "reported as ")
	return e.Outcome, how
}
