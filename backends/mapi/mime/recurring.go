package mime

import (
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// recurring reads the rule of an event, MS-OXCICAL §2.1.3.2.2. What Exchange cannot say in the same way is errCalendar.
func (m *meeting) recurring(zones map[string]zone) error {
	rule, has := m.event.get("RRULE")
	if !has {
		if _, has := m.event.get("EXDATE"); has {
			return errCalendar
		}
		return nil
	}
	local, clock, err := m.clock(zones)
	if err != nil {
		return err
	}
	if m.recurs, err = recurrence.New(rule.value, local, m.end.Sub(m.start), clock); err != nil {
		return errCalendar
	}
	var deleted []time.Time
	for _, p := range m.event.properties {
		switch {
		case p.name == "RRULE" && p.value != rule.value:
			return errCalendar // there are two
		case p.name != "EXDATE":
			continue
		}
		for value := range strings.SplitSeq(p.value, ",") {
			at, err := m.localTime(value, p.parameters["TZID"])
			if err != nil {
				return errCalendar
			}
			deleted = append(deleted, at)
		}
	}
	if m.recurs.Delete(deleted...) != nil {
		return errCalendar
	}
	return nil
}

// clock returns the local time of the start, and the zone by which the event recurs: none for whole days.
func (m *meeting) clock(zones map[string]zone) (time.Time, recurrence.Clock, error) {
	if m.day {
		return m.start, nil, nil
	}
	start, _ := m.event.get("DTSTART")
	id := start.parameters["TZID"]
	if at, err := time.Parse(utcForm, start.value); err == nil {
		m.zone.Name = "UTC"
		return at, m.zone, nil
	}
	local, err := time.Parse(localForm, start.value)
	if err != nil {
		return local, nil, errCalendar
	}
	if m.zone, err = zones[id].yearly(id); err != nil || !m.zone.UTC(local).Equal(m.start) {
		return local, nil, errCalendar
	}
	return local, m.zone, nil
}

// localTime reads a time at which an instance starts, as the zone of the event has it.
func (m *meeting) localTime(value, zone string) (time.Time, error) {
	if at, err := time.Parse(utcForm, value); err == nil && !m.day {
		local, ok := m.zone.Local(at)
		if !ok {
			return at, errCalendar
		}
		return local, nil
	}
	if m.day {
		return time.Parse(dateForm, value)
	}
	if zone != m.zone.Name {
		return time.Time{}, errCalendar
	}
	return time.Parse(localForm, value)
}

// lastWeek is the number of the last weekday of a month where each month has one, MS-OXOCAL §2.2.1.39.
const lastWeek = 5

// yearly returns the rules of a zone that changes at most twice a year, each year alike.
func (z zone) yearly(name string) (recurrence.Zone, error) {
	is := recurrence.Zone{Name: name}
	switch len(z) {
	case 1:
		if z[0].yearly || z[0].daylight {
			return is, errCalendar
		}
		is.Standard, is.Daylight = z[0].to, z[0].to
		return is, nil
	case 2:
	default:
		return is, errCalendar
	}
	for _, o := range z {
		change := recurrence.Change{Month: o.month, Nth: o.nth, Weekday: o.weekday, At: o.start.Sub(o.start.Truncate(24 * time.Hour))}
		if o.nth == -1 {
			change.Nth = lastWeek
		}
		if !o.yearly || o.nth < -1 || o.nth >= lastWeek || change.At%time.Minute != 0 {
			return is, errCalendar
		}
		if o.daylight {
			is.Daylight, is.ToDaylight = o.to, change
		} else {
			is.Standard, is.ToStandard = o.to, change
		}
	}
	if is.ToDaylight.IsZero() || is.ToStandard.IsZero() {
		return is, errCalendar
	}
	return is, nil
}

// recurs sets what a meeting that recurs has, MS-OXOCAL §2.2.1.44 and MS-OXCICAL §2.1.3.1.1.19.
func (c *conversion) recurs(m *meeting) {
	c.m.Set(mapi.PidLidRecurring, mapi.Boolean(m.recurs != nil))
	if m.recurs == nil {
		return
	}
	c.m.Set(mapi.PidLidIsRecurring, mapi.Boolean(true))
	c.m.Set(mapi.PidLidAppointmentRecur, mapi.Binary(m.recurs.AppendTo(nil)))
	c.m.Set(mapi.PidLidRecurrenceType, mapi.Integer32(m.recurs.Type()))
	c.m.Set(mapi.PidLidClipStart, mapi.NewTime(m.recurs.Start().Truncate(24*time.Hour)))
	c.m.Set(mapi.PidLidClipEnd, mapi.NewTime(m.recurs.Last()))
	if !m.day {
		c.m.Set(mapi.PidLidTimeZoneStruct, mapi.Binary(m.zone.Struct()))
		c.m.Set(mapi.PidLidTimeZoneDescription, mapi.String(m.zone.Name))
		c.m.Set(mapi.PidLidAppointmentTimeZoneDefinitionRecur, mapi.Binary(m.zone.Definition()))
	}
}

// calendarTimes are the lines that say when an event is.
type calendarTimes struct {
	lines []string
	rules *recurrence.Zone
}

// eventTimes are those of one event.
func eventTimes(start, end time.Time) *calendarTimes {
	return &calendarTimes{lines: []string{"DTSTART:" + start.Format(utcForm), "DTEND:" + end.Format(utcForm)}}
}

// recurringTimes are those of a meeting that recurs, nil if they cannot be said (MS-OXCICAL §2.1.3.2.2).
func (p *planner) recurringTimes() *calendarTimes {
	pattern, err := recurrence.Parse(p.m.Bytes(mapi.PidLidAppointmentRecur))
	if err != nil {
		return nil
	}
	start, end := pattern.Start(), pattern.Start().Add(pattern.Duration())
	t := &calendarTimes{}
	form, parameter := dateForm, ";VALUE=DATE:"
	var clock recurrence.Clock
	if day := 24 * time.Hour; !p.m.Bool(mapi.PidLidAppointmentSubType) || start.Truncate(day) != start || pattern.Duration()%day != 0 {
		name := strings.Map(withoutQuotes, p.m.Text(mapi.PidLidTimeZoneDescription))
		if name == "" {
			name = "Local"
		}
		zone, err := recurrence.ParseStruct(p.m.Bytes(mapi.PidLidTimeZoneStruct), name)
		first, has := dateOf(&p.m.Properties, mapi.PidLidAppointmentStartWhole)
		if err != nil || !has || !zone.UTC(start).Equal(first) {
			return nil // it would be at another time
		}
		t.rules, clock = &zone, zone
		form, parameter = localForm, ";TZID=\""+name+"\":"
	}
	rule, err := pattern.Rule(clock)
	if err != nil {
		return nil
	}
	t.lines = []string{"DTSTART" + parameter + start.Format(form), "DTEND" + parameter + end.Format(form), "RRULE:" + rule}
	for _, at := range pattern.Deleted() {
		t.lines = append(t.lines, "EXDATE"+parameter+at.Format(form))
	}
	return t
}

// withoutQuotes leaves out what a parameter's value cannot have, RFC 5545 §3.2.
func withoutQuotes(r rune) rune {
	if r == '"' || r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// event writes when the event is.
func (t *calendarTimes) event(w *calendarWriter) {
	for _, line := range t.lines {
		w.line(line)
	}
}

// zone writes the rules of the time zone, RFC 5545 §3.6.5.
func (t *calendarTimes) zone(w *calendarWriter) {
	if t.rules == nil {
		return
	}
	z := t.rules
	w.line("BEGIN:VTIMEZONE")
	w.text("TZID", z.Name)
	observed(w, "STANDARD", z.Daylight, z.Standard, z.ToStandard)
	if !z.ToDaylight.IsZero() {
		observed(w, "DAYLIGHT", z.Standard, z.Daylight, z.ToDaylight)
	}
	w.line("END:VTIMEZONE")
}

// zoneYear is when the rules of a zone begin that have always been.
const zoneYear = 1601

func observed(w *calendarWriter, name string, from, to time.Duration, change recurrence.Change) {
	start := time.Date(zoneYear, 1, 1, 0, 0, 0, 0, time.UTC)
	if !change.IsZero() {
		start = change.In(zoneYear)
	}
	w.line("BEGIN:" + name)
	w.line("DTSTART:" + start.Format(localForm))
	w.line("TZOFFSETFROM:" + offsetText(from))
	w.line("TZOFFSETTO:" + offsetText(to))
	if !change.IsZero() {
		nth := change.Nth
		if nth == lastWeek {
			nth = -1
		}
		w.line(fmt.Sprintf("RRULE:FREQ=YEARLY;BYDAY=%d%s;BYMONTH=%d", nth, strings.ToUpper(change.Weekday.String()[:2]), change.Month))
	}
	w.line("END:" + name)
}

// offsetText writes +0100, RFC 5545 §3.3.14.
func offsetText(offset time.Duration) string {
	sign := "+"
	if offset < 0 {
		sign, offset = "-", -offset
	}
	return fmt.Sprintf("%s%02d%02d", sign, offset/time.Hour, offset%time.Hour/time.Minute)
}
