package host

import (
	"context"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Hints are a matter of a moment now and then. More than hintsMost in hintsWithin are a flood: the
// rest of that time passes before the next one is read, and the plugin waits.
const (
	hintsMost   = 200
	hintsWithin = time.Second
)

func isWatcher(c backends.Capabilities) bool { return c.Watcher }

var errRetired = errors.New("another process has taken over")

// Watch implements [backends.Watcher]. It ends with the process that is current at the call;
// [Store.Follow] goes on with the next.
func (s *Store) Watch(ctx context.Context, tell func(backends.Hint)) error {
	g, err := s.use(ctx)
	if err != nil {
		return err
	}
	g.release() // nobody's session: a process that is replaced does not wait for it
	if !isWatcher(g.desc.Capabilities) {
		return g.lacks()
	}
	return g.watchHints(ctx, tell)
}

// watchHints passes a process's hints on until ctx, the process or its service is over.
func (g *generation) watchHints(ctx context.Context, tell func(backends.Hint)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.life, func() { cancel(ErrPluginDied) })()
	go func() {
		select {
		case <-g.retiring:
			cancel(errRetired)
		case <-ctx.Done():
		}
	}()
	stream, err := g.stub.Watch(ctx, &pb.WatchRequest{})
	if err != nil {
		return g.failure(ctx, err)
	}
	begin, told := time.Now(), 0
	for {
		m, err := stream.Recv()
		switch {
		case isEOF(err):
			return backends.Fail(backends.Temporary, "the plugin has stopped telling of changes")
		case err != nil:
			return g.failure(ctx, err)
		}
		hint := convert.HintFromProto(m)
		if hint.Kind != backends.HintNewMail {
			g.resolved.forget()
		}
		tell(hint)
		if told++; told < hintsMost {
			continue
		}
		select {
		case <-time.After(time.Until(begin.Add(hintsWithin))):
			begin, told = time.Now(), 0
		case <-ctx.Done():
			return backends.AsFailure(context.Cause(ctx))
		}
	}
}

// Follow calls tell for the hints of one process after the other, one at a time, until ctx ends or the
// store is closed. What may have changed while nobody watched is told as [backends.HintAny]: at the
// start, and whenever the watching was broken off. A store that tells nothing is followed in silence.
func (s *Store) Follow(ctx context.Context, tell func(backends.Hint)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	for failures := 0; ; {
		g := s.await(ctx)
		if g == nil {
			return
		}
		if !isWatcher(g.desc.Capabilities) {
			g.awaitSuccessor(ctx)
			continue
		}
		begin := time.Now()
		tell(backends.Hint{})
		err := g.watchHints(ctx, tell)
		if ctx.Err() != nil || g.life.Err() != nil || g.isRetired() {
			failures = 0
			continue
		}
		if failures++; time.Since(begin) > stable {
			failures = 1
		}
		pause := backOff(failures, g.spec.RestartMost, 0)
		g.log.Warn().Err(err).Dur("pause_ms", pause).Msg("the store does not tell of changes any more, and is asked again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// await waits for a process that is ready; nil: ctx is over.
func (s *Store) await(ctx context.Context) *generation {
	for ctx.Err() == nil {
		s.mu.Lock()
		g, outcome := s.current, s.outcome
		s.mu.Unlock()
		if g != nil && g.life.Err() == nil && !g.isRetired() {
			return g
		}
		select {
		case <-outcome:
		case <-ctx.Done():
		}
	}
	return nil
}

// awaitSuccessor waits until the process is over, or another one has taken over.
func (g *generation) awaitSuccessor(ctx context.Context) {
	select {
	case <-g.retiring:
	case <-g.life.Done():
	case <-ctx.Done():
	}
}

func (g *generation) isRetired() bool {
	select {
	case <-g.retiring:
		return true
	default:
		return false
	}
}
