package recurrence

import (
	"fmt"
	"strings"
	"time"
)

// String says in words how often it is, such as "every 2 weeks on Monday and Thursday, 12 times".
func (p *Pattern) String() string {
	interval, unit := p.interval, map[frequency]string{daily: "day", weekly: "week", monthly: "month", yearly: "year"}[p.frequency]
	if p.frequency == yearly {
		interval /= monthsOfYear
	}
	text := "every " + unit
	if interval > 1 {
		text = fmt.Sprintf("every %d %ss", interval, unit)
	}
	text += p.onWords()
	switch p.ending {
	case endsAfter:
		return fmt.Sprintf("%s, %d times", text, p.count-len(p.short))
	case endsAt:
		return text + " until " + p.end.Format("2 January 2006")
	}
	return text
}

// onWords says on which days it is.
func (p *Pattern) onWords() string {
	var names []string
	for day := time.Sunday; day <= time.Saturday; day++ {
		if p.days>>day&1 != 0 {
			names = append(names, day.String())
		}
	}
	days := strings.Join(names, ", ")
	if last := strings.LastIndex(days, ", "); last >= 0 {
		days = days[:last] + " and " + days[last+2:]
	}
	in := ""
	if p.frequency == yearly {
		in = " of " + p.start.Month().String()
	}
	switch p.kind {
	case byWeek:
		return " on " + days
	case byMonth:
		return fmt.Sprintf(" on day %d%s", p.day, in)
	case byEnd:
		return " on the last day" + in
	case byNth:
		nth := []string{"", "first", "second", "third", "fourth", "last"}[p.nth]
		if p.passes {
			nth = "fifth"
		}
		return " on the " + nth + " " + strings.Replace(days, " and ", " or ", 1) + in
	}
	return ""
}
