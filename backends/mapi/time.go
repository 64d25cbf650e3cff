package mapi

import (
	"math"
	"time"
)

// Time is a PtypTime: the count of intervals of 100 ns since 1601 began, UTC (a FILETIME, MS-DTYP §2.3.3).
type Time uint64

// intervals of a Time.
const (
	perSecond = uint64(time.Second / 100)
	unixEpoch = 11_644_473_600 // seconds from 1601 to 1970
)

// Type says that it is a PtypTime.
func (Time) Type() Type { return PtypTime }

// Time returns the moment, in UTC.
func (t Time) Time() time.Time {
	seconds, rest := uint64(t)/perSecond, uint64(t)%perSecond
	return time.Unix(int64(seconds)-unixEpoch, int64(rest)*100).UTC() // both are far smaller
}

// String returns the moment as RFC 3339 has it.
func (t Time) String() string { return t.Time().Format(time.RFC3339Nano) }

// NewTime returns a moment as a PtypTime: in steps of 100 ns, and at most as early or late as one can say it.
func NewTime(t time.Time) Time {
	seconds := t.Unix() + unixEpoch
	switch {
	case seconds < 0:
		return 0
	case uint64(seconds) >= math.MaxUint64/perSecond:
		return math.MaxUint64
	}
	return Time(uint64(seconds)*perSecond + uint64(t.Nanosecond()/100)) // neither is negative
}

// FloatingTime is a PtypFloatingTime: days since 1899-12-30 began, and as fraction the time of the day. It has no time zone.
type FloatingTime float64

// Type says that it is a PtypFloatingTime.
func (FloatingTime) Type() Type { return PtypFloatingTime }

var floatingEpoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)

// floatingMost is more days than any calendar has, and few enough for a time.Time.
const floatingMost = 100_000_000

// Time returns date and time, as if they were UTC's. Of a day before the epoch the fraction still counts
// forwards from midnight (as in MS-OAUT's DATE).
func (f FloatingTime) Time() time.Time {
	days := math.Max(-floatingMost, math.Min(floatingMost, float64(f)))
	if math.IsNaN(days) {
		days = 0
	}
	whole, fraction := math.Modf(days)
	return floatingEpoch.AddDate(0, 0, int(whole)).Add(time.Duration(math.Round(math.Abs(fraction)*86_400_000)) * time.Millisecond)
}

// NewFloatingTime returns date and time of a moment in its own time zone.
func NewFloatingTime(t time.Time) FloatingTime {
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	local := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	days := math.Round(float64(midnight.Unix()-floatingEpoch.Unix()) / 86_400)
	fraction := local.Sub(midnight).Hours() / 24
	if days < 0 {
		fraction = -fraction
	}
	return FloatingTime(days + fraction)
}
