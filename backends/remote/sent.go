package remote

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// Sent remembers, for the last messages that a store's transport was given, who was sent them: for
// a transport that cannot be asked. The zero value is ready.
type Sent struct {
	mu    sync.Mutex
	known map[sentKey]map[string]struct{} // recipients
	order []sentKey                       // oldest first
}

type sentKey struct{ account, key string }

// sentMost is how many messages are remembered.
const sentMost = 4096

// Left are those of a delivery's recipients to whom it has not been sent under its key.
func (s *Sent) Left(account string, d backends.Delivery) (left []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[sentKey{account, d.Key}]
	for _, r := range backends.Addresses(d.Recipients) {
		if _, sent := known[r]; !sent || !d.Retry {
			left = append(left, r)
		}
	}
	return left
}

// Note remembers whom a message was sent to, and gives the verdicts on all of the delivery's
// recipients: those that Left has left out have their message.
func (s *Sent) Note(account string, d backends.Delivery, verdicts []backends.Verdict) []backends.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]backends.Verdict)
	key := sentKey{account, d.Key}
	for _, v := range verdicts {
		if now[v.Recipient] = v; v.Failure == nil {
			s.add(key, v.Recipient)
		}
	}
	all := make([]backends.Verdict, len(d.Recipients))
	for i, r := range backends.Addresses(d.Recipients) {
		all[i] = now[r]
		all[i].Recipient = r
	}
	return all
}

// Add notes that recipients were sent a message, as another process has told.
func (s *Sent) Add(account, key string, recipients ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recipients {
		s.add(sentKey{account, key}, r)
	}
}

func (s *Sent) add(key sentKey, recipient string) {
	if s.known == nil {
		s.known = make(map[sentKey]map[string]struct{})
	}
	if s.known[key] == nil {
		s.known[key] = make(map[string]struct{})
		if s.order = append(s.order, key); len(s.order) > sentMost {
			delete(s.known, s.order[0])
			s.order = s.order[1:]
		}
	}
	s.known[key][recipient] = struct{}{}
}
