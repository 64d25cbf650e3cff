package jmap

import (
	"sync"
)

// wrongMost bounds how many messages are remembered whose sizes are wrong.
const wrongMost = 10_000

// sizes are what has been found out about the server's sizes: those of a message with a bare LF, or
// without a last CRLF, are not what POP3 sends. What is wrong with one message counts for itself
// alone, until most that were looked at are wrong. The zero value is ready.
type sizes struct {
	mu               sync.Mutex
	wrong            map[wrongKey]struct{}
	agreed, differed int
}

type wrongKey struct{ account, id string }

// note compares the octets of a message that came with what the server had said of it.
func (s *sizes) note(b *blob, octets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := wrongKey{b.maildrop.account.ID, b.id}
	_, known := s.wrong[key]
	switch {
	case octets == b.size:
		s.agreed++
		return
	case known:
		return
	}
	s.differed++
	if s.wrong == nil || len(s.wrong) >= wrongMost {
		s.wrong = make(map[wrongKey]struct{})
	}
	s.wrong[key] = struct{}{}
	b.maildrop.store.log.Warn().Str("account", key.account).Str("id", b.id).Int64("told", b.size).Int64("came", octets).
		Msg("a message has another size, as it is sent by POP3, than the JMAP server says; \"sizes: measure\" in the policy is advised")
}

// exact says whether the server's size of a message is taken for exact.
func (s *sizes) exact(account, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, wrong := s.wrong[wrongKey{account, id}]
	return !wrong && !s.estimates()
}

// areEstimates says that most sizes were wrong.
func (s *sizes) areEstimates() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.estimates()
}

func (s *sizes) estimates() bool { return s.differed >= 2 && s.differed > s.agreed }
