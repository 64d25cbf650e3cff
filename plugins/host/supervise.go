package host

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// stable is how long a process has to live for its end to count as the first one.
	stable = time.Minute
	// backOffLeast is the pause before the second restart in a row.
	backOffLeast = 100 * time.Millisecond
)

// try starts one process under a spec and makes it the current one, if that spec still is.
// What went wrong is noted, and the supervisor told.
func (s *Store) try(ctx context.Context, spec Spec, epoch int) error {
	g, err := s.launch(ctx, spec)
	s.mu.Lock()
	if s.closed || s.epoch != epoch { // somebody else's word is newer
		closed := s.closed
		s.mu.Unlock()
		if g != nil {
			g.stop()
		}
		if closed {
			return errClosed
		}
		return nil
	}
	defer s.mu.Unlock()
	if err == nil {
		s.install(g)
		return nil
	}
	s.failures++
	s.lastErr = err
	s.log.Error().Str(eventField, eventPlugin).Str("outcome", "not_ready").Err(err).Msg("the plugin is not ready")
	s.tell()
	s.lose()
	return err
}

// launch starts a process, which ends early when the store is closed.
func (s *Store) launch(ctx context.Context, spec Spec) (*generation, error) {
	s.mu.Lock()
	s.numbers++
	number := s.numbers
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return launch(ctx, s.log, spec, number)
}

// install makes a generation the current one, and watches it. s.mu is held.
func (s *Store) install(g *generation) {
	g.since = time.Now()
	s.said.Store(&g.desc)
	s.current, s.health, s.nextStart = g, nil, time.Time{}
	s.tell()
	g.log.Info().Str(eventField, eventPlugin).Str("outcome", "ready").Str("backend", g.desc.Name).Str("version", g.desc.Version).Msg("the plugin is ready")
	s.work.Go(func() {
		g.watch(func(err error) { s.noteHealth(g, err) })
		<-g.life.Done()
		s.ended(g)
		<-g.gone
	})
}

// tell wakes those who wait for the outcome of a start. s.mu is held.
func (s *Store) tell() {
	close(s.outcome)
	s.outcome = make(chan struct{})
}

func (s *Store) noteHealth(g *generation, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == g {
		s.health = err
	}
}

// ended takes note of the end of a generation.
func (s *Store) ended(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != g || s.closed {
		return
	}
	s.current = nil
	if time.Since(g.since) >= stable {
		s.failures = 0
	}
	s.restarts++
	if s.lastErr = g.death(); !g.spec.Tested { // or it quotes them itself
		s.lastErr = g.withTail(s.lastErr)
	}
	g.log.Error().Str(eventField, eventPlugin).Str("outcome", "ended").Err(s.lastErr).Dur("lived_ms", time.Since(g.since)).Msg("the plugin process has ended, and is started again")
	s.lose()
	s.failures++
}

// lose tells the supervisor that a start is due, and when. s.mu is held.
func (s *Store) lose() {
	s.nextStart = time.Now().Add(backOff(s.failures, s.spec.RestartMost, rand.Float64()))
	select {
	case s.lost <- struct{}{}:
	default:
	}
}

// backOff is the pause before a start after so many ends in a row: none, then 100 ms and twice
// as much each time, less up to a quarter of it, so that stores do not start in step.
func backOff(failures int, most time.Duration, random float64) time.Duration {
	if failures <= 0 {
		return 0
	}
	d := most
	if shift := failures - 1; shift < 30 {
		d = min(most, backOffLeast<<shift)
	}
	return d - time.Duration(float64(d)*random/4)
}

// supervise starts a process whenever there is none.
func (s *Store) supervise() {
	for {
		select {
		case <-s.life.Done():
			return
		case <-s.lost:
		}
		for {
			spec, epoch, due := s.due()
			if due < 0 {
				break
			}
			pause := time.NewTimer(due)
			select {
			case <-s.life.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			_ = s.try(s.life, spec, epoch) // noted there
		}
	}
}

// due is in how long which process is to be started; negative: there is one.
func (s *Store) due() (Spec, int, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil || s.closed {
		return Spec{}, 0, -1
	}
	return s.spec, s.epoch, max(0, time.Until(s.nextStart))
}
