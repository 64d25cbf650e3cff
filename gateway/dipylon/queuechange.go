package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dipylon/dipylon/gateway/queue"
)

// changing is a command that changes mail in transit.
type changing struct {
	action  string
	past    string // "held"
	filter  queue.Filter
	to      string
	all     bool
	yes     bool
	asJSON  bool
	ids     []string
	changed int
}

// newQueueChanges are the commands that change mail in transit.
func newQueueChanges(from *queueSource) []*cobra.Command {
	retry := newQueueChange(from, &changing{action: queue.Retry, past: "to be tried now"}, "Try what waits now, whatever back-off there is",
		`Has recipients that wait tried now, and ends the back-off of their destinations.`)
	hold := newQueueChange(from, &changing{action: queue.Hold, past: "held"}, "Keep messages from being tried until they are released",
		`Holds recipients that wait: they are not tried, and do not expire, until they are released.`)
	release := newQueueChange(from, &changing{action: queue.Release, past: "released"}, "Try what is held",
		`Has recipients that are held tried now. What a route of the kind "hold" keeps has to be given another
way first, with "dipylon queue reroute".`)
	deletes := &changing{action: queue.Delete, past: "deleted"}
	remove := newQueueChange(from, deletes, "Delete messages; nobody is told",
		`Deletes recipients that wait or are held, and with the last one the message. Neither the sender nor
anybody else is told: each recipient that will not get the message is printed, with its sender.
Export first what may be wanted again.

Without --yes, a terminal is asked.`)
	remove.Flags().BoolVar(&deletes.yes, "yes", false, "do not ask")
	reroutes := &changing{action: queue.Reroute, past: "rerouted"}
	reroute := newQueueChange(from, reroutes, "Give messages another way, or the one that the routes have now",
		`Has recipients wait for another destination, and be tried there now; what is held stays held. Without
--to, each goes where the routes of the configuration lead it now; one that no route leads anywhere
stays as it is.`)
	reroute.Flags().StringVar(&reroutes.to, "to", "", "the destination: a domain, route:NAME or store:NAME")
	return []*cobra.Command{retry, hold, release, remove, reroute}
}

func newQueueChange(from *queueSource, c *changing, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   c.action + " [MESSAGE]...",
		Short: short,
		Long: long + `

What is meant is named by ids or keys of messages, by flags, or by --all. What is being delivered at this moment is left
as it is, and told.

Statuses: 0 done (perhaps there was nothing to do), 1 some of it is being delivered and was left, or
there is no such message, 75 the queue cannot be changed now, 78 the configuration is wrong.`,
		RunE: action(func(cmd *cobra.Command, args []string) error {
			c.ids = args
			if named := len(args) > 0 || !c.filter.IsZero(); named == c.all {
				return withCode(exitUsage, errors.New("name messages, or flags that say what is meant, or say --all"))
			}
			if err := c.confirm(cmd); err != nil {
				return err
			}
			return withQueue(cmd, from, true, func(ctx context.Context, q queue.Queue) error { return c.run(ctx, cmd, q) })
		}),
	}
	filterFlags(cmd, &c.filter)
	cmd.Flags().BoolVar(&c.all, "all", false, "everything in the queue")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print JSON, an object a line for each recipient")
	return cmd
}

// confirm asks a terminal before something is deleted.
func (c *changing) confirm(cmd *cobra.Command) error {
	if c.action != queue.Delete || c.yes {
		return nil
	}
	in, is := cmd.InOrStdin().(*os.File)
	if !is || !term.IsTerminal(int(in.Fd())) {
		return withCode(exitUsage, errors.New("nobody can be asked whether to delete: say --yes"))
	}
	cmd.PrintErrf("Delete this mail? Nobody will be told. [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return errors.New("nothing was deleted")
	}
	return nil
}

// run changes what is named, message by message or all that the filter means.
func (c *changing) run(ctx context.Context, cmd *cobra.Command, q queue.Queue) error {
	shown := newProgress(cmd.ErrOrStderr())
	defer shown.end()
	ids := c.ids
	if len(ids) == 0 {
		ids = []string{""}
	}
	left := 0
	for _, id := range ids {
		if id != "" {
			m, err := q.Show(ctx, id)
			if err != nil {
				return fmt.Errorf("%s: %w", printable(id), err)
			}
			id = m.ID
		}
		n, err := c.one(ctx, cmd, q, shown, id)
		left += n
		if err != nil {
			return err
		}
	}
	shown.end()
	if !c.asJSON {
		fmt.Fprintf(cmd.OutOrStdout(), "recipients %s: %d\n", c.past, c.changed)
	}
	if left > 0 {
		return withCode(exitFailure, errTold)
	}
	return nil
}

// one does all steps of a change, and says how many recipients are in flight.
func (c *changing) one(ctx context.Context, cmd *cobra.Command, q queue.Queue, shown *progress, id string) (left int, err error) {
	change := queue.Change{Action: c.action, Filter: c.filter, To: c.to}
	if id != "" {
		change.Filter.ID = id
	}
	shown.begin(c.action)
	for {
		step, err := q.Change(ctx, change)
		if err != nil {
			return left, err
		}
		c.changed += len(step.Changed)
		if err := c.tell(cmd, shown, step); err != nil {
			return left, err
		}
		left += len(step.InFlight)
		if change.From = step.Next; change.From == "" {
			return left, nil
		}
		shown.now(fmt.Sprintf("%s: %d recipients", c.action, c.changed))
	}
}

// tell prints what a step has done that has to be known of each recipient.
func (c *changing) tell(cmd *cobra.Command, shown *progress, step queue.Step) (err error) {
	if len(step.InFlight) == 0 && !c.asJSON && c.action != queue.Delete {
		return nil
	}
	shown.pause(func() {
		for _, t := range step.InFlight {
			cmd.PrintErrf("%s to %s is being delivered at this moment, and stays as it is\n", t.ID, forTerminal(t.Recipient))
		}
		switch {
		case c.asJSON:
			err = jsonLines[queue.Touched](cmd.OutOrStdout())(step.Changed)
		case c.action == queue.Delete:
			for _, t := range step.Changed {
				told := "nobody has sent it"
				if t.Sender != "" {
					told = "its sender is not told: " + printable(t.Sender)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s to %s: %s\n", t.ID, printable(t.Recipient), told)
			}
		}
	})
	return err
}
