package jmap

import (
	"context"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// slots lets only so many things of one name go on at a time, over all sessions. The zero value
// is ready; it holds nothing for names of which nothing goes on.
type slots struct {
	mu   sync.Mutex
	busy map[string]*slot
}

type slot struct {
	places chan struct{}
	users  int // who have a place or wait for one
}

// take waits for a place, of which there are most, and returns what frees it.
func (s *slots) take(ctx context.Context, name string, most int64) (free func(), err error) {
	mine := s.enter(name, int(min(most, 1024)))
	select {
	case mine.places <- struct{}{}:
		return func() {
			<-mine.places
			s.leave(name)
		}, nil
	case <-ctx.Done():
		s.leave(name)
		return nil, backends.Fail(backends.Temporary, "wait for other requests of the account: %w", context.Cause(ctx))
	}
}

func (s *slots) enter(name string, most int) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = make(map[string]*slot)
	}
	mine, ok := s.busy[name]
	if !ok {
		mine = &slot{places: make(chan struct{}, max(1, most))}
		s.busy[name] = mine
	}
	mine.users++
	return mine
}

func (s *slots) leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[name].users--
	if s.busy[name].users == 0 {
		delete(s.busy, name)
	}
}
