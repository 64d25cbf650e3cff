package mime

import (
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// isInWords says whether an object is a meeting or an appointment that is written as plain text, as the form wants it. In UUENCODE there
// is no other way to say it.
func (p *planner) isInWords() bool {
	if p.Form.Calendar == CalendarICal && !p.Form.UUEncode || p.Form.RichText {
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
	lines := p.calendarLines()
	if p.Form.Calendar == CalendarLink {
		lines = appendLine(lines, "Link", p.link())
	}
	return strings.Join(append(lines, "", endOfDetails, "", ""), "\r\n"), true
}

// calendarLines say when and where a meeting is, and which instances of a series are not as it has them.
func (p *planner) calendarLines() []string {
	lines := appendLine(nil, "When", p.when())
	lines = appendLine(lines, "Where", p.m.Text(mapi.PidLidLocation))
	pattern, err := recurrence.Parse(p.m.Bytes(mapi.PidLidAppointmentRecur))
	if err != nil || !p.m.Bool(mapi.PidLidRecurring) {
		return lines
	}
	for _, at := range pattern.Deleted() {
		lines = appendLine(lines, "Not on", at.Format(wordsOfDay))
	}
	for _, e := range pattern.Exceptions() {
		lines = appendLine(lines, "Changed", p.changedInWords(pattern, e))
	}
	return lines
}

func appendLine(lines []string, name, text string) []string {
	if text = strings.Join(strings.Fields(text), " "); text != "" {
		lines = append(lines, name+": "+text)
	}
	return lines
}

// changedInWords says what is other in an instance of a series.
func (p *planner) changedInWords(pattern *recurrence.Pattern, e recurrence.Exception) string {
	allDay := p.m.Bool(mapi.PidLidAppointmentSubType)
	if e.AllDay != nil {
		allDay = *e.AllDay
	}
	text := e.Original.Format(wordsOfDay)
	switch {
	case allDay && isDate(e.Start) && isDate(e.End) && e.End.After(e.Start):
		text += " is on " + days(e.Start, e.End.AddDate(0, 0, -1))
	case !e.Start.Equal(e.Original) || e.End.Sub(e.Start) != pattern.Duration():
		text += " is on " + span(e.Start, e.End)
	}
	if e.Subject != nil {
		text += ", about: " + *e.Subject
	}
	if e.Location != nil {
		text += ", where: " + *e.Location
	}
	return text
}

// unsaid plans a text that says when and where a meeting is, if no calendar can: if it recurs as iCalendar cannot say, for example
// by another calendar than the Gregorian. Then it does so for the changed instances of a series, which are messages in it. It returns nil
// for other objects.
func (p *planner) unsaid() (*part, error) {
	class := p.m.Text(mapi.PidTagMessageClass)
	method, _ := methodOf(class)
	if method == "" && !strings.EqualFold(class, classException) || !p.m.Has(mapi.PidLidAppointmentStartWhole) {
		return nil, nil
	}
	text := strings.Join(append(p.calendarLines(), ""), "\r\n")
	return p.textPart("text/plain", func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}, "")
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
	text := span(start, end) + " (" + name + ")"
	if p.m.Bool(mapi.PidLidAppointmentSubType) && isDate(start) && isDate(end) && end.After(start) {
		text = days(start, end.AddDate(0, 0, -1))
	}
	if !p.m.Bool(mapi.PidLidRecurring) {
		return text
	}
	pattern, err := recurrence.Parse(p.m.Bytes(mapi.PidLidAppointmentRecur))
	if err != nil {
		return text + ", and at further times by a rule that Internet mail cannot say"
	}
	return text + ", " + pattern.String()
}

// Forms of dates in words. They are English, as the headers of mail are.
const (
	wordsOfDay  = "Monday, 2 January 2006"
	wordsOfTime = "15:04"
)

// span says from when to when it is.
func span(start, end time.Time) string {
	text := start.Format(wordsOfDay + " " + wordsOfTime)
	switch sameDay := start.Format(dateForm) == end.Format(dateForm); {
	case end.Equal(start):
	case sameDay:
		text += " - " + end.Format(wordsOfTime)
	default:
		text += " - " + end.Format(wordsOfDay+" "+wordsOfTime)
	}
	return text
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
