package recurrence

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// ErrUnknown says that a rule cannot be said in the other form, or is none.
var ErrUnknown = errors.New("this is not a rule of recurrence that is understood")

// frequency is how often a meeting recurs, MS-OXOCAL §2.2.1.44.1.
type frequency uint16

// The frequencies.
const (
	daily   frequency = 0x200A
	weekly  frequency = 0x200B
	monthly frequency = 0x200C
	yearly  frequency = 0x200D
)

// kind is what a frequency counts by, MS-OXOCAL §2.2.1.44.1 (PatternType).
type kind uint16

// The kinds.
const (
	byDay   kind = 0
	byWeek  kind = 1
	byMonth kind = 2 // its nth day
	byNth   kind = 3 // its nth of some weekdays
	byEnd   kind = 4 // its last day
)

// ending is how a recurrence ends, MS-OXOCAL §2.2.1.44.1 (EndType).
type ending uint32

// The endings. Never is also written with all bits set.
const (
	endsAt    ending = 0x2021
	endsAfter ending = 0x2022
	never     ending = 0x2023
	neverOld  ending = 0xFFFFFFFF
)

// Values of fields that say nothing, MS-OXOCAL §2.2.1.44.1.
const (
	version       = 0x3004
	readerVersion = 0x3006
	writerVersion = 0x3009
	countUnused   = 10
	neverEnds     = 0x5AE980DF // August 31, 4500
	lastOfMonth   = 31
	lastNth       = 5
)

// Bounds of what is read and counted.
const (
	deletedMost   = 1000
	periodMost    = 999 // days, weeks, or months twelve times as many
	instancesMost = 10_000
	shortYears    = 100 // in which the instances of months that are too short are taken out of what has no end
	firstYear     = 1700
	lastYear      = 4400
	minutesOfDay  = 24 * 60
	daysOfWeek    = 7
	monthsOfYear  = 12
)

// Pattern is a recurrence. Its dates and times are local, which a time.Time says as UTC.
type Pattern struct {
	frequency frequency
	kind      kind
	interval  int // days, weeks or months
	days      int // bits of weekdays, Sunday the lowest
	day       int // of the month
	nth       int
	ending    ending
	count     int
	firstDay  time.Weekday
	deleted   []time.Time // dates
	// passes says that months without the day, or the fifth of the weekday, are passed over, as iCalendar does and Exchange does not: there the instances are
	// taken out, at the dates that are in short.
	passes     bool
	short      []time.Time
	exceptions []Exception
	start      time.Time // a date
	end        time.Time // the date of the last instance
	from, to   time.Duration
}

// Start returns when the first instance starts.
func (p *Pattern) Start() time.Time { return p.start.Add(p.from) }

// Duration returns how long an instance lasts.
func (p *Pattern) Duration() time.Duration { return p.to - p.from }

// Deleted returns when the instances would start that were taken out.
func (p *Pattern) Deleted() []time.Time {
	list := make([]time.Time, 0, len(p.deleted))
	for _, d := range p.deleted {
		list = append(list, d.Add(p.from))
	}
	return list
}

// Type returns the value of PidLidRecurrenceType, MS-OXOCAL §2.2.1.45.
func (p *Pattern) Type() int { return int(p.frequency-daily) + 1 }

// Last returns the date of the last instance. Without an end it is the one that Exchange has in its place.
func (p *Pattern) Last() time.Time {
	if p.ending == never {
		return minutes(neverEnds)
	}
	return p.end
}

// Delete takes the instances out that start at some times.
func (p *Pattern) Delete(times ...time.Time) error {
	wanted := map[int64]bool{}
	for _, at := range times {
		wanted[at.Add(-p.from).Unix()] = true
	}
	found, err := p.find(wanted)
	if err == nil {
		p.deleted = found
	}
	return err
}

// find returns the dates of instances, by their seconds. It fails if one is not there.
func (p *Pattern) find(wanted map[int64]bool) (found []time.Time, err error) {
	if len(wanted)+len(p.short) > deletedMost {
		return nil, ErrUnknown
	}
	for date := range p.instances() {
		if len(found) == len(wanted) || p.ending != never && date.After(p.end) {
			break
		}
		if wanted[date.Unix()] && !(p.passes && p.isShort(date)) {
			found = append(found, date)
		}
	}
	if len(found) < len(wanted) {
		return nil, ErrUnknown
	}
	return found, nil
}

var epoch = time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC)

// minutes returns the time so many minutes after the start of 1601.
func minutes(n uint32) time.Time {
	return epoch.AddDate(0, 0, int(n/minutesOfDay)).Add(time.Duration(n%minutesOfDay) * time.Minute)
}

// since is the reverse of minutes, for dates.
func since(date time.Time) uint32 { return uint32((date.Unix()-epoch.Unix())/60) & 0xFFFFFFFF }

// AppendTo appends the value of PidLidAppointmentRecur, MS-OXOCAL §2.2.1.44.5.
func (p *Pattern) AppendTo(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range []uint16{version, version, uint16(p.frequency), uint16(p.kind), 0} {
		b = le.AppendUint16(b, v)
	}
	period := p.interval
	if p.frequency == daily {
		period *= minutesOfDay
	}
	for _, v := range append([]uint32{p.first(), uint32(period), 0}, p.specific()...) {
		b = le.AppendUint32(b, v)
	}
	list := []uint32{uint32(p.ending), uint32(p.count), uint32(p.firstDay)}
	for _, dates := range [][]time.Time{p.takenOut(), p.moved()} {
		list = append(list, uint32(len(dates)))
		for _, d := range dates {
			list = append(list, since(d))
		}
	}
	list = append(list, since(p.start), since(p.Last()))
	if p.ending == never {
		list[len(list)-1] = neverEnds
	}
	list = append(list, readerVersion, writerVersion, uint32(p.from/time.Minute), uint32(p.to/time.Minute))
	for _, v := range list {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint16(b, uint16(len(p.exceptions)))
	for _, e := range p.exceptions {
		b = e.appendTo(b)
	}
	b = le.AppendUint32(b, 0) // a reserved block of no size
	for _, e := range p.exceptions {
		b = e.appendExtended(b)
	}
	return le.AppendUint32(b, 0) // another one
}

// specific returns what a kind has of its own, MS-OXOCAL §2.2.1.44.1.
func (p *Pattern) specific() []uint32 {
	switch p.kind {
	case byWeek:
		return []uint32{uint32(p.days)}
	case byMonth, byEnd:
		return []uint32{uint32(p.day)}
	case byNth:
		return []uint32{uint32(p.days), uint32(p.nth)}
	}
	return nil
}

// first returns FirstDateTime: where the count of periods would begin in 1601, MS-OXOCAL §2.2.1.44.1.1.
func (p *Pattern) first() uint32 {
	switch p.frequency {
	case daily:
		return since(p.start) % uint32(p.interval*minutesOfDay)
	case weekly:
		back := int(p.start.Weekday()-p.firstDay+daysOfWeek) % daysOfWeek
		return since(p.start.AddDate(0, 0, -back)) % uint32(p.interval*daysOfWeek*minutesOfDay)
	}
	months := (p.start.Year()-epoch.Year())*monthsOfYear + int(p.start.Month()) - 1
	return since(epoch.AddDate(0, months%p.interval, 0))
}

// cursor reads octets. After an error all is zero.
type cursor struct {
	octets []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.octets) {
		c.octets, c.failed = nil, true
		return make([]byte, n)
	}
	taken := c.octets[:n]
	c.octets = c.octets[n:]
	return taken
}

func (c *cursor) u16() uint16 { return binary.LittleEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.LittleEndian.Uint32(c.take(4)) }

// Parse reads the value of PidLidAppointmentRecur, MS-OXOCAL §2.2.1.44.5.
func Parse(octets []byte) (*Pattern, error) {
	c := &cursor{octets: octets}
	p := &Pattern{}
	_, _ = c.u16(), c.u16() // versions
	p.frequency, p.kind = frequency(c.u16()), kind(c.u16())
	calendar, first, period, sliding := c.u16(), c.u32(), c.u32(), c.u32()
	if p.frequency == daily {
		if p.kind == byDay && period%minutesOfDay != 0 {
			return nil, ErrUnknown
		}
		if p.kind == byDay {
			period /= minutesOfDay
		}
	}
	if calendar > 1 || sliding != 0 || period == 0 || period > periodMost*monthsOfYear { // 1: Gregorian, said aloud
		return nil, ErrUnknown
	}
	p.interval = int(period)
	p.parseSpecific(c)
	takenOut := p.parseRange(c)
	if !p.parseTimes(c) || c.failed || !p.isSound() || p.first() != first || !p.sorts(takenOut) {
		return nil, ErrUnknown
	}
	return p, nil
}

func (p *Pattern) parseSpecific(c *cursor) {
	switch p.kind {
	case byWeek:
		p.days = int(c.u32() & 0x7F)
		if p.frequency == daily { // each weekday, MS-OXOCAL §2.2.1.44.1
			p.frequency = weekly
		}
	case byMonth, byEnd:
		p.day = int(c.u32() & 0xFF)
	case byNth:
		p.days, p.nth = int(c.u32()&0x7F), int(c.u32()&0xFF)
	}
}

// parseRange reads when it begins and ends, and returns the dates at which there is no instance as the pattern has it.
func (p *Pattern) parseRange(c *cursor) (takenOut []time.Time) {
	p.ending, p.count = ending(c.u32()), int(c.u32()&0xFFFFFF)
	p.firstDay = time.Weekday(c.u32() & 0xFF)
	takenOut = c.dates()
	c.dates() // what was changed is told again, with all else of it
	p.start, p.end = minutes(c.u32()), minutes(c.u32())
	if p.ending == neverOld {
		p.ending = never
	}
	return takenOut
}

// dates reads a list of dates.
func (c *cursor) dates() (list []time.Time) {
	count := c.u32()
	if count > deletedMost {
		c.failed = true
	}
	for i := uint32(0); i < count && !c.failed; i++ {
		list = append(list, minutes(c.u32()))
	}
	return list
}

func (p *Pattern) parseTimes(c *cursor) bool {
	_, writer := c.u32(), c.u32() // versions
	from, to := c.u32(), c.u32()
	p.from, p.to = time.Duration(from)*time.Minute, time.Duration(to)*time.Minute
	p.parseExceptions(c, writer)
	return from < minutesOfDay && to >= from && to < 100*minutesOfDay
}

// isSound says whether the fields of a pattern fit one another.
func (p *Pattern) isSound() bool {
	of := map[frequency][]kind{daily: {byDay}, weekly: {byWeek}, monthly: {byMonth, byNth, byEnd}, yearly: {byMonth, byNth, byEnd}}
	switch {
	case !slices.Contains(of[p.frequency], p.kind) || p.firstDay > time.Saturday:
		return false
	case p.kind == byWeek && p.days == 0, p.kind == byNth && (p.days == 0 || p.nth < 1 || p.nth > lastNth):
		return false
	case p.kind == byMonth && (p.day < 1 || p.day > lastOfMonth), p.kind == byEnd && p.day != lastOfMonth:
		return false
	case p.frequency == yearly && p.interval%monthsOfYear != 0:
		return false
	case p.ending != endsAt && p.ending != endsAfter && p.ending != never:
		return false
	}
	return p.ending != endsAfter || p.count > 0 && p.count <= instancesMost
}
