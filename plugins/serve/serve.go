// Package serve is the plugin's end of the process boundary. All that a backend's main needs
// is
//
//	func main() { serve.Store(mystore.New()) }
//
// Store runs until the gateway ends it: it answers the handshake on standard output, listens
// on a socket of the gateway's choosing, and turns each call into one of the backend's
// methods. It fills in the capabilities of the description, recovers a panic in a call into a
// temporary failure of that call, closes a maildrop when its stream ends, however it ends, and
// closes the store, when every call has ended, before the process does.
//
// Standard output belongs to the handshake and standard error to the log, whose lines the
// gateway takes up: [Logger] writes them in the form it reads.
package serve

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// graceDefault is how long calls, and then the store's Close, have to come to an end.
const graceDefault = 4 * time.Second

type options struct {
	log   zerolog.Logger
	grace time.Duration
}

// Option changes how a store is served.
type Option func(*options)

// WithLogger takes another logger than [Logger] for what goes wrong in serving itself.
func WithLogger(log zerolog.Logger) Option { return func(o *options) { o.log = log } }

// WithGrace bounds how long the calls under way have to end when the gateway ends the plugin,
// and again how long the store's Close has. The gateway waits about ten seconds before it
// kills the process. Default: 4 s.
func WithGrace(d time.Duration) Option { return func(o *options) { o.grace = d } }

// Store serves a store to the gateway that started this process, and ends the process
// when the gateway says so or is gone. It does not return. Started by anybody else, it says
// what the program is for and ends with code 1.
func Store(s backends.Store, opts ...Option) {
	o := options{log: Logger(), grace: graceDefault}
	for _, opt := range opts {
		opt(&o)
	}
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		byHand(os.Stderr, filepath.Base(os.Args[0]))
		os.Exit(1)
	}
	os.Exit(run(s, o))
}

func byHand(w io.Writer, program string) {
	_, _ = fmt.Fprintf(w, `This is a mail store for the Dipylon gateway, and runs as a child of it.
Name it in the gateway's configuration:

    stores:
      - name: mine
        plugin: {command: [/path/to/%s]}
        domains: [example.org]

or try it out:  dipylon plugin test /path/to/%s
`, program, program)
}

func run(store backends.Store, o options) int {
	s := newService(store, o.log)
	s.files = openFileSocket()
	done := make(chan struct{})
	defer close(done)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	defer signal.Stop(signals)

	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         plugin.PluginSet{"store": &storePlugin{service: s}},
		Logger: hclog.New(&hclog.LoggerOptions{
			Name: "go-plugin", Output: stderr, JSONFormat: true, Level: hclog.Warn,
		}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, wire.ServerOptions()...)
			opts = append(opts, grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.streaming))
			server := grpc.NewServer(opts...)
			go stopOnSignal(server, signals, done)
			go stopWithGateway(server, s, o, done)
			return server
		},
	})
	return shutDown(s, o)
}

// shutDown lets the calls under way and the sessions that rest end, and closes the store.
func shutDown(s *service, o options) int {
	s.closeParked()
	if !s.calls.drain(o.grace) {
		o.log.Warn().Dur("grace_ms", o.grace).Msg("calls are still under way at the end of the grace period")
	}
	closed := make(chan error, 1)
	go func() { closed <- s.closeStore() }()
	select {
	case err := <-closed:
		if err != nil {
			o.log.Warn().Err(err).Msg("the store was not closed cleanly")
			return 1
		}
		return 0
	case <-time.After(o.grace):
		o.log.Warn().Dur("grace_ms", o.grace).Msg("the store does not close")
		return 1
	}
}

// stopOnSignal makes SIGTERM an orderly end. (go-plugin swallows SIGINT, which a terminal
// sends to gateway and plugins alike: the gateway decides.)
func stopOnSignal(server *grpc.Server, signals <-chan os.Signal, done <-chan struct{}) {
	select {
	case <-signals:
		server.Stop()
	case <-done:
	}
}

// stopWithGateway ends the process when the gateway is gone: by the lifeline where there is
// one, or by the parent's change. Nobody is left to kill a store that hangs, so there is a
// hard end as well.
func stopWithGateway(server *grpc.Server, s *service, o options, done <-chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		awaitGateway(done)
	}()
	select {
	case <-gone:
	case <-done:
		return
	}
	if !s.ending.Load() { // it closes the lifeline after it has asked
		o.log.Warn().Msg("the gateway is gone")
	}
	time.AfterFunc(3*o.grace, func() { os.Exit(1) })
	server.Stop()
}

// parentEvery is how often the parent is looked at where there is no lifeline.
const parentEvery = time.Second

func awaitGateway(done <-chan struct{}) {
	if os.Getenv(wire.LifelineKey) == wire.LifelineStdin {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the pipe, whose other end the gateway holds
		return
	}
	parent := os.Getppid()
	tick := time.NewTicker(parentEvery)
	defer tick.Stop()
	for os.Getppid() == parent {
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}
