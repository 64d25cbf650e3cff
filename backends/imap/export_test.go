package imap

import "time"

// SetClock has the age of tokens told by another clock. It is called before Configure.
func SetClock(s *Store, now func() time.Time) { s.clock = now }

// SetCopyTimes has copies for Sent folders looked for so often, and a server's own waited for so long. It is called before Configure.
func SetCopyTimes(s *Store, every, wait time.Duration) {
	s.copyTimes = func() (time.Duration, time.Duration) { return every, wait }
}

// NewPaces bounds APPENDs, and gives what says how far away a mailbox's turn is.
func NewPaces(perSecond int) func(mailbox string, now time.Time) time.Duration {
	return (&paces{perSecond: perSecond}).turn
}
