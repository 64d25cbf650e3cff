package exchange

import "time"

// Patient gives the server time to end session contexts, however busy the machine is.
func Patient(s *Store) { s.disconnectMost = time.Minute }
