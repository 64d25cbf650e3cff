package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/tempfolder"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// pluginTest are the flags of "plugin test".
type pluginTest struct {
	settings string
	only     string
	put      string
	options  storetest.Options
	strict   bool
	verbose  bool
}

func newPluginTest() *cobra.Command {
	var t pluginTest
	cmd := &cobra.Command{
		Use:   "test [flags] -- KIND|COMMAND [ARGUMENT…]",
		Short: "Hold a backend to the contract",
		Long: `Runs a backend, as the gateway would, against every promise of the contract, and prints a
line for each as it is judged. The backend is a built-in, by its kind, or a command. Its process is
killed, and started again, several times.

IT DELETES MAIL: the inboxes of the two accounts are emptied, again and again, and what is in the
store's outbox is taken. Use accounts, and a store, that serve no other purpose.

A store that takes no mail in is filled by --put: the command is run by the shell with the user's
login name as $1, and the message, its lines ended by CRLF, on standard input. It puts the message
into that user's inbox.

"not offered" is what the store does not promise, "not tested" what nobody could find out: because
there is no second account, say, or no --put. With --strict that is a failure.

A password may be a reference: file:PATH or env:NAME.

The status is 0 where nothing failed, 1 where something did, 75 where the backend does not start or
its accounts cannot be used, and 130 where the test was broken off.`,
		Example: `  dipylon plugin test --settings settings.yaml \
      --user anna@example.org --password env:ANNA --second-user bert@example.org --second-password env:BERT \
      -- ./my-backend --verbose
  dipylon plugin test --put 'cat > "mail/$1/$(date +%s%N).eml"' … -- ./a-store-that-only-reads
  dipylon plugin test --run 'maildrop/top' …   # while one of its cases is being mended`,
		Args: cobra.MinimumNArgs(1),
		RunE: action(func(cmd *cobra.Command, args []string) error { return t.run(cmd, args) }),
	}
	f, o := cmd.Flags(), &t.options
	f.StringVar(&t.settings, "settings", "", "a YAML or JSON `file` with the store's settings")
	f.StringVar(&o.User, "user", "", "the login name of the first account (required)")
	f.StringVar(&o.Password, "password", "", "its password (required)")
	f.StringVar(&o.Address, "address", "", "its address (default: the login name)")
	f.StringVar(&o.SecondUser, "second-user", "", "the login name of the second account")
	f.StringVar(&o.SecondPassword, "second-password", "", "its password")
	f.StringVar(&o.SecondAddress, "second-address", "", "its address (default: the login name)")
	f.StringVar(&t.put, "put", "", "a `command` that puts a message into an inbox")
	f.StringVar(&o.Unknown, "unknown", "", "an `address` in the store's domain that has no mailbox (default: one is made up)")
	f.BoolVar(&o.CatchAll, "catch-all", false, "the store takes mail for every address of its domain")
	f.StringVar(&o.Folder, "folder", "", "a folder of the first account besides the inbox")
	f.StringSliceVar(&o.Outside, "outside", nil, "two `addresses` whose mail leaves through the store's outbox")
	f.BoolVar(&o.Renders, "renders", false, "the store makes messages of properties, rather than keep octets")
	f.BoolVar(&o.KeysInMailbox, "keys-in-mailbox", false, "the store knows what it has delivered by the messages that are there, and not beyond")
	f.Int64Var(&o.Large, "large", 0, "`octets` of the large message (default: 40 MiB)")
	f.IntVar(&o.Many, "many", 0, "messages of the full mailbox (default: 300)")
	f.DurationVar(&o.Timeout, "timeout", 0, "for each case (default: 1m)")
	f.DurationVar(&o.Patience, "patience", 0, "for a call to notice that it was cancelled; more on a machine that is busy (default: 5s)")
	f.StringVar(&t.only, "run", "", "only the cases whose group/name matches this regular `expression`")
	f.BoolVar(&t.strict, "strict", false, "what could not be tested is a failure")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "show the backend's log")
	for _, name := range []string{"user", "password"} {
		_ = cmd.MarkFlagRequired(name) // fails only where there is no such flag
	}
	return cmd
}

// Small windows have a plugin wait for them with small messages and short lists. That of a content
// has room for a chunk that is too large, or a plugin that sends as much as it may would be found
// out by the gateway alone.
const (
	testFetchWindow = convert.ChunkMost + 64<<10
	testListWindow  = 50
	// testStop is how long a plugin has to end when it is asked to in one way.
	testStop = 10 * time.Second
	// testPark is how long a session rests before it is parked.
	testPark = 20 * time.Millisecond
	// testRestart is the pause before the next start of a plugin that dies: the case after the one
	// that it died in is not to fail for it.
	testRestart = 100 * time.Millisecond
)

func (t *pluginTest) run(cmd *cobra.Command, args []string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := zerolog.Nop()
	if t.verbose {
		log = zerolog.New(zerolog.ConsoleWriter{Out: printableWriter{cmd.ErrOrStderr()}, NoColor: true, TimeFormat: time.TimeOnly}).With().Timestamp().Logger()
	}
	spec, err := t.spec(args)
	if err != nil {
		return err
	}
	if t.options.Only, err = onlyCases(t.only); err != nil {
		return err
	}
	state, err := tempfolder.New("", "plugin-test")
	if err != nil {
		return fmt.Errorf("a folder for the backend's state: %w", err)
	}
	defer state.Remove() //nolint:errcheck // it is in the folder for such things
	spec.Settings.StateDir, spec.Settings.Vault = state.Path, &vault.Memory{}
	spec.Tested, spec.RestartMost = true, testRestart
	spec.Abandoned = ctx.Done()
	spec.FetchWindow, spec.ListWindow, spec.StopTimeout, spec.ParkAfter = testFetchWindow, testListWindow, testStop, testPark
	store := host.New(log, spec)
	defer store.Close() //nolint:errcheck // what the cases say is what counts
	if err := store.Start(ctx); err != nil {
		return withCode(exitTemporary, fmt.Errorf("the backend cannot be used: %w", err))
	}
	return t.judge(ctx, cmd, t.target(store, spec, log))
}

// onlyCases reads the pattern of --run. One that no case matches would prove nothing.
func onlyCases(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	only, err := regexp.Compile(pattern)
	if err != nil {
		return nil, withCode(exitUsage, fmt.Errorf("--run: %w", err))
	}
	if !slices.ContainsFunc(storetest.Names(), only.MatchString) {
		return nil, withCode(exitUsage, fmt.Errorf("--run %s: no case has such a name; names look like %s", pattern, storetest.Names()[0]))
	}
	return only, nil
}

// target is what the suite has to know.
func (t *pluginTest) target(store *host.Store, spec host.Spec, log zerolog.Logger) storetest.Target {
	t.options.Settings = spec.Settings
	target := storetest.TargetFor(store, t.options)
	target.Described = true
	target.New = func(context.Context) (backends.Store, error) {
		return &unconfigured{Store: host.New(log, spec), spec: spec, log: log}, nil
	}
	target.Configure = func(ctx context.Context, settings backends.Settings) error {
		tried := spec
		tried.Settings = settings
		return host.CheckSettings(ctx, log, tried)
	}
	target.Process = &testedProcess{store: store, spec: spec, log: log}
	if t.put != "" {
		target.Put = t.putByCommand
	}
	return target
}

// judge runs the cases and prints what comes of them.
func (t *pluginTest) judge(ctx context.Context, cmd *cobra.Command, target storetest.Target) error {
	if err := storetest.Precondition(ctx, target); err != nil && ctx.Err() == nil {
		return withCode(exitTemporary, fmt.Errorf("nothing was tested: %w", err))
	}
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.end()
	printer := storetest.NewPrinter(cmd.OutOrStdout())
	printer.Strict = t.strict
	target.Begins = progress.begin
	err := storetest.Check(ctx, target, func(r storetest.Result) { progress.instead(func() { printer.Result(r) }) })
	progress.end()
	rest := 0
	if ctx.Err() != nil {
		rest = t.count() - printer.Ran()
	}
	if printing := printer.Summary(rest); printing != nil {
		return printing
	}
	switch {
	case ctx.Err() != nil:
		return withCode(exitInterrupted, errors.New("the test was broken off"))
	case err != nil:
		return err
	case printer.Failed() > 0:
		return withCode(exitFailure, errTold)
	}
	return nil
}

// count is how many cases --run leaves.
func (t *pluginTest) count() (n int) {
	for _, name := range storetest.Names() {
		if t.options.Only == nil || t.options.Only.MatchString(name) {
			n++
		}
	}
	return n
}

// putByCommand runs --put.
func (t *pluginTest) putByCommand(ctx context.Context, user string, message []byte) error {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/c"
	}
	cmd := exec.CommandContext(ctx, shell, flag, t.put, "put", user)
	cmd.Stdin = bytes.NewReader(message)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("--put: %w: %.300s", err, bytes.TrimSpace(said))
	}
	return nil
}

// unconfigured is a store whose plugin has not been given settings.
type unconfigured struct {
	*host.Store
	spec host.Spec
	log  zerolog.Logger
}

// Describe asks a process that it starts for that, before Configure.
func (u *unconfigured) Describe(ctx context.Context) (backends.Description, error) {
	if u.Status().Ready {
		return u.Store.Describe(ctx)
	}
	return host.DescribeProgram(ctx, u.log, u.spec)
}

// testedProcess is the process of the backend that is tested.
type testedProcess struct {
	store *host.Store
	spec  host.Spec
	log   zerolog.Logger
}

// Kill implements [storetest.Process].
func (p *testedProcess) Kill(ctx context.Context) error { return p.store.KillProcess(ctx) }

// End implements [storetest.Process].
func (p *testedProcess) End(ctx context.Context, way storetest.Ending) error {
	state, err := tempfolder.New("", "plugin-test")
	if err != nil {
		return err
	}
	defer state.Remove() //nolint:errcheck // it is in the folder for such things
	spec := p.spec
	spec.Settings.StateDir = state.Path
	err = host.TryEnding(ctx, p.log, spec, map[storetest.Ending]host.Ending{
		storetest.Shutdown: host.ByShutdown, storetest.Terminate: host.BySIGTERM, storetest.Lifeline: host.ByLifeline,
	}[way])
	if errors.Is(err, host.ErrNoShutdown) {
		return fmt.Errorf("%w: %w", storetest.ErrNoEnding, err)
	}
	return err
}

// spec is what the flags and arguments say about the process to test.
func (t *pluginTest) spec(args []string) (host.Spec, error) {
	if err := t.complete(); err != nil {
		return host.Spec{}, withCode(exitUsage, err)
	}
	settings, err := t.readSettings()
	if err != nil {
		return host.Spec{}, withCode(exitConfig, err)
	}
	command, err := commandOf(args)
	return host.Spec{Store: "test", Command: command, Settings: settings}, err
}

// complete fills in what the flags leave out.
func (t *pluginTest) complete() error {
	o := &t.options
	for _, secret := range []*string{&o.Password, &o.SecondPassword} {
		value, err := config.Secret(*secret, ".", config.Options{})
		if err != nil {
			return err
		}
		*secret = value
	}
	for _, account := range []struct{ user, address *string }{{&o.User, &o.Address}, {&o.SecondUser, &o.SecondAddress}} {
		if *account.address == "" {
			*account.address = *account.user
		}
		if *account.user != "" && !strings.Contains(*account.address, "@") {
			return fmt.Errorf("%s is no address: say which one with --address or --second-address", *account.address)
		}
	}
	return nil
}

// readSettings reads the settings that the store is configured with.
func (t *pluginTest) readSettings() (backends.Settings, error) {
	_, domain, _ := strings.Cut(t.options.Address, "@")
	settings := backends.Settings{Store: "test", Hostname: "dipylon.localhost", Domains: []string{domain}, Raw: []byte("{}")}
	var err error
	if settings.BaseDir, err = filepath.Abs(filepath.Dir(t.settings)); err != nil || t.settings == "" {
		return settings, err
	}
	text, err := os.ReadFile(t.settings)
	if err != nil {
		return settings, fmt.Errorf("reading the settings: %w", err)
	}
	settings.Raw, err = config.ParseSettings(t.settings, settings.BaseDir, text, config.Options{})
	return settings, err
}

// commandOf is the argv of a built-in, by its kind, or of a command.
func commandOf(args []string) ([]string, error) {
	for _, kind := range builtinKinds() {
		if args[0] != kind {
			continue
		}
		if len(args) > 1 {
			return nil, withCode(exitUsage, errors.New("a built-in backend has no arguments"))
		}
		return server.BuiltinCommand(kind)
	}
	return args, nil
}
