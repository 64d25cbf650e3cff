package imap

import "time"

// SetClock has the age of tokens told by another clock. It is called before Configure.
func SetClock(s *Store, now func() time.Time) { s.clock = now }
