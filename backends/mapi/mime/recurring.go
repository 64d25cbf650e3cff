package mime

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// recurring reads the rule of an event, and which of its instances were deleted or changed: MS-OXCICAL §2.1.3.2.2. What Exchange
// cannot say in the same way is errCalendar.
func (m *meeting) recurring(zones map[string]zone) error {
	rule, has := m.event.get("RRULE")
	if !has {
		if m.event.has("EXDATE") || m.event.has("RDATE") || len(m.changed) > 0 {
			return errCalendar
		}
		m.zoned(zones)
		return nil
	}
	local, clock, err := m.clock(zones)
	if err != nil || !m.instance.IsZero() {
		return errCalendar
	}
	if m.recurs, err = recurrence.New(rule.value, local, m.end.Sub(m.start), clock); err != nil {
		return errCalendar
	}
	if slices.ContainsFunc(m.event.properties, func(p calendarProperty) bool { return p.name == "RRULE" && p.value != rule.value }) {
		return errCalendar // there are two
	}
	deleted, err := m.localTimes("EXDATE")
	if err != nil {
		return err
	}
	added, err := m.localTimes("RDATE")
	if err != nil {
		return err
	}
	canceled, changed, err := m.exceptions()
	if err != nil {
		return err
	}
	deleted, moved, err := m.recurs.Move(append(deleted, canceled...), added)
	if err != nil {
		return errCalendar
	}
	m.moves(moved)
	if m.recurs.Delete(deleted...) != nil || m.recurs.Except(append(changed, moved...)...) != nil {
		return errCalendar
	}
	return nil
}

// moves has instances that were moved among those that were changed: they say nothing of their own.
func (m *meeting) moves(moved []recurrence.Exception) {
	id, _ := m.event.get("UID")
	for _, e := range moved {
		x := &meeting{class: m.class, event: &component{properties: []calendarProperty{id}}, stamp: m.stamp, day: m.day, ofDay: m.day}
		x.start, x.end, x.instance = m.instant(e.Start), m.instant(e.End), m.instant(e.Original)
		m.changed = append(m.changed, x)
	}
}

// instant is the reverse of local.
func (m *meeting) instant(local time.Time) time.Time {
	if m.day {
		return local
	}
	return m.zone.UTC(local)
}

// localTimes returns the local times of all properties of a name.
func (m *meeting) localTimes(name string) (times []time.Time, err error) {
	for _, p := range m.event.properties {
		if p.name != name {
			continue
		}
		for value := range strings.SplitSeq(p.value, ",") {
			at, err := m.localTime(value, p.parameters["TZID"])
			if err != nil {
				return nil, errCalendar
			}
			times = append(times, at)
		}
	}
	return times, nil
}

// exceptions returns the instances that were canceled, and those that were changed. Canceled ones are no part of m.changed then.
func (m *meeting) exceptions() (canceled []time.Time, changed []recurrence.Exception, err error) {
	all := m.changed
	m.changed = nil
	for _, x := range all {
		original, err := m.local(x.instance)
		if err != nil || x.ofDay != m.day {
			return nil, nil, errCalendar
		}
		if strings.EqualFold(x.event.text("STATUS"), "CANCELLED") {
			canceled = append(canceled, original)
			continue
		}
		e, err := m.exception(x)
		if err != nil {
			return nil, nil, err
		}
		e.Original = original
		changed, m.changed = append(changed, e), append(m.changed, x)
	}
	return canceled, changed, nil
}

// exception returns what is other in a changed instance, MS-OXOCAL §2.2.1.44.2.
func (m *meeting) exception(x *meeting) (e recurrence.Exception, err error) {
	e.Start, e.End = x.start, x.end
	switch {
	case m.day && !x.day:
		return e, errCalendar // the series has no zone, in which the times would be
	case !x.day:
		start, err1 := m.local(x.start)
		end, err2 := m.local(x.end)
		if err1 != nil || err2 != nil {
			return e, errCalendar
		}
		e.Start, e.End = start, end
	case !m.day:
		e.AllDay = &x.day
	}
	for _, text := range []struct {
		name string
		to   **string
	}{{"SUMMARY", &e.Subject}, {"LOCATION", &e.Location}} {
		if value := x.text(text.name, m); value != m.event.text(text.name) {
			*text.to = &value
		}
	}
	return e, nil
}

// text returns a text of an instance: that of the series where it has none.
func (m *meeting) text(name string, series *meeting) string {
	if _, has := m.event.get(name); !has && series != nil {
		return series.event.text(name)
	}
	return m.event.text(name)
}

// local returns an instant as the rule of the series has it.
func (m *meeting) local(at time.Time) (time.Time, error) {
	if m.day {
		return at, nil
	}
	local, ok := m.zone.Local(at)
	if !ok {
		return at, errCalendar
	}
	return local, nil
}

// zoned sets the zone of an event that does not recur, if its rules are known.
func (m *meeting) zoned(zones map[string]zone) {
	if _, _, err := m.clock(zones); err != nil || m.zone.Name == utcName {
		m.zone = recurrence.Zone{}
	}
}

// utcName is the name of the zone of times that are UTC's.
const utcName = "UTC"

// clock returns the local time of the start, and the zone by which the event recurs: none for whole days.
func (m *meeting) clock(zones map[string]zone) (time.Time, recurrence.Clock, error) {
	if m.day {
		return m.start, nil, nil
	}
	start, _ := m.event.get("DTSTART")
	id := start.parameters["TZID"]
	if at, err := time.Parse(utcForm, start.value); err == nil {
		m.zone.Name = utcName
		return at, m.zone, nil
	}
	local, err := time.Parse(localForm, start.value)
	if err != nil {
		return local, nil, errCalendar
	}
	if m.zone, err = zones[id].yearly(id, local); err != nil || !m.zone.UTC(local).Equal(m.start) {
		return local, nil, errCalendar
	}
	return local, m.zone, nil
}

// localTime reads a time at which an instance starts, as the zone of the event has it.
func (m *meeting) localTime(value, zone string) (time.Time, error) {
	if at, err := time.Parse(utcForm, value); err == nil && !m.day {
		return m.local(at)
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

// yearly returns the rules of a zone from a time on, as long as it changes at most twice a year from then on, each year alike.
func (z zone) yearly(name string, from time.Time) (recurrence.Zone, error) {
	is := recurrence.Zone{Name: name}
	var rules, last []observance
	for _, o := range z {
		switch {
		case o.yearly && o.until.IsZero():
			rules = append(rules, o)
		case o.until.After(from), o.start.After(from):
			return is, errCalendar // the rules change later
		case len(last) == 0 || o.start.After(last[0].start):
			last = []observance{o}
		}
	}
	switch {
	case len(rules) == 0 && len(last) == 1 && !last[0].daylight && !last[0].yearly:
		is.Standard, is.Daylight = last[0].to, last[0].to
		return is, nil
	case len(rules) != 2:
		return is, errCalendar
	}
	for _, o := range rules {
		change := recurrence.Change{Month: o.month, Nth: o.nth, Weekday: o.weekday, At: o.start.Sub(o.start.Truncate(24 * time.Hour))}
		if o.nth == -1 {
			change.Nth = lastWeek
		}
		if o.nth < -1 || o.nth >= lastWeek || change.At%time.Minute != 0 {
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
	if m.zone.Name != "" && !m.day {
		for _, of := range []mapi.Key{mapi.PidLidAppointmentTimeZoneDefinitionStartDisplay, mapi.PidLidAppointmentTimeZoneDefinitionEndDisplay} { // MS-OXOCAL §2.2.1.42
			c.m.Set(of, mapi.Binary(m.zone.Definition()))
		}
	}
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
	lines   []string
	rules   *recurrence.Zone
	changed []changedTimes
}

// changedTimes are those of an instance that was changed.
type changedTimes struct {
	recurrence.Exception
	lines    []string
	replaces time.Time // when it would start, in UTC; for whole days the date
	day      bool
}

// timeForm is how local times are written.
type timeForm struct{ parameter, form string }

var wholeDays = timeForm{";VALUE=DATE:", dateForm}

// inZone is the form of times in a zone.
func inZone(z recurrence.Zone) timeForm { return timeForm{";TZID=\"" + z.Name + "\":", localForm} }

func (f timeForm) line(name string, at time.Time) string {
	return name + f.parameter + at.Format(f.form)
}

// zoneName returns a name that a parameter can have.
func zoneName(name string) string {
	if name = strings.Map(withoutQuotes, name); name != "" {
		return name
	}
	return "Local"
}

// eventTimes are those of one event: of an appointment on whole days dates, of others times in the zone of the start if its rules are
// known, and else in UTC. MS-OXCICAL §2.1.3.1.1.20.10. They are nil for an instance of a series of which it is not known which one it is.
func (p *planner) eventTimes(start, end time.Time) *calendarTimes {
	t := &calendarTimes{}
	form, local := timeForm{":", utcForm}, func(at time.Time) time.Time { return at }
	if z, err := recurrence.ParseDefinition(p.m.Bytes(mapi.PidLidAppointmentTimeZoneDefinitionStartDisplay), start.Year()); err == nil {
		z.Name = zoneName(z.Name)
		_, isStart := z.Local(start)
		if _, isEnd := z.Local(end); isStart && isEnd {
			t.rules, form = &z, inZone(z)
			local = func(at time.Time) time.Time { l, _ := z.Local(at); return l }
		}
	}
	if p.m.Bool(mapi.PidLidAppointmentSubType) && isDate(local(start)) && isDate(local(end)) && end.After(start) {
		t.rules, form = nil, wholeDays
	}
	t.lines = []string{form.line("DTSTART", local(start)), form.line("DTEND", local(end))}
	if !p.isInstance() {
		return t
	}
	at, known := dateOf(&p.m.Properties, mapi.PidLidExceptionReplaceTime)
	if at = local(at); !known {
		if at, known = p.instanceByID(); form.form == utcForm {
			return nil // it is local time
		}
	}
	if !known || at.IsZero() {
		return nil
	}
	t.lines = append(t.lines, form.line("RECURRENCE-ID", at))
	return t
}

func isDate(at time.Time) bool { return at.Equal(at.Truncate(24 * time.Hour)) }

// isInstance says whether an object is one instance of a series, MS-OXCICAL §2.1.3.1.1.20.20.
func (p *planner) isInstance() bool {
	if p.m.Has(mapi.PidLidExceptionReplaceTime) || p.m.Bool(mapi.PidLidIsException) {
		return true
	}
	_, has := instanceDate(p.m.Bytes(mapi.PidLidGlobalObjectId))
	return has
}

// instanceDate returns the date in the id of an instance, MS-OXOCAL §2.2.1.27.
func instanceDate(id []byte) (time.Time, bool) {
	if len(id) < globalData {
		return time.Time{}, false
	}
	year := int(binary.BigEndian.Uint16(id[globalDate:]))
	at := time.Date(year, time.Month(id[globalDate+2]), int(id[globalDate+3]), 0, 0, 0, 0, time.UTC)
	return at, year != 0
}

// instanceByID returns when an instance would start in local time, by its id and PidLidStartRecurrenceTime.
func (p *planner) instanceByID() (time.Time, bool) {
	date, has := instanceDate(p.m.Bytes(mapi.PidLidGlobalObjectId))
	if !has {
		return date, false
	}
	if p.m.Bool(mapi.PidLidAppointmentSubType) {
		return date, true
	}
	clock, has := p.m.Integer(mapi.PidLidStartRecurrenceTime)
	hour, minute, second := clock>>12&0x1F, clock>>6&0x3F, clock&0x3F // MS-OXOCAL §2.2.6.13
	return date.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second), has
}

// recurringTimes are those of a meeting that recurs, nil if they cannot be said (MS-OXCICAL §2.1.3.2.2).
func (p *planner) recurringTimes() *calendarTimes {
	pattern, err := recurrence.Parse(p.m.Bytes(mapi.PidLidAppointmentRecur))
	if err != nil {
		return nil
	}
	start, end := pattern.Start(), pattern.Start().Add(pattern.Duration())
	t := &calendarTimes{}
	form := wholeDays
	var clock recurrence.Clock
	if !p.m.Bool(mapi.PidLidAppointmentSubType) || !isDate(start) || !isDate(end) {
		zone, err := p.recurringZone(start.Year())
		first, has := dateOf(&p.m.Properties, mapi.PidLidAppointmentStartWhole)
		if err != nil || !has || !zone.UTC(start).Equal(first) {
			return nil // it would be at another time
		}
		t.rules, clock, form = &zone, zone, inZone(zone)
	}
	rule, err := pattern.Rule(clock)
	if err != nil {
		return nil
	}
	t.lines = []string{form.line("DTSTART", start), form.line("DTEND", end), "RRULE:" + rule}
	for _, at := range pattern.Deleted() {
		t.lines = append(t.lines, form.line("EXDATE", at))
	}
	for _, e := range pattern.Exceptions() {
		changed, ok := t.exception(e, form)
		if !ok {
			return nil
		}
		t.changed = append(t.changed, changed)
	}
	return t
}

// recurringZone returns the zone by which a meeting recurs, MS-OXOCAL §2.2.1.39 and §2.2.1.41.
func (p *planner) recurringZone(year int) (recurrence.Zone, error) {
	zone, err := recurrence.ParseStruct(p.m.Bytes(mapi.PidLidTimeZoneStruct), p.m.Text(mapi.PidLidTimeZoneDescription))
	if err != nil {
		zone, err = recurrence.ParseDefinition(p.m.Bytes(mapi.PidLidAppointmentTimeZoneDefinitionRecur), year)
	}
	zone.Name = zoneName(zone.Name)
	return zone, err
}

// exception returns the times of a changed instance, in the form of the series, as far as it is not other in that, too.
func (t *calendarTimes) exception(e recurrence.Exception, form timeForm) (changedTimes, bool) {
	x := changedTimes{Exception: e, replaces: e.Original, day: form == wholeDays}
	if t.rules != nil {
		x.replaces = t.rules.UTC(e.Original)
	}
	own := form
	if e.AllDay != nil {
		x.day = *e.AllDay
	}
	switch {
	case x.day && isDate(e.Start) && isDate(e.End):
		own = wholeDays
	case form == wholeDays:
		return x, false // there is no zone in which it would be
	}
	x.lines = []string{form.line("RECURRENCE-ID", e.Original), own.line("DTSTART", e.Start), own.line("DTEND", e.End)}
	return x, true
}

// withoutQuotes leaves out what a parameter's value cannot have, RFC 5545 §3.2.
func withoutQuotes(r rune) rune {
	if r == '"' || r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// writeZone writes the rules of a time zone, RFC 5545 §3.6.5.
func writeZone(w *calendarWriter, z *recurrence.Zone) {
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
