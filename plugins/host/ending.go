package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// Ending is a way to ask a plugin's process to end.
type Ending int

// The ways: each of them has to do by itself.
const (
	ByShutdown Ending = iota // the call
	BySIGTERM
	ByLifeline // the end of standard input
)

var (
	// ErrNoShutdown is a plugin that does not offer the call, and need not.
	ErrNoShutdown = errors.New("it does not offer Shutdown")
	errStubborn   = errors.New("it did not end, and was killed")
)

// TryEnding starts a plugin, asks it to end in one way alone, and tells whether it did within its
// stop time-out. It is for tests of plugins: [Store.Close] uses every way.
func TryEnding(ctx context.Context, log zerolog.Logger, spec Spec, way Ending) error {
	spec = spec.withDefaults()
	g, err := launch(ctx, log.With().Str("store", spec.Store).Logger(), spec, 0)
	if err != nil {
		return err
	}
	defer g.kill()
	switch way {
	case ByShutdown:
		call, cancel := context.WithTimeout(ctx, spec.StopTimeout)
		defer cancel()
		err := g.conn.Invoke(call, wire.ShutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) == codes.Unimplemented {
			return ErrNoShutdown
		}
	case BySIGTERM:
		g.proc.terminate()
	case ByLifeline:
		_ = g.proc.lifeline.Close()
	}
	wait := time.NewTimer(spec.StopTimeout)
	defer wait.Stop()
	select {
	case <-g.proc.exited:
		return nil
	case <-wait.C:
		return fmt.Errorf("%w after %v", errStubborn, spec.StopTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// KillProcess ends the current process as kill -9 does, and returns when another one is ready. It
// is for tests of plugins.
func (s *Store) KillProcess(ctx context.Context) error {
	s.mu.Lock()
	g, before := s.current, s.numbers
	s.failures = 0 // the next start is not delayed by this
	s.mu.Unlock()
	if g == nil {
		return ErrNotReady
	}
	_ = g.proc.Kill(ctx)
	<-g.life.Done()
	for {
		s.mu.Lock()
		ready, outcome := s.current != nil && s.numbers > before && s.current != g, s.outcome
		s.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-outcome:
		case <-ctx.Done():
			return backends.AsFailure(ctx.Err())
		}
	}
}

// DescribeProgram starts a plugin, asks what it says of itself before it is configured, and
// ends it.
func DescribeProgram(ctx context.Context, log zerolog.Logger, spec Spec) (backends.Description, error) {
	spec = spec.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, spec.StartTimeout)
	defer cancel()
	l := &launcher{log: log.With().Str("store", spec.Store).Logger(), spec: spec}
	g, err := l.connect(ctx)
	if err != nil {
		return backends.Description{}, err
	}
	defer g.stop()
	if err := g.awaitServing(ctx); err != nil {
		return backends.Description{}, err
	}
	if err := g.describe(ctx); err != nil {
		return backends.Description{}, err
	}
	return g.desc, nil
}
