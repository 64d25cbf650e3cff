package recurrence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Clock is a time zone: local times are said as UTC.
type Clock interface {
	UTC(local time.Time) time.Time
	Local(utc time.Time) (time.Time, bool)
}

// Forms of times, RFC 5545 §3.3.4 and §3.3.5.
const (
	dateForm  = "20060102"
	localForm = "20060102T150405"
	utcForm   = localForm + "Z"
)

// weekdays are their names in rules, RFC 5545 §3.3.10.
var weekdays = []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// New makes a pattern of a rule (RFC 5545 §3.3.10), with the local time at which the first instance starts, and how long one
// lasts. The zone is that of the start; nil for whole days.
func New(rule string, start time.Time, lasts time.Duration, zone Clock) (*Pattern, error) {
	parts, err := parseParts(rule)
	if err != nil {
		return nil, err
	}
	p := &Pattern{interval: 1, ending: never, count: countUnused}
	p.start = start.Truncate(24 * time.Hour)
	p.from = start.Sub(p.start)
	p.to = p.from + lasts
	if lasts < 0 || lasts >= 100*24*time.Hour || p.from%time.Minute != 0 || p.to%time.Minute != 0 || !inReach(start) {
		return nil, ErrUnknown
	}
	if text, has := parts["INTERVAL"]; has {
		if p.interval, err = strconv.Atoi(text); err != nil || p.interval < 1 || p.interval > periodMost {
			return nil, ErrUnknown
		}
	}
	if err := p.when(parts); err != nil {
		return nil, err
	}
	if !p.isSound() || !p.isInstance(p.start) || p.passes && p.isShort(p.start) {
		return nil, ErrUnknown
	}
	return p, p.until(parts, zone)
}

// known are the parts of a rule that are understood.
var known = []string{"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"}

func parseParts(rule string) (map[string]string, error) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.ToUpper(strings.TrimSuffix(rule, ";")), ";") {
		name, value, is := strings.Cut(part, "=")
		if _, twice := parts[name]; !is || value == "" || twice || !slices.Contains(known, name) {
			return nil, ErrUnknown
		}
		parts[name] = value
	}
	return parts, nil
}

// when sets on which days it is. MS-OXCICAL §2.1.3.2.2.
func (p *Pattern) when(parts map[string]string) error {
	if first, has := parts["WKST"]; has {
		day := slices.Index(weekdays, first)
		if day < 0 {
			return ErrUnknown
		}
		p.firstDay = time.Weekday(day)
	} else {
		p.firstDay = time.Monday // RFC 5545 §3.3.10
	}
	days, nth, err := parseDays(parts["BYDAY"])
	if err != nil {
		return err
	}
	switch parts["FREQ"] {
	case "DAILY":
		return p.byDays(parts, days, nth)
	case "WEEKLY":
		return p.byWeeks(parts, days, nth)
	case "MONTHLY":
		p.frequency = monthly
		if has(parts, "BYMONTH") {
			return ErrUnknown
		}
	case "YEARLY":
		p.frequency = yearly
		p.interval *= monthsOfYear
		month, ok := parts["BYMONTH"]
		if ok && month != strconv.Itoa(int(p.start.Month())) || !ok && (days != 0 || has(parts, "BYMONTHDAY")) {
			return ErrUnknown
		}
	default:
		return ErrUnknown
	}
	return p.byMonths(parts, days, nth)
}

func has(parts map[string]string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return parts[name] != "" })
}

func (p *Pattern) byDays(parts map[string]string, days, nth int) error {
	p.frequency, p.kind, p.firstDay = daily, byDay, time.Sunday
	switch {
	case nth != 0 || has(parts, "BYMONTHDAY", "BYMONTH", "BYSETPOS") || days != 0 && p.interval != 1:
		return ErrUnknown
	case days != 0: // on some days of each week
		p.frequency, p.kind, p.days, p.firstDay = weekly, byWeek, days, time.Monday
	}
	return nil
}

func (p *Pattern) byWeeks(parts map[string]string, days, nth int) error {
	p.frequency, p.kind, p.days = weekly, byWeek, days
	if nth != 0 || has(parts, "BYMONTHDAY", "BYMONTH", "BYSETPOS") {
		return ErrUnknown
	}
	if days == 0 {
		p.days = 1 << p.start.Weekday()
	}
	return nil
}

func (p *Pattern) byMonths(parts map[string]string, days, nth int) error {
	if days == 0 {
		return p.byDayOfMonth(parts)
	}
	if text, has := parts["BYSETPOS"]; has {
		position, err := strconv.Atoi(text)
		if err != nil || nth != 0 {
			return ErrUnknown
		}
		nth = position
	} else if !isOneDay(days) {
		return ErrUnknown // several in a month
	}
	p.kind, p.days, p.nth = byNth, days, nth
	if nth == -1 {
		p.nth = lastNth
	}
	// Each month has four of a weekday, and a last one. The fifth is the last one of months with five; others are passed over.
	if p.passes = nth == lastNth; p.passes && !isOneDay(days) {
		return ErrUnknown
	}
	if has(parts, "BYMONTHDAY") || nth == 0 || nth < -1 || nth > lastNth {
		return ErrUnknown
	}
	return nil
}

// isOneDay says whether bits of weekdays are those of one.
func isOneDay(days int) bool { return days&(days-1) == 0 }

// shortestMonth is how many days each month has.
const shortestMonth = 28

// byDayOfMonth takes a day, the last one, or the last one up to a day: "28,29,30" with BYSETPOS=-1 is the 30th, or the last
// day of February, as Exchange has it (MS-OXOCAL §2.2.1.44.1).
func (p *Pattern) byDayOfMonth(parts map[string]string) error {
	list := []string{strconv.Itoa(p.start.Day())}
	if text, has := parts["BYMONTHDAY"]; has {
		list = strings.Split(text, ",")
	}
	day, err := strconv.Atoi(list[len(list)-1])
	if err != nil {
		return ErrUnknown
	}
	p.kind, p.day = byMonth, day
	switch upTo := parts["BYSETPOS"] == "-1" && isUpTo(list, day); {
	case upTo && day == lastOfMonth, day == -1 && len(list) == 1:
		p.kind, p.day = byEnd, lastOfMonth
	case !upTo && len(list) > 1, day < 1, day > lastOfMonth:
		return ErrUnknown
	case !upTo:
		p.passes = day > shortestMonth
	}
	if position := parts["BYSETPOS"]; position != "" && position != "-1" {
		return ErrUnknown
	}
	return nil
}

// isUpTo says whether a list is that of each day from the 28th to a later one.
func isUpTo(list []string, day int) bool {
	if len(list) != day-shortestMonth+1 {
		return false
	}
	for i, text := range list {
		if text != strconv.Itoa(shortestMonth+i) {
			return false
		}
	}
	return day > shortestMonth
}

// parseDays reads weekdays, and the number in front of one that is alone.
func parseDays(text string) (days, nth int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		if len(item) < 2 {
			return 0, 0, ErrUnknown
		}
		day := slices.Index(weekdays, item[len(item)-2:])
		if day < 0 || days>>day&1 != 0 {
			return 0, 0, ErrUnknown
		}
		days |= 1 << day
		if number := item[:len(item)-2]; number != "" {
			if nth, err = strconv.Atoi(number); err != nil || nth == 0 || strings.Contains(text, ",") {
				return 0, 0, ErrUnknown
			}
		}
	}
	return days, nth, nil
}

// until sets the end, and counts the instances up to there.
func (p *Pattern) until(parts map[string]string, zone Clock) error {
	text, isUntil := parts["UNTIL"]
	count, isCount := parts["COUNT"]
	var last time.Time
	wanted := instancesMost
	switch {
	case isUntil && isCount:
		return ErrUnknown
	case isUntil:
		var err error
		if last, err = parseUntil(text, zone); err != nil {
			return err
		}
		p.ending = endsAt
	case isCount:
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || n >= instancesMost {
			return ErrUnknown
		}
		wanted, p.ending = n, endsAfter
	case p.passes:
		p.short = p.inShortMonths(deletedMost)
		return nil
	default:
		return nil
	}
	return p.counts(wanted, last)
}

// counts counts the instances, so many or up to a time, if that is not zero.
func (p *Pattern) counts(wanted int, last time.Time) error {
	p.count = 0
	var short []time.Time
	for date := range p.instances() {
		if p.passes && p.isShort(date) {
			short = append(short, date)
			continue
		}
		if p.count-len(p.short) == wanted || !last.IsZero() && date.Add(p.from).After(last) {
			return nil
		}
		if p.short = append(p.short, short...); len(p.short) > deletedMost {
			return ErrUnknown
		}
		p.count += len(short) + 1
		p.end, short = date, nil
	}
	return ErrUnknown // there are more than are counted
}

// parseUntil reads the last local time at which an instance may start. A date counts to its end.
func parseUntil(text string, zone Clock) (time.Time, error) {
	if at, err := time.Parse(dateForm, text); err == nil {
		return at.Add(24*time.Hour - time.Second), nil
	}
	if at, err := time.Parse(localForm, text); err == nil {
		return at, nil
	}
	at, err := time.Parse(utcForm, text)
	if err != nil || zone == nil {
		return at, ErrUnknown
	}
	local, ok := zone.Local(at)
	if !ok {
		return at, ErrUnknown
	}
	return local, nil
}

// Rule returns the rule of a pattern, RFC 5545 §3.3.10. The zone is nil for whole days.
func (p *Pattern) Rule(zone Clock) (string, error) {
	var rule string
	switch p.frequency {
	case daily:
		rule = fmt.Sprintf("FREQ=DAILY;INTERVAL=%d", p.interval)
	case weekly:
		rule = fmt.Sprintf("FREQ=WEEKLY;INTERVAL=%d;BYDAY=%s;WKST=%s", p.interval, p.dayNames(), weekdays[p.firstDay])
	case monthly:
		rule = fmt.Sprintf("FREQ=MONTHLY;INTERVAL=%d", p.interval)
	case yearly:
		rule = fmt.Sprintf("FREQ=YEARLY;INTERVAL=%d;BYMONTH=%d", p.interval/monthsOfYear, p.start.Month())
	}
	if !p.isInstance(p.start) || p.passes && p.isShort(p.start) {
		return "", ErrUnknown
	}
	end, err := p.endRule(zone)
	return rule + p.monthRule() + end, err
}

func (p *Pattern) dayNames() string {
	var names []string
	for i, name := range weekdays {
		if p.days>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func (p *Pattern) monthRule() string {
	switch p.kind {
	case byEnd:
		return ";BYMONTHDAY=-1"
	case byMonth:
		always := p.frequency == yearly && p.start.Month() != time.February && p.day == p.start.Day()
		switch {
		case p.day <= shortestMonth, always, p.passes:
			return fmt.Sprintf(";BYMONTHDAY=%d", p.day)
		case p.day == lastOfMonth:
			return ";BYMONTHDAY=-1"
		}
		list := strconv.Itoa(shortestMonth)
		for day := shortestMonth + 1; day <= p.day; day++ {
			list += "," + strconv.Itoa(day)
		}
		return ";BYMONTHDAY=" + list + ";BYSETPOS=-1"
	case byNth:
		nth := p.nth
		if nth == lastNth && !p.passes {
			nth = -1
		}
		return fmt.Sprintf(";BYDAY=%s;BYSETPOS=%d", p.dayNames(), nth)
	}
	return ""
}

func (p *Pattern) endRule(zone Clock) (string, error) {
	switch {
	case p.ending == endsAfter && p.count == len(p.short):
		return "", ErrUnknown
	case p.ending == endsAfter:
		return fmt.Sprintf(";COUNT=%d", p.count-len(p.short)), nil
	case p.ending == endsAt && zone == nil:
		return ";UNTIL=" + p.end.Format(dateForm), nil
	case p.ending == endsAt:
		return ";UNTIL=" + zone.UTC(p.end.Add(p.from)).Format(utcForm), nil
	}
	return "", nil
}
