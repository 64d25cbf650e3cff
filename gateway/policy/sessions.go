package policy

import (
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// Sessions counts the sessions of accounts in this process. The zero value is ready.
type Sessions struct {
	mu    sync.Mutex
	count map[[2]string]int // by store and account
}

// Enter counts a session in, and gives what counts it out again, once. One that is over the limit
// fails as a maildrop that is in use.
func (s *Sessions) Enter(storeName, account string, most int) (leave func(), err error) {
	key := [2]string{storeName, account}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[key] >= most {
		return nil, backends.Fail(backends.InUse, "the account has %d sessions", s.count[key]).Say("this mailbox has too many sessions")
	}
	if s.count == nil {
		s.count = make(map[[2]string]int)
	}
	s.count[key]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.count[key]--; s.count[key] == 0 {
			delete(s.count, key)
		}
	}), nil
}
