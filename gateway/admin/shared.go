package admin

import "sync"

// shared gives one answer to all who ask while it is made: anybody may ask whether a gateway is ready, as often as
// they want, and its database is asked once at a time.
type shared struct {
	mu    sync.Mutex
	asked *question // nil: nobody asks
}

type question struct {
	answered chan struct{}
	err      error
}

func (s *shared) ask(f func() error) error {
	s.mu.Lock()
	q := s.asked
	first := q == nil
	if first {
		q = &question{answered: make(chan struct{})}
		s.asked = q
	}
	s.mu.Unlock()
	if !first {
		<-q.answered
		return q.err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = nil
		close(q.answered)
	}()
	q.err = f()
	return q.err
}
