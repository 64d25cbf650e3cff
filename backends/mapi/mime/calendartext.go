package mime

import (
	"net/url"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// isInWords says whether an object is a meeting or an appointment that is written as plain text, as the form wants it.
func (p *planner) isInWords() bool {
	if p.Form.Calendar == CalendarICal || p.Form.RichText {
		return false
	}
	method, _ := methodOf(p.m.Text(mapi.PidTagMessageClass))
	return method != "" && p.m.Has(mapi.PidLidAppointmentStartWhole)
}

// endOfDetails stands between when a meeting is and its text, as Exchange writes it.
const endOfDetails = "*~*~*~*~*~*~*~*~*~*"

// calendarText returns when and where a meeting is, in words; and a link to it, if the form has one.
func (p *planner) calendarText() (string, bool) {
	if !p.isInWords() {
		return "", false
	}
	var lines []string
	say := func(name, text string) {
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			lines = append(lines, name+": "+text)
		}
	}
	say("When", p.when())
	say("Where", p.m.Text(mapi.PidLidLocation))
	if p.Form.Calendar == CalendarLink {
		say("Link", p.link())
	}
	return strings.Join(append(lines, "", endOfDetails, "", ""), "\r\n"), true
}

// when says when a meeting is: in the zone of its start, if that is known, and otherwise in UTC.
func (p *planner) when() string {
	start, isStart := dateOf(&p.m.Properties, mapi.PidLidAppointmentStartWhole)
	end, isEnd := dateOf(&p.m.Properties, mapi.PidLidAppointmentEndWhole)
	if !isStart || !isEnd {
		return ""
	}
	name := "UTC"
	zone, err := recurrence.ParseDefinition(p.m.Bytes(mapi.PidLidAppointmentTimeZoneDefinitionStartDisplay), start.Year())
	if p.m.Bool(mapi.PidLidRecurring) && err != nil {
		zone, err = p.recurringZone(start.Year())
	}
	if err == nil {
		localStart, ok1 := zone.Local(start)
		if localEnd, ok2 := zone.Local(end); ok1 && ok2 {
			start, end, name = localStart, localEnd, zoneName(zone.Name)
		}
	}
	text := span(start, end, name)
	if p.m.Bool(mapi.PidLidAppointmentSubType) && isDate(start) && isDate(end) && end.After(start) {
		text = days(start, end.AddDate(0, 0, -1))
	}
	if pattern, err := recurrence.Parse(p.m.Bytes(mapi.PidLidAppointmentRecur)); err == nil && p.m.Bool(mapi.PidLidRecurring) {
		text += ", " + pattern.String()
	}
	return text
}

// Forms of dates in words. They are English, as the headers of mail are.
const (
	wordsOfDay  = "Monday, 2 January 2006"
	wordsOfTime = "15:04"
)

// span says from when to when it is.
func span(start, end time.Time, zone string) string {
	text := start.Format(wordsOfDay + " " + wordsOfTime)
	switch sameDay := start.Format(dateForm) == end.Format(dateForm); {
	case end.Equal(start):
	case sameDay:
		text += " - " + end.Format(wordsOfTime)
	default:
		text += " - " + end.Format(wordsOfDay+" "+wordsOfTime)
	}
	return text + " (" + zone + ")"
}

func days(first, last time.Time) string {
	if first.Equal(last) {
		return first.Format(wordsOfDay)
	}
	return first.Format(wordsOfDay) + " - " + last.Format(wordsOfDay)
}

// link returns the address of a meeting.
func (p *planner) link() string {
	return strings.NewReplacer(
		"{uid}", url.QueryEscape(p.uid()),
		"{message-id}", url.QueryEscape(p.m.Text(mapi.PidTagInternetMessageId)),
	).Replace(p.Form.Link)
}
