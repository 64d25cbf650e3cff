package serve

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// parked are the sessions that rest: they have no stream, no goroutine and no context, but for the backend's maildrop. The gateway, which
// has as many sessions open as it has admitted, gives each a number. The zero value is ready.
type parked struct {
	mu    sync.Mutex
	drops map[uint64]backends.Maildrop
	ended bool // the plugin ends: nothing is parked any more
}

// put keeps a maildrop. It says whether it could: a number is not used twice.
func (p *parked) put(number uint64, drop backends.Maildrop) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.drops[number]; taken || p.ended {
		return false
	}
	if p.drops == nil {
		p.drops = make(map[uint64]backends.Maildrop)
	}
	p.drops[number] = drop
	return true
}

// take gives a maildrop to whoever asks first; nil: there is none.
func (p *parked) take(number uint64) backends.Maildrop {
	p.mu.Lock()
	defer p.mu.Unlock()
	drop := p.drops[number]
	delete(p.drops, number)
	return drop
}

// end gives all that there are, and none can be put any more.
func (p *parked) end() map[uint64]backends.Maildrop {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.drops
	p.drops, p.ended = nil, true
	return all
}

// park puts the session away, and answers. What is under way keeps it here, which the gateway should have seen.
func (m *maildrop) park(id uint64, frame *pb.Park) error {
	m.mu.Lock()
	under := len(m.tasks)
	m.mu.Unlock()
	if under > 0 {
		return m.done(id, backends.Fail(backends.InUse, "%d requests are under way", under))
	}
	m.work.Wait()          // what has sent its last frame returns at once
	m.service.calls.hold() // until it is taken
	if !m.service.parked.put(frame.GetNumber(), m.drop) {
		m.service.calls.end()
		return m.done(id, backends.Fail(backends.Temporary, "the session cannot be parked under %d", frame.GetNumber()))
	}
	if err := m.done(id, nil); err != nil && m.service.unpark(frame.GetNumber()) != nil {
		return err // nobody can have been told, and nobody has come for it
	}
	return errParked
}

// unpark gives the maildrop that is parked under a number; nil: there is none.
func (s *service) unpark(number uint64) backends.Maildrop {
	drop := s.parked.take(number)
	if drop != nil {
		s.calls.end()
	}
	return drop
}

// closeParked closes what rests when the plugin ends. Its gateway is gone, or has given the sessions up.
func (s *service) closeParked() {
	for _, drop := range s.parked.end() {
		go func() {
			defer s.calls.end()
			if err := s.guard("Maildrop.Close", drop.Close); err != nil {
				s.log.Warn().Err(err).Msg("a maildrop that rested was not closed cleanly")
			}
		}()
	}
}
