package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// ErrPluginDied is the cause of failures of calls whose plugin process ended under them. Where nobody has asked it to,
// [backends.ErrCrashed] is one, too.
var ErrPluginDied = errors.New("the plugin died")

// errCrashed ends the life of a process that nobody has asked to end, also of one that was killed as it hung.
var errCrashed = fmt.Errorf("%w: %w", ErrPluginDied, backends.ErrCrashed)

// ErrNotReady is the cause of failures of calls made while no plugin process is ready.
var ErrNotReady = errors.New("no plugin process is ready")

// generation is one plugin process, from its start to its end, and the connection to it. It is
// in use as long as somebody holds it; one that is retired ends with its last user.
type generation struct {
	log    zerolog.Logger
	number int
	spec   Spec
	desc   backends.Description
	since  time.Time

	launcher *launcher
	proc     *process
	conn     *grpc.ClientConn
	stub     pb.StoreClient
	files    *fileSocket // nil: there is none
	small    *deliveries // messages that need no stream of their own
	vault    *vaultServer
	resolved holding   // recipients
	noted    sync.Once // that a file could not be taken over

	metrics atomic.Pointer[[]backends.Metric] // of the last health check; nil: there was none
	// warnings are of the last health check, too.
	warnings atomic.Pointer[[]backends.Warning]

	// life ends when the process has ended or is being ended.
	life context.Context
	end  context.CancelCauseFunc

	pulse pulse

	rests    rests
	parkings atomic.Uint64 // numbers given out

	mu      sync.Mutex
	users   int
	retired bool
	// maildrops are open now.
	maildrops int
	watched   map[*maildrop]struct{} // whose end somebody waits for
	retiring  chan struct{}          // closed when retired
	idle      chan struct{}          // closed when retired and without users
	stopped   sync.Once
	gone      chan struct{} // closed when nothing is left of it
	work      sync.WaitGroup
}

// newGeneration takes a connected process over: two goroutines read what it prints and wait
// for its end.
func newGeneration(l *launcher, conn *grpc.ClientConn) *generation {
	g := &generation{
		log: l.log.With().Int("pid", l.run.Load().pid()).Logger(), number: l.number, spec: l.spec,
		launcher: l, proc: l.run.Load(), conn: conn, stub: pb.NewStoreClient(conn),
		files:    l.run.Load().files,
		retiring: make(chan struct{}), idle: make(chan struct{}), gone: make(chan struct{}),
	}
	g.small = &deliveries{g: g}
	g.rests.g = g
	g.vault = &vaultServer{g: g, vault: l.spec.Settings.Vault, leases: make(map[string]heldLease)}
	g.life, g.end = context.WithCancelCause(context.Background())
	context.AfterFunc(g.life, g.tellLosses)
	g.work.Go(g.readStdio)
	if g.spec.Abandoned != nil {
		g.work.Go(g.awaitAbandonment)
	}
	go g.reap()
	return g
}

// reap waits for the end of the process and takes away what it leaves.
func (g *generation) reap() {
	<-g.proc.exited
	g.end(errCrashed)
	_ = g.conn.Close()
	g.small.close()
	g.vault.close()
	g.work.Wait()
	for !g.launcher.client.Exited() { // go-plugin's goroutines are about to see it, too
		time.Sleep(time.Millisecond)
	}
	g.launcher.cleanUp()
	close(g.gone)
}

// awaitAbandonment kills the process once nobody wants it any more.
func (g *generation) awaitAbandonment() {
	select {
	case <-g.spec.Abandoned:
		_ = g.proc.Kill(context.Background())
	case <-g.proc.exited:
	}
}

// acquire makes the caller a user.
func (g *generation) acquire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users++
}

// inUse is how many users there are now.
func (g *generation) inUse() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.users
}

func (g *generation) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users--
	if g.retired && g.users == 0 {
		close(g.idle)
	}
}

// retire lets the process end with its last user, or when the drain time-out is over, or when
// ctx ends.
func (g *generation) retire(ctx context.Context) {
	g.mu.Lock()
	g.retired = true
	close(g.retiring)
	users := g.users
	if users == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	if users > 0 {
		g.log.Info().Str(eventField, eventPlugin).Str("outcome", "replaced").Int("users", users).Msg("the old plugin process ends with its last session")
		var telling sync.WaitGroup
		defer telling.Wait()
		ctx, cancel := context.WithCancel(g.life)
		defer cancel()
		telling.Go(func() { g.tellOfDrain(ctx) })
	}
	timeout := time.NewTimer(g.spec.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-g.idle:
	case <-g.life.Done():
	case <-ctx.Done():
	case <-timeout.C:
		g.log.Warn().Dur("drain_timeout_ms", g.spec.DrainTimeout).Msg("the old plugin process is ended under its sessions")
	}
	g.stop()
}

// tellOfDrain tells the process that another one has taken its place. Plugins need not listen.
func (g *generation) tellOfDrain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.spec.CallTimeout)
	defer cancel()
	if _, err := g.stub.Drain(ctx, &pb.DrainRequest{}); err != nil && status.Code(err) != codes.Unimplemented && ctx.Err() == nil {
		g.log.Warn().Err(err).Msg("the old plugin process could not be told that it drains")
	}
}

// stop ends the process: it is asked to shut down, and killed when it does not. What it has a lease for in the vault it may
// put there before. It returns when nothing is left of it.
func (g *generation) stop() {
	g.stopped.Do(func() {
		g.vault.settle()
		g.end(ErrPluginDied)
		if g.askToEnd() {
			return
		}
		g.log.Warn().Dur("stop_timeout_ms", g.spec.StopTimeout).Msg("the plugin does not end: it is killed")
		_ = g.proc.Kill(context.Background())
	})
	<-g.gone
}

// kill ends the process without asking, and returns when nothing is left of it.
func (g *generation) kill() {
	g.stopped.Do(func() {
		g.end(ErrPluginDied)
		_ = g.proc.Kill(context.Background())
	})
	<-g.gone
}

// askToEnd says whether the process ended in good order.
func (g *generation) askToEnd() bool {
	timeout := time.NewTimer(g.spec.StopTimeout)
	defer timeout.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), min(2*time.Second, g.spec.StopTimeout))
	defer cancel()
	err := g.conn.Invoke(ctx, wire.ShutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	if err != nil && status.Code(err) != codes.Unavailable { // it went away while it answered
		g.proc.terminate()
	}
	_ = g.proc.lifeline.Close()
	select {
	case <-g.proc.exited:
		return true
	case <-timeout.C:
		return false
	}
}

// deathSeen is how long after a lost connection the end of its process is waited for: the
// connection is lost first, by some milliseconds, and by what a pipe is still read for where a child
// of the process holds it.
const deathSeen = lingering + time.Second

// failure makes the error of a call: the caller's own end, the plugin's failure, or the death
// of the plugin.
func (g *generation) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return backends.AsFailure(ctx.Err())
	}
	code := status.Code(err)
	if !convert.IsTransport(err) && code != codes.Canceled {
		return convert.ErrorFromStatus(err)
	}
	wait := time.NewTimer(deathSeen)
	defer wait.Stop()
	select {
	case <-g.life.Done():
		return g.death()
	case <-wait.C:
		return convert.ErrorFromStatus(err)
	case <-ctx.Done():
		return backends.AsFailure(ctx.Err())
	}
}

// death is the failure of a call that the process did not live to answer.
func (g *generation) death() *backends.Failure {
	select {
	case <-g.proc.exited:
		return backends.Fail(backends.Temporary, "plugin process %d of store %q: %w (%s)%s", g.proc.pid(), g.spec.Store, context.Cause(g.life), g.proc.status(), g.lastWords())
	default:
		return backends.Fail(backends.Temporary, "plugin process %d of store %q was ended: %w", g.proc.pid(), g.spec.Store, ErrPluginDied)
	}
}

// lastWords are for the plugin's author. In the gateway's log they stand once, where the process
// has ended, and not with each of its sessions.
func (g *generation) lastWords() string {
	if tail := g.launcher.output.tail(); g.spec.Tested && tail != "" {
		return "; its last words: " + tail
	}
	return ""
}

func (g *generation) withTail(err error) error {
	select {
	case <-g.proc.exited:
		return g.launcher.withTail(err)
	default:
		return err
	}
}

// watch asks for the plugin's health until the process ends, and kills it when neither that nor
// any call is answered any more. A plugin that answers that its store is not well is well itself.
func (g *generation) watch(told func(error)) {
	tick := time.NewTicker(g.spec.HealthInterval)
	defer tick.Stop()
	silent := silence{spec: g.spec}
	for silent.broken(&g.pulse); ; {
		select {
		case <-g.life.Done():
			return
		case <-tick.C:
		}
		sick, err := g.askHealth(g.life)
		if g.life.Err() != nil {
			return
		}
		if err == nil {
			silent.broken(&g.pulse)
			told(sick)
			continue
		}
		told(err)
		hangs := silent.grows(&g.pulse, g.inUse())
		g.log.Warn().Err(err).Int("in_a_row", silent.row).Msg("the plugin does not answer a health check")
		if hangs {
			g.log.Error().Str(eventField, eventPlugin).Str("outcome", "hangs").Msg("the plugin hangs: it is killed")
			_ = g.proc.Kill(context.Background())
			return
		}
	}
}

// askHealth returns what the store says of itself, and apart from it whether the plugin
// answered at all.
func (g *generation) askHealth(ctx context.Context) (sick, err error) {
	call, cancel := context.WithTimeout(ctx, g.spec.HealthTimeout)
	defer cancel()
	m, err := g.stub.Health(call, &pb.HealthRequest{})
	if err != nil && (call.Err() != nil || convert.IsTransport(err)) {
		return nil, fmt.Errorf("health: %w", g.failure(call, err))
	}
	if err != nil {
		return convert.ErrorFromStatus(err), nil
	}
	metrics := convert.MetricsFromProto(m.GetMetrics())
	g.metrics.Store(&metrics)
	warnings := convert.WarningsFromProto(m.GetWarnings())
	g.warnings.Store(&warnings)
	if f := convert.FailureFromProto(m.GetFailure()); f != nil {
		return f, nil
	}
	return nil, nil
}
