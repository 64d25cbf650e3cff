package recurrence

import (
	"iter"
	"math/bits"
	"time"
)

// instances are the dates of a recurrence without regard to its end and to what was deleted, [instancesMost] at the most.
func (p *Pattern) instances() iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		n := 0
		for period := 0; n < instancesMost && period < instancesMost; period++ {
			for _, date := range p.inPeriod(period) {
				if date.Before(p.start) {
					continue
				}
				if n++; n > instancesMost || !yield(date) {
					return
				}
			}
		}
	}
}

// inPeriod returns the dates in a period, by its number.
func (p *Pattern) inPeriod(number int) (dates []time.Time) {
	switch p.kind {
	case byDay:
		return []time.Time{p.start.AddDate(0, 0, number*p.interval)}
	case byWeek:
		back := int(p.start.Weekday()-p.firstDay+daysOfWeek) % daysOfWeek
		week := p.start.AddDate(0, 0, number*p.interval*daysOfWeek-back)
		for i := range daysOfWeek {
			if date := week.AddDate(0, 0, i); p.isOn(date) {
				dates = append(dates, date)
			}
		}
		return dates
	}
	month := time.Date(p.start.Year(), p.start.Month()+time.Month(number*p.interval), 1, 0, 0, 0, 0, time.UTC)
	return []time.Time{p.inMonth(month)}
}

func (p *Pattern) isOn(date time.Time) bool { return p.days>>date.Weekday()&1 != 0 }

// inMonth returns the date in a month, which each has: the fifth of some weekdays is the last one, and a day that a month
// does not have is its last one (MS-OXOCAL §2.2.1.44.1).
func (p *Pattern) inMonth(first time.Time) time.Time {
	last := first.AddDate(0, 1, -1)
	if p.kind != byNth {
		return first.AddDate(0, 0, min(p.day, last.Day())-1)
	}
	if isOneDay(p.days) {
		weekday := time.Weekday(bits.TrailingZeros(uint(p.days)))
		if p.nth == lastNth {
			return last.AddDate(0, 0, -int(last.Weekday()-weekday+daysOfWeek)%daysOfWeek)
		}
		return first.AddDate(0, 0, int(weekday-first.Weekday()+daysOfWeek)%daysOfWeek+daysOfWeek*(p.nth-1))
	}
	var found time.Time
	n := 0
	for date := first; !date.After(last) && n < p.nth; date = date.AddDate(0, 0, 1) {
		if p.isOn(date) {
			n++
			found = date
		}
		if p.nth == lastNth {
			n = 0 // the last one is looked for
		}
	}
	return found
}

// isInstance says whether there is one at a date.
func (p *Pattern) isInstance(date time.Time) bool {
	for d := range p.instances() {
		if p.ending != never && d.After(p.end) || d.After(date) {
			return false
		}
		if d.Equal(date) {
			return true
		}
	}
	return false
}

// isShort says whether a date is the last one of a month that lacks the day, or the fifth of the weekday.
func (p *Pattern) isShort(date time.Time) bool {
	return p.kind == byMonth && date.Day() < p.day || p.isFifth() && date.Day() <= shortestMonth
}

// isFifth says whether the pattern may be that of the fifth of a weekday, which is the last one in months that have it.
func (p *Pattern) isFifth() bool { return p.kind == byNth && p.nth == lastNth && isOneDay(p.days) }

// inShortMonths are the dates in months that lack the day, up to the end, or for [shortYears]. Where they are more than most, they are one
// more than that.
func (p *Pattern) inShortMonths(most int) (dates []time.Time) {
	if most == 0 || !p.isFifth() && (p.kind != byMonth || p.day <= shortestMonth) {
		return nil
	}
	last := p.start.AddDate(shortYears, 0, 0)
	if p.ending != never {
		last = p.end
	}
	for date := range p.instances() {
		if date.After(last) || len(dates) > most {
			break
		}
		if p.isShort(date) {
			dates = append(dates, date)
		}
	}
	return dates
}
