package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/status"
)

// The exit statuses that monitors of Nagios' kind know (the Monitoring Plugins' guidelines).
const (
	monitorOK       = 0
	monitorWarning  = 1
	monitorCritical = 2
	monitorUnknown  = 3
)

// statusing is one "dipylon status".
type statusing struct {
	from    source
	there   remote
	asJSON  bool
	monitor bool
}

func newStatus() *cobra.Command {
	s := &statusing{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the running gateway is, and what needs attention",
		Long: `Says how the running gateway is: listeners and their certificates, stores and their plugins, open sessions, mail in
transit, and what needs attention before it stops mail: certificates, secrets, passwords that end within 30 days, tokens that
cannot be had, stores that fail, mail that waits too long.

The gateway is asked through the socket in its state folder, that of another machine through its admin listener
(--server), if that has a token.

Statuses: 0 nothing needs attention within days, 1 something does, 75 no gateway answers, 78 the configuration is wrong.
With --monitor, as Nagios, Icinga and Checkmk have it: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (no gateway answers, or the
configuration is wrong).`,
		Example: `  dipylon status --config dipylon.yaml
  dipylon status --config dipylon.yaml --json
  dipylon status --config dipylon.yaml --monitor`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			err := s.run(cmd)
			if _, told := errors.AsType[*monitored](err); s.monitor && err != nil && !told {
				fmt.Fprintln(cmd.OutOrStdout(), "DIPYLON UNKNOWN - "+cmp.Or(monitorText(err.Error()), "the configuration is wrong: dipylon check says what"))
				return withCode(monitorUnknown, errTold)
			}
			return err
		}),
	}
	s.from.configFlag(cmd)
	s.there.flags(cmd.Flags())
	cmd.Flags().BoolVar(&s.asJSON, "json", false, "print JSON, one object")
	cmd.Flags().BoolVar(&s.monitor, "monitor", false, "print a line for Nagios, Icinga or Checkmk, with their statuses")
	cmd.MarkFlagsMutuallyExclusive("json", "monitor")
	return cmd
}

// monitored ends a command whose line a monitor has got.
type monitored struct{ error }

func (m *monitored) Unwrap() error { return m.error }

func (s *statusing) run(cmd *cobra.Command) error {
	if s.there.named() {
		return s.there.with(cmd, &s.from, func(ctx context.Context, c *admin.Client) error {
			now, err := status.Ask(ctx, c)
			if err != nil {
				return askError(err)
			}
			return s.tell(cmd.OutOrStdout(), now)
		})
	}
	return withConfig(cmd, &s.from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
		now, err := manage.StatusOf(ctx, cfg)
		if err != nil {
			return withCode(exitTemporary, err)
		}
		return s.tell(cmd.OutOrStdout(), now)
	})
}

// tell prints a status, and says by its exit status whether something needs attention.
func (s *statusing) tell(w io.Writer, now status.Status) error {
	worst := now.Worst()
	switch {
	case s.monitor:
		line, code := monitorLine(now)
		if _, err := io.WriteString(w, line+"\n"); err != nil || code == monitorOK {
			return err
		}
		return &monitored{withCode(code, errTold)}
	case s.asJSON:
		if err := json.NewEncoder(w).Encode(now); err != nil {
			return err
		}
	default:
		if err := printStatus(w, now); err != nil {
			return err
		}
	}
	if worst > attention.Notice {
		return withCode(exitFailure, errTold)
	}
	return nil
}

// monitorLine is a status as monitors want it: a line with what is worst, and numbers behind a bar.
func monitorLine(now status.Status) (line string, code int) {
	word, code := "OK", monitorOK
	switch now.Worst() {
	case attention.Warning:
		word, code = "WARNING", monitorWarning
	case attention.Critical:
		word, code = "CRITICAL", monitorCritical
	}
	text := "nothing needs attention"
	switch n := len(now.Attention); {
	case !now.Ready:
		text = "the gateway is starting"
	case now.Stopping:
		text = "the gateway is stopping"
	case n > 0:
		first := now.Attention[0]
		if text = first.Sentence(now.Now); n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	sessions := 0
	for _, n := range now.Sessions {
		sessions += n
	}
	numbers := fmt.Sprintf("attention=%d sessions=%d queue=%d held=%d", len(now.Attention), sessions,
		now.Queue.Waiting+now.Queue.InFlight+now.Queue.Uncertain, now.Queue.Held)
	if len(now.Ends) > 0 {
		numbers += fmt.Sprintf(" days=%d", attention.DaysLeft(now.Ends[0].Until, now.Now))
	}
	return "DIPYLON " + word + " - " + monitorText(text) + " | " + numbers, code
}

// monitorText makes text fit for a monitor's line, where a bar ends it.
func monitorText(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(forTerminal(text), "|", "/")), " ")
}

// printStatus tells people.
func printStatus(w io.Writer, s status.Status) error {
	out := printableWriter{w}
	word := "serves"
	switch {
	case s.Stopping:
		word = "stops"
	case !s.Ready:
		word = "starts"
	}
	fmt.Fprintf(out, "dipylon %s at %s %s, for %s\n", s.Version, s.Hostname, word, ago(s.Now.Sub(s.Started)))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nLISTENER\tADDRESS\tTLS\tCERTIFICATE\tENDS")
	for _, l := range s.Listeners {
		name, end := "-", "-"
		if len(l.Certificates) > 0 {
			c := l.Certificates[0]
			name, end = some(strings.Join(c.Names[:min(len(c.Names), 3)], ","), "-"), c.Until.UTC().Format(time.DateOnly)
			if c.SelfSigned {
				name += " (self-signed)"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.Protocol, l.Address, l.TLS, name, end)
	}
	fmt.Fprintln(table, "\nSTORE\tBACKEND\tSTATE\tPROCESS\tFOR\tRESTARTS")
	for _, store := range s.Stores {
		state, process, since := "healthy", fmt.Sprint(store.PID, " (", store.Generation, ")"), ago(s.Now.Sub(store.Since))
		switch {
		case !store.Ready:
			state, process, since = "NOT READY", "-", "-"
		case !store.Healthy:
			state = "ILL"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", store.Name, some(store.Backend, "-"), state, process, since, store.Restarts)
	}
	fmt.Fprintln(table, "\nSESSIONS\tOPEN")
	for _, protocol := range slices.Sorted(maps.Keys(s.Sessions)) {
		fmt.Fprintf(table, "%s\t%d\n", protocol, s.Sessions[protocol])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := printQueue(out, s); err != nil {
		return err
	}
	return printConcerns(out, s)
}

// printQueue tells of mail in transit.
func printQueue(out io.Writer, s status.Status) error {
	q := s.Queue
	if q.Problem != "" {
		_, err := fmt.Fprintf(out, "\nIn transit: %s\n", q.Problem)
		return err
	}
	oldest := ""
	if !q.Oldest.IsZero() {
		oldest = ", the oldest for " + ago(s.Now.Sub(q.Oldest))
	}
	fmt.Fprintf(out, "\nIn transit: %d waiting, %d in flight, %d uncertain, %d held%s\n", q.Waiting, q.InFlight, q.Uncertain, q.Held, oldest)
	if len(q.Destinations) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DESTINATION\tSTATE\tRECIPIENTS\tOLDEST\tWAITS")
	for _, d := range q.Destinations {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", d.Destination, d.State, d.Recipients, ago(s.Now.Sub(d.Oldest)), some(d.Why, "-"))
	}
	return table.Flush()
}

// endsMost is how many ends are listed that need no attention yet.
const endsMost = 5

// printConcerns tells what ends, and what needs attention.
func printConcerns(out io.Writer, s status.Status) error {
	later := slices.DeleteFunc(slices.Clone(s.Ends), func(c attention.Concern) bool { return c.Severity != attention.Later })
	for i, c := range later[:min(len(later), endsMost)] {
		fmt.Fprintf(out, "%s%s\n", cmp.Or(map[bool]string{true: "\nLater:\n  "}[i == 0], "  "), c.Sentence(s.Now))
	}
	if len(s.Attention) == 0 {
		_, err := io.WriteString(out, "\nNothing needs attention.\n")
		return err
	}
	_, err := io.WriteString(out, "\nNeeds attention:\n")
	for _, c := range s.Attention {
		text := fmt.Sprintf("  %-8s  %s\n", strings.ToUpper(c.Severity.String()), c.Sentence(s.Now))
		if c.Advice != "" {
			text += "            " + c.Advice + "\n"
		}
		if _, err = io.WriteString(out, text); err != nil {
			return err
		}
	}
	return err
}

// ago is a length of time for people, in its two largest units.
func ago(d time.Duration) string {
	day := 24 * time.Hour
	switch d = max(d, 0); {
	case d >= day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
