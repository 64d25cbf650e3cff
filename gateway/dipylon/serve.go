package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"sync"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
)

func newServe() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or SIGINT, which let sessions finish what they are at; a second
one ends it at once. SIGHUP makes it read its configuration again: what is wrong is logged
and changes nothing, and no session is dropped.

Without a configuration file there is a mail server to try out: a Maildir store in the folder
"mail", a self-signed certificate, ports of the loopback address, and one account, whose password
is printed when it is made.

The log goes to the standard error output, the addresses to the standard output.`,
		Example: `  dipylon serve
  dipylon serve --config /etc/dipylon/dipylon.yaml`,
		Args: cobra.NoArgs,
		RunE: action(func(cmd *cobra.Command, _ []string) error { return serveUntilTold(cmd, &from) }),
	}
	from.configFlag(cmd)
	return cmd
}

func serveUntilTold(cmd *cobra.Command, from *source) error {
	soft := harden() // before there is a secret in memory
	if err := from.find(); err != nil {
		return err
	}
	cfg, err := from.load()
	if err != nil {
		return configError(cmd, err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, slices.Concat(stopSignals(), reloadSignals())...)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(cmd.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	keepPace()
	work.Go(func() { rest(ctx) })
	gate := &levelGate{track: track.NewRecorder()}
	log := newLog(cmd.ErrOrStderr(), cfg.Log, gate)
	defer gate.flush()
	log.Info().Str("version", buildInfo().Version).Str("config", cfg.Name()).Msg("starting")
	if soft != nil {
		log.Info().Err(soft).Msg("this system does not let the gateway give up rights that it does not need")
	}
	g, err := server.New(ctx, server.Options{Log: log, Version: buildInfo().Version, SetLevel: gate.set, Track: gate.track}, cfg)
	if err != nil {
		return serveError(cmd, err)
	}
	r := &runner{gateway: g, cmd: cmd, log: log, source: from, signals: signals, cancel: cancel}
	err = r.run(ctx)
	r.stop()
	return serveError(cmd, err)
}

// serveError gives the end of the gateway its exit status.
func serveError(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		return configError(cmd, wrong)
	}
	if _, unusable := errors.AsType[*state.Unusable](err); unusable || errors.Is(err, server.ErrTemporary) {
		return stateError(err)
	}
	return err
}

// runner is the gateway's one thread of control: it runs, reloads and stops as signals say.
type runner struct {
	gateway *server.Server
	cmd     *cobra.Command
	log     zerolog.Logger
	source  *source
	signals chan os.Signal
	cancel  context.CancelFunc // of Run, and of a reload
	account *account
}

// run returns when the gateway is to stop.
func (r *runner) run(ctx context.Context) error {
	if r.source.builtIn() {
		var err error
		if r.account, err = firstAccount(ctx, r.gateway.Snapshot().Config); err != nil {
			return err
		}
	}
	running := spawn(func() error { return r.gateway.Run(ctx) })
	err := r.obey(ctx, running)
	r.cancel()
	return errors.Join(err, <-running)
}

// obey does what signals say until the gateway is to stop, or has ended.
func (r *runner) obey(ctx context.Context, running chan error) error {
	var reloading <-chan error // nil: none
	defer func() {
		r.cancel()
		if reloading != nil {
			<-reloading // it is not wanted any more, and neither is its error
		}
	}()
	starting, again := r.gateway.Ready(), false
	for {
		select {
		case <-starting:
			starting = nil
			r.ready()
		case err := <-reloading:
			reloading = nil
			r.reloaded(err)
		case err := <-running:
			running <- nil
			return err
		case sig := <-r.signals:
			if !slices.Contains(reloadSignals(), sig) {
				r.log.Info().Stringer("signal", sig).Msg("stopping")
				return nil
			}
			again = true
		}
		if again && starting == nil && reloading == nil {
			reloading, again = r.reload(ctx), false
		}
	}
}

// spawn does something that takes a while beside the waiting for signals.
func spawn(f func() error) chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

// ready tells everybody that the gateway serves.
func (r *runner) ready() {
	r.notify("READY=1")
	r.log.Info().Msg("ready")
	r.greet()
}

// reload reads the configuration and puts it to use.
func (r *runner) reload(ctx context.Context) <-chan error {
	r.notify(reloading()...)
	return spawn(func() error {
		cfg, err := r.source.load()
		if err != nil {
			return err
		}
		return r.gateway.Reload(ctx, cfg)
	})
}

// reloaded logs how a reload went. Whatever it was, the gateway goes on.
func (r *runner) reloaded(err error) {
	r.notify("READY=1")
	wrong, ok := errors.AsType[*config.Error](err)
	switch {
	case err == nil:
		r.log.Info().Str("config", r.gateway.Snapshot().Config.Name()).Msg("the configuration is reloaded")
	case ok:
		for _, p := range wrong.Problems {
			r.log.Error().Str("at", p.Position.String()).Str("path", p.Path).Str("suggestion", p.Suggest).Msg(p.Text)
		}
		r.log.Error().Int("problems", len(wrong.Problems)).Msg("the configuration is not reloaded: the old one stays")
	default:
		r.log.Error().Err(err).Msg("the configuration is not reloaded: the old one stays")
	}
}

// stop lets sessions finish what they are at, for a time. A second signal cuts that short.
func (r *runner) stop() {
	r.notify("STOPPING=1")
	ctx, cancel := context.WithTimeout(context.Background(), r.gateway.Snapshot().Config.Timeouts.Drain.Std())
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := r.gateway.Shutdown(ctx); err != nil {
			r.log.Warn().Err(err).Msg("some sessions had to be cut off")
		}
	}()
	for {
		select {
		case <-stopped:
			r.log.Info().Msg("stopped")
			return
		case sig := <-r.signals:
			if slices.Contains(stopSignals(), sig) {
				r.log.Warn().Stringer("signal", sig).Msg("stopping at once")
				cancel()
			}
		}
	}
}

func (r *runner) notify(state ...string) {
	if err := notify(state...); err != nil {
		r.log.Warn().Err(err).Msg("the service manager was not told")
	}
}
