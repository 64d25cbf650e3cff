package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/manage"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

func newState() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Copy, restore, move and check the gateway's own state",
		Long: `Looks after the database that the configuration's "state" names: mail in transit, what the gateway
remembers of messages, such as unique-ids of a former mail server, and application passwords. It may be
in use meanwhile, but for "restore", "move" and "hold".`,
		Example: `  dipylon state backup --config dipylon.yaml /var/backups/dipylon.db
  dipylon state restore --config dipylon.yaml /var/backups/dipylon.db
  dipylon state move --config dipylon.yaml --to file:/etc/dipylon/postgres-url
  dipylon state verify --config dipylon.yaml`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.PersistentFlags().StringVarP(&from.file, "config", "c", "", configUsage)
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only where there is no such flag
	cmd.AddCommand(newStateBackup(&from), newStateRestore(&from), newStateMove(&from), newStateHold(&from), newStateVerify(&from))
	return cmd
}

func newStateBackup(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the database into a new file",
		Long: `Copies the database, as it is at one moment, into a new file that only its owner can read, with all
contents of mail in transit: those of more than 128 KiB, which are files in the state folder's "spool",
are in the copy, too. "dipylon state restore" puts it back. Mail that leaves the queue while its content
is copied may be left out.

A PostgreSQL database is copied with pg_dump while the gateways run, or with the server's own backups:
  pg_dump --format=custom --file=dipylon.dump postgres://dipylon@db.example/dipylon
It goes by the name pg_dump (application_name, PGAPPNAME), by which gateways know that they must not drop
what it is about to read. If it says that a relation does not exist, all the same, run it again. What it has
written is read by pg_restore into an empty database, and "dipylon state hold" then holds the mail.

Statuses: 0 done, 1 the copy was not made (no room, FILE is there already, the database is
damaged), 75 try again later, 78 the configuration is wrong.`,
		Example: "  dipylon state backup --config dipylon.yaml /var/backups/dipylon-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				if err := manage.BackupState(ctx, cfg, args[0]); err != nil {
					return backupError(err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), "copied to "+args[0])
				return nil
			})
		}),
	}
}

func newStateRestore(from *source) *cobra.Command {
	var release bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a copy of the database in its place",
		Long: `Puts a file that "dipylon state backup" has made in the database's place. The gateway has to be
stopped. The copy is looked at first and stays where it is; the database that was there is kept
beside it under another name, which is printed.

What has happened since the copy was made is forgotten: a password that was revoked is good again,
and a client may see a message again that it had deleted.

Mail in transit may have been delivered since. So all of it is held, and nothing is sent until you say
so: how many recipients are held is printed, with the commands that list, release and delete them. With
--release it is tried as soon as the gateway runs. Contents of more than 128 KiB come out of the copy, and
stay in the database until they are delivered. The next start removes the files in the state folder's
"spool", which belong to the database that was there: so all of them are kept under another name as well,
which is printed.

A PostgreSQL database is restored with its server's own means; "dipylon state hold" then holds its mail.

Statuses: 0 done, 1 it was not done, 65 the copy is no good one, 75 the gateway is running, 78 the
configuration is wrong.`,
		Example: "  dipylon state restore --config dipylon.yaml /var/backups/dipylon.db",
		Args:    cobra.ExactArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				restored, err := manage.RestoreState(ctx, cfg, args[0], release)
				if errors.Is(err, server.ErrTemporary) {
					return withCode(exitTemporary, err)
				}
				if err != nil {
					return backupError(err)
				}
				tellRestored(cmd.OutOrStdout(), args[0], restored)
				return nil
			})
		}),
	}
	cmd.Flags().BoolVar(&release, "release", false, "do not hold mail in transit: what was delivered since is sent again")
	return cmd
}

// tellRestored says what was done, and what is to be done.
func tellRestored(out io.Writer, file string, r manage.Restored) {
	fmt.Fprintln(out, "restored from "+file)
	if r.Kept != "" {
		fmt.Fprintln(out, "what was there is "+r.Kept)
	}
	if r.Contents != "" {
		fmt.Fprintln(out, "large contents of its mail in transit are in "+r.Contents)
	}
	if r.Held > 0 {
		tellHeld(out, r.Held)
	}
}

func tellHeld(out io.Writer, held int64) {
	fmt.Fprintf(out, `recipients of mail in transit that are held, as they may have it: %d
  dipylon queue list --state held     lists them
  dipylon queue release --state held  has them tried
  dipylon queue delete --state held   deletes them, and tells nobody
`, held)
}

func newStateHold(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "hold",
		Short: "Hold all mail in transit, after a database was restored",
		Long: `Holds all mail in transit, also what was being delivered when the gateway ended or the copy was made:
none of it is sent until it is released. It is for a PostgreSQL database that was restored with its
server's own means, before a gateway is started on it: what waited when the copy was made may have been
delivered since. "dipylon state restore" does the same by itself.

The gateways have to be stopped. While they run, "dipylon queue hold" holds what waits.

Statuses: 0 done, 75 a gateway is running, or the database cannot be reached now, 78 the configuration is
wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				held, err := manage.HoldState(ctx, cfg)
				if err != nil {
					return serveError(cmd, err)
				}
				tellHeld(cmd.OutOrStdout(), held)
				return nil
			})
		}),
	}
}

func newStateMove(from *source) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "move",
		Short: "Move a SQLite state into a PostgreSQL database, or back",
		Long: `Copies all that a SQLite state has, mail in transit with its contents among it, into a PostgreSQL
database that is empty, or into an empty schema of one (with search_path in the URL); or all that a
PostgreSQL database has into a folder without a state. All gateways have to be stopped. A URL with a password
in it is better named by a reference than on the command line: see "dipylon secrets".

Until all of it is there, the state stays what it is, and no gateway starts on the new one. If the
command is broken off, run it again: it begins anew, or does what was left to do. Afterwards no gateway
starts on the old state: name the new one as "state" in the configuration. What was there stays
where it is, and can be removed when the gateway runs.

Statuses: 0 done, 1 it was not done, 65 the new state is used already, or one of the two is not a good
one, 75 a gateway is running, or the database cannot be reached now, 78 the configuration is wrong.`,
		Example: `  dipylon state move --config dipylon.yaml --to postgres://dipylon@db.example/dipylon
  dipylon state move --config dipylon.yaml --to /var/lib/dipylon/state`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withConfig(cmd, from, func(ctx context.Context, cfg *config.Config, _ state.Options) error {
				target, err := moveTo(to, cfg.State.URL != "")
				if err != nil {
					return withCode(exitUsage, err)
				}
				shown := newProgress(cmd.ErrOrStderr())
				defer shown.end()
				shown.begin("moving")
				rows, err := manage.MoveState(ctx, cfg, target, shown.now)
				shown.end()
				if err != nil {
					return serveError(cmd, err)
				}
				tellMoved(cmd.OutOrStdout(), rows, cfg)
				return nil
			})
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "postgres://user@host/database, a reference to that, or a folder for a SQLite state (required)")
	_ = cmd.MarkFlagRequired("to") // fails only where there is no such flag
	return cmd
}

// tellMoved says what was done, and what is to be done. The spool's folder stays in use, for messages on their way.
func tellMoved(out io.Writer, rows int64, cfg *config.Config) {
	fmt.Fprintf(out, "moved: %d rows\n", rows)
	if cfg.State.URL != "" {
		fmt.Fprintln(out, `name the folder as "state" in the configuration, and start the gateway; then the database can be removed`)
		return
	}
	fmt.Fprintf(out, `name the database as "state" in the configuration, and start the gateway; then the old files can be removed, but no folder:
  %s
  %s
`, filepath.Join(cfg.State.Folder, state.FileName), filepath.Join(server.SpoolFolder(cfg), "*.message"))
}

// moveTo is what --to names. The error shows nothing of a URL. From a database a state is moved into a folder.
func moveTo(to string, fromDatabase bool) (o state.Options, err error) {
	o.Log = zerolog.Nop()
	if o.URL, err = config.Secret(to, "", config.Options{}); err == nil {
		switch isURL := strings.HasPrefix(o.URL, "postgres://") || strings.HasPrefix(o.URL, "postgresql://"); {
		case isURL:
			err = state.CheckURL(o.URL)
		case fromDatabase && !strings.Contains(to, "://"):
			o.URL = ""
			o.Folder, err = filepath.Abs(to) // who opens the old state is told this name
		default:
			err = errors.New("it takes postgres://user@host/database, or a reference to that")
		}
	}
	if err != nil {
		return o, fmt.Errorf("--to: %w", err)
	}
	return o, nil
}

func newStateVerify(from *source) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Look for damage in the database",
		Long: `Reads the whole database and tells what is wrong with it, the version of its schema, and how
many rows its tables have. Nothing is changed. Of a PostgreSQL database the files are not looked
at: that is for pg_amcheck.

Statuses: 0 it is good, 65 something is wrong, 75 it cannot be reached now, 78 the configuration is
wrong.`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error {
			return withState(cmd, from, func(ctx context.Context, o state.Options) error {
				report, err := state.Inspect(ctx, o)
				if err != nil {
					return withCode(exitTemporary, err)
				}
				return tellReport(cmd, report)
			})
		}),
	}
}

// withState does something with the state that the configuration names.
func withState(cmd *cobra.Command, from *source, f func(context.Context, state.Options) error) error {
	return withConfig(cmd, from, func(ctx context.Context, _ *config.Config, o state.Options) error { return f(ctx, o) })
}

// withConfig is withState for what needs more of the configuration.
func withConfig(cmd *cobra.Command, from *source, f func(context.Context, *config.Config, state.Options) error) error {
	if err := from.find(); err != nil {
		return err
	}
	cfg, err := from.load()
	if err != nil {
		return configError(cmd, err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
	defer stop()
	return f(ctx, cfg, server.StateOptions(zerolog.Nop(), cfg))
}

// stateError gives a state that cannot be opened its exit status: one that must not be used
// does not get better by itself.
func stateError(err error) error {
	if wrong, ok := errors.AsType[*state.Unusable](err); ok {
		return withCode(exitState, wrong)
	}
	return withCode(exitTemporary, err)
}

// backupError is a failure, unless it is the state's own fault.
func backupError(err error) error {
	if wrong, ok := errors.AsType[*state.Unusable](err); ok {
		return withCode(exitState, wrong)
	}
	return err
}

func tellReport(cmd *cobra.Command, report *state.Report) error {
	out := cmd.OutOrStdout()
	for _, p := range report.Problems {
		cmd.PrintErrln(report.Name + ": " + strings.TrimPrefix(p, report.Name+" "))
	}
	if len(report.Problems) > 0 {
		return withCode(exitState, errTold)
	}
	fmt.Fprintf(out, "%s: good, schema %d\n", report.Name, report.Version)
	for _, t := range report.Tables {
		fmt.Fprintf(out, "%10d  %s\n", t.Rows, t.Table)
	}
	return nil
}
