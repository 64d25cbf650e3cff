package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

// doctoring is one "dipylon doctor".
type doctoring struct {
	from    source
	file    string
	stdin   bool
	asJSON  bool
	timeout time.Duration
	refuse  string
	self    bool
	fresh   bool
}

func newDoctor() *cobra.Command {
	d := &doctoring{}
	cmd := &cobra.Command{
		Use:   "doctor STORE|ROUTE [MAILBOX]",
		Short: "Say step by step what works between the gateway and a mailbox, or the servers of a route",
		Long: `Goes the way of a session, from the store's backend and the name of its server to the first message of a
mailbox, and tells each step as it ends: whether it works, how long it takes, and where it does not, what is wrong and
what to do about it. Nothing is changed. The backend is started for it; the gateway may be running.

The mailbox is a login name in any of the forms that the gateway takes. Its password is asked for on a terminal, or read
from the first line of a file or of the input; where the store lets the gateway act for its users, none is needed. Without a mailbox
what can be found out without a login is. No secret is printed.

Of a route the servers are looked at that mail goes to: the name, the connection, TLS, the token, the login, how many connections
are taken, and whether mail for MAILBOX would be (by MX: of whose domain DNS is asked). A store that has the name goes before a route;
route:NAME is the route.

With --must-refuse the gateway tries to open a mailbox that it must not reach, as an application at a provider reaches every
mailbox until somebody has scoped it. With --send-to-self a mail goes from the mailbox to itself, and is waited for; it stays there.

A token that is asked for comes from the issuer, or, where the gateways on one state share a login, from what they have: the step says
which. With --fresh-token the issuer is asked in any case; a login goes on, as the refresh token that comes of it is there for all.

Statuses: 0 all that was tried works (there may be warnings), 1 a step has failed, 2 the command line is wrong, 75 the
examination could not be carried out, 78 the configuration is wrong.`,
		Example: `  dipylon doctor --config dipylon.yaml sakes
  dipylon doctor --config dipylon.yaml sakes george@sakes.example
  dipylon doctor --config dipylon.yaml --must-refuse ceo@office.example m365 scanner@office.example
  dipylon doctor --config dipylon.yaml --send-to-self provider
  dipylon doctor --config dipylon.yaml --json --password-file /etc/dipylon/probe.password sakes probe@sakes.example`,
		Args: cobra.RangeArgs(1, 2),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withConfig(cmd, &d.from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				return d.run(ctx, cmd, cfg, append(args, "")[:2])
			})
		}),
	}
	d.from.configFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&d.file, "password-file", "", "take the first line of a `file` as the password")
	f.BoolVar(&d.stdin, "password-stdin", false, "take the first line of the input as the password, even on a terminal")
	f.BoolVar(&d.asJSON, "json", false, "print JSON, an object a line for each step")
	f.DurationVar(&d.timeout, "timeout", 5*time.Minute, "how long all of it may take")
	f.StringVar(&d.refuse, "must-refuse", "", "try to open this `mailbox` too, which must not be possible")
	f.BoolVar(&d.self, "send-to-self", false, "send a mail from the mailbox, or the route's user, to itself")
	f.BoolVar(&d.fresh, "fresh-token", false, "ask the issuer for a token, although there is one that is good still")
	_ = cmd.MarkFlagFilename("password-file") // fails only where there is no such flag
	cmd.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return cmd
}

func (d *doctoring) run(ctx context.Context, cmd *cobra.Command, cfg *config.Config, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	p := &stepPrinter{out: cmd.OutOrStdout(), asJSON: d.asJSON, count: make(map[backends.StepOutcome]int)}
	err := d.examine(ctx, cmd, cfg, args, p.step)
	if _, is := errors.AsType[*manage.ArgumentError](err); is {
		return withCode(exitUsage, err)
	}
	if coded := (*codedError)(nil); errors.As(err, &coded) {
		return err
	}
	if err != nil {
		return withCode(exitTemporary, err)
	}
	p.sum()
	if p.count[backends.StepFailed] > 0 {
		return withCode(exitFailure, errTold)
	}
	return p.err
}

// examine examines a store, or the route that is named.
func (d *doctoring) examine(ctx context.Context, cmd *cobra.Command, cfg *config.Config, args []string, tell func(backends.Step)) error {
	name, isRoute := strings.CutPrefix(args[0], "route:")
	if _, err := manage.StoreNamed(cfg, name); err == nil && !isRoute {
		e := manage.Examination{Store: name, Mailbox: args[1], Acts: d.file == "" && !d.stdin, MustRefuse: d.refuse, SendToSelf: d.self, FreshToken: d.fresh}
		e.Secret = func() ([]byte, error) { return d.password(cmd, args[1]) }
		return manage.Examine(ctx, cfg, e, tell)
	}
	if !slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return r.Name == name }) {
		return withCode(exitUsage, fmt.Errorf("the configuration has no store %q, and no route", name))
	}
	return manage.ExamineRoute(ctx, cfg, server.RouteExamination{Route: name, To: args[1], MustRefuse: d.refuse, SendToSelf: d.self, FreshToken: d.fresh}, tell)
}

// password is the mailbox's: from a file, the input, or somebody at a terminal.
func (d *doctoring) password(cmd *cobra.Command, mailbox string) ([]byte, error) {
	if d.file != "" {
		f, err := os.Open(d.file)
		if err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("--password-file: %w", err))
		}
		defer f.Close() //nolint:errcheck // it was only read
		return firstLine(f)
	}
	in := cmd.InOrStdin()
	if d.stdin {
		return firstLine(in)
	}
	f, is := in.(*os.File)
	if !is || !term.IsTerminal(int(f.Fd())) {
		return nil, withCode(exitUsage, errors.New("the store wants the password of the mailbox: --password-file or --password-stdin"))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Password of %s: ", forTerminal(mailbox))
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	return password, checkPassword(password)
}

// stepPrinter prints the steps of an examination as they end.
type stepPrinter struct {
	out    io.Writer
	asJSON bool
	count  map[backends.StepOutcome]int
	err    error // of the output
}

// stepLine is a step for programs.
type stepLine struct {
	Step    string  `json:"step"`
	Outcome string  `json:"outcome"` // good, warning, failed, skipped
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"`
	Cause   string  `json:"cause,omitempty"`
	Advice  string  `json:"advice,omitempty"`
}

func (p *stepPrinter) step(s backends.Step) {
	p.count[s.Outcome]++
	if p.asJSON {
		p.err = errors.Join(p.err, json.NewEncoder(p.out).Encode(stepLine{s.Name, s.Outcome.String(), s.Took.Seconds(), s.Detail, s.Cause, s.Advice}))
		return
	}
	outcome := s.Outcome.String()
	if s.Outcome == backends.StepFailed {
		outcome = "FAILED"
	}
	text := fmt.Sprintf("%-8s %7.3fs  %s", outcome, s.Took.Seconds(), s.Name)
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	if s.Cause != "" {
		text += "\n                   cause: " + s.Cause
	}
	if s.Advice != "" {
		text += "\n                   " + s.Advice
	}
	p.print(text)
}

func (p *stepPrinter) print(text string) {
	_, err := io.WriteString(p.out, forTerminal(text)+"\n")
	p.err = errors.Join(p.err, err)
}

// sum tells people how many steps there were of each outcome.
func (p *stepPrinter) sum() {
	if p.asJSON {
		return
	}
	var all []string
	for o := backends.StepGood; o <= backends.StepSkipped; o++ {
		all = append(all, fmt.Sprintf("%d %s", p.count[o], o))
	}
	p.print(strings.Join(all, ", "))
}
