package state

import "time"

// Micros is a time as the database has it, in microseconds since 1970; 0: none.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// TimeOf is a time that the database has in microseconds since 1970, in UTC; zero: none.
func TimeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
