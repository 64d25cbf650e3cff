package mime

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// classException is the class of the message in which a changed instance is, MS-OXOCAL §2.2.10.1.
const classException = "IPM.OLE.CLASS.{00061055-0000-0000-C000-000000000046}"

// attachmentIsException is the bit of PidTagAttachmentFlags for a changed instance, MS-OXOCAL §2.2.10.1.2.
const attachmentIsException = 0x2

// setMeetings sets the properties of one meeting, or has each of several be a message in the message.
func (c *conversion) setMeetings(meetings []*meeting) {
	if len(meetings) == 1 {
		c.setMeeting(meetings[0])
		return
	}
	for _, m := range meetings {
		a := &mapi.Attachment{Embedded: c.event(m, nil)}
		a.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
		a.Set(mapi.PidTagAttachMimeTag, mapi.String(calendarType))
		a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(notRendered))
		a.Set(mapi.PidTagDisplayName, mapi.String(m.event.text("SUMMARY")))
		c.m.Attachments = append(c.m.Attachments, a)
	}
}

// calendarType is the media type of calendars, RFC 5545 §3.1.4.
const calendarType = "text/calendar"

// event returns an event as an object of its own. What it does not say is that of its series, if it has one.
func (c *conversion) event(m, series *meeting) *mapi.Message {
	own := &conversion{Reader: c.Reader, m: &mapi.Message{}} // what is left is shared
	subject := m.text("SUMMARY", series)
	for _, tag := range []mapi.Tag{mapi.PidTagSubject, mapi.PidTagNormalizedSubject} {
		own.m.Set(tag, mapi.String(subject))
	}
	author, _ := c.m.Address(mapi.SentRepresentingAddress)
	for _, from := range []*meeting{m, series} {
		if from == nil {
			continue
		}
		if p, has := from.event.get("ORGANIZER"); has {
			author = p.address()
			break
		}
	}
	if author.Address != "" {
		own.m.SetAddress(mapi.SentRepresentingAddress, author)
	}
	own.setMeeting(m)
	own.m.Set(mapi.PidLidLocation, mapi.String(m.text("LOCATION", series)))
	own.displayed()
	return own.m
}

// address returns the address of an organizer or an attendee.
func (p calendarProperty) address() mapi.Address {
	address := p.value
	if len(address) > 7 && strings.EqualFold(address[:7], "mailto:") {
		address = address[7:]
	}
	address = withoutNULs(address)
	shown := withoutNULs(p.parameters["CN"])
	if shown == "" {
		shown = address
	}
	return mapi.Address{Name: shown, Type: mapi.AddressSMTP, Address: address, SMTP: address}
}

// changedInstances attaches the instances of a series that were changed, MS-OXOCAL §2.2.10.1.
func (c *conversion) changedInstances(m *meeting) {
	if m.recurs == nil {
		return
	}
	changed := map[time.Time]recurrence.Exception{}
	for _, e := range m.recurs.Exceptions() {
		changed[e.Original] = e
	}
	for _, x := range m.changed {
		original, err := m.local(x.instance)
		if err != nil {
			continue // it was understood before
		}
		embedded := c.event(x, m)
		embedded.Set(mapi.PidTagMessageClass, mapi.String(classException))
		a := &mapi.Attachment{Embedded: embedded}
		a.Set(mapi.PidTagAttachMethod, mapi.AttachEmbedded)
		a.Set(mapi.PidTagAttachmentFlags, mapi.Integer32(attachmentIsException))
		a.Set(mapi.PidTagAttachmentHidden, mapi.Boolean(true))
		a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(notRendered))
		a.Set(mapi.PidTagExceptionStartTime, mapi.NewTime(changed[original].Start))
		a.Set(mapi.PidTagExceptionEndTime, mapi.NewTime(changed[original].End))
		a.Set(mapi.PidTagExceptionReplaceTime, mapi.NewTime(x.instance))
		c.m.Attachments = append(c.m.Attachments, a)
	}
}

// isException says whether an attachment is a changed instance of a series.
func isException(a *mapi.Attachment) bool {
	flags, _ := a.Integer(mapi.PidTagAttachmentFlags)
	return flags&attachmentIsException != 0 && a.Embedded != nil
}

// plannedEvent is an event that is going to be written. The planner is that of the object that says what it is.
type plannedEvent struct {
	*planner
	method, status, uid string
	summary, location   string
	times               []string
	rules               *recurrence.Zone
}

// calendar plans the text/calendar of a meeting, MS-OXCICAL §2.1.3.1. It returns nil for an object that is none, or
// that recurs in a way that iCalendar does not say as Exchange does.
func (p *planner) calendar() (*part, error) {
	events := p.events()
	if events == nil {
		events = p.severalEvents()
	}
	if len(events) == 0 {
		return nil, nil
	}
	p.inCalendar = true
	var w calendarWriter
	w.line("BEGIN:VCALENDAR")
	w.line("PRODID:-//Dipylon//EN")
	w.line("VERSION:2.0")
	w.line("METHOD:" + events[0].method)
	var known []string
	for _, e := range events {
		if e.rules != nil && !slices.Contains(known, e.rules.Name) {
			known = append(known, e.rules.Name)
			writeZone(&w, e.rules)
		}
	}
	for _, e := range events {
		e.write(&w)
	}
	w.line("END:VCALENDAR")
	return p.textPart(calendarType, func(out io.Writer) error {
		_, err := io.WriteString(out, w.String())
		return err
	}, "; method="+events[0].method)
}

// events returns the event that an object is, and the changed instances of it.
func (p *planner) events() []*plannedEvent {
	class := p.m.Text(mapi.PidTagMessageClass)
	start, isStart := dateOf(&p.m.Properties, mapi.PidLidAppointmentStartWhole)
	end, isEnd := dateOf(&p.m.Properties, mapi.PidLidAppointmentEndWhole)
	method, status := methodOf(class)
	if method == "" || !isStart || !isEnd {
		return nil
	}
	times := p.recurringTimes
	if !p.m.Bool(mapi.PidLidRecurring) {
		times = func() *calendarTimes { return p.eventTimes(start, end) }
	}
	t := times()
	if t == nil {
		return nil
	}
	own := &plannedEvent{p, method, status, p.uid(), p.summary(), p.m.Text(mapi.PidLidLocation), t.lines, t.rules}
	events := []*plannedEvent{own}
	for _, x := range t.changed {
		events = append(events, own.changed(x))
	}
	return events
}

// uid returns the UID of a meeting, and of a series by one of its instances (MS-OXCICAL §2.1.3.1.1.20.26).
func (p *planner) uid() string {
	if id := p.m.Bytes(mapi.PidLidCleanGlobalObjectId); len(id) > 0 {
		return uidOf(id)
	}
	return uidOf(cleanObjectID(p.m.Bytes(mapi.PidLidGlobalObjectId)))
}

// changed returns an instance that was changed: as its own object says, if there is one, and else as the series.
func (e *plannedEvent) changed(x changedTimes) *plannedEvent {
	other := *e
	if m := e.exceptionOf(x); m != nil {
		other.planner = e.of(m)
		other.location = m.Text(mapi.PidLidLocation)
	}
	for _, text := range []struct{ from, to *string }{{x.Subject, &other.summary}, {x.Location, &other.location}} {
		if text.from != nil {
			*text.to = *text.from
		}
	}
	other.times = x.lines
	return &other
}

// exceptionOf returns the object of a changed instance, with the people of the series if it has none of its own.
func (e *plannedEvent) exceptionOf(x changedTimes) *mapi.Message {
	within := time.Duration(0)
	if e.rules == nil {
		within = 14 * time.Hour // of whole days it is midnight somewhere
	}
	for _, a := range e.m.Attachments {
		if !isException(a) {
			continue
		}
		at, has := dateOf(&a.Embedded.Properties, mapi.PidLidExceptionReplaceTime)
		if !has {
			at, has = dateOf(&a.Properties, mapi.PidTagExceptionReplaceTime)
		}
		if !has || at.Sub(x.replaces).Abs() > within {
			continue
		}
		m := &mapi.Message{Recipients: a.Embedded.Recipients}
		copyTo(&m.Properties, &a.Embedded.Properties)
		if author, _ := m.Address(mapi.SentRepresentingAddress); author.Address == "" {
			author, _ = e.m.Address(mapi.SentRepresentingAddress)
			m.SetAddress(mapi.SentRepresentingAddress, author)
		}
		if len(m.Recipients) == 0 {
			m.Recipients = e.m.Recipients
		}
		return m
	}
	return nil
}

// of returns a planner of an object that is in this one.
func (p *planner) of(m *mapi.Message) *planner {
	return &planner{Writer: p.Writer, m: m, depth: p.depth + 1, shared: p.shared}
}

// severalEvents returns the events that are messages in the message, as they came in one calendar; nil if one cannot be said, or
// they have several methods.
func (p *planner) severalEvents() (events []*plannedEvent) {
	if !strings.HasPrefix(strings.ToLower(p.m.Text(mapi.PidTagMessageClass))+".", "ipm.note.") {
		return nil
	}
	zones := map[string]recurrence.Zone{}
	for _, a := range p.m.Attachments {
		if !isEvent(a) {
			continue
		}
		own := p.of(a.Embedded).events()
		if own == nil || len(events) > 0 && own[0].method != events[0].method {
			return nil
		}
		if z := own[0].rules; z != nil {
			if other, known := zones[z.Name]; known && other != *z {
				return nil // two zones have one name
			}
			zones[z.Name] = *z
		}
		events = append(events, own...)
	}
	return events
}

// isEvent says whether an attachment is one of several events of a calendar.
func isEvent(a *mapi.Attachment) bool {
	return a.Embedded != nil && a.Text(mapi.PidTagAttachMimeTag) == calendarType
}

// write writes the event, RFC 5545 §3.6.1.
func (e *plannedEvent) write(w *calendarWriter) {
	w.line("BEGIN:VEVENT")
	e.people(w, e.method, e.status)
	w.text("UID", e.uid)
	w.text("SUMMARY", e.summary)
	w.text("LOCATION", e.location)
	for _, line := range e.times {
		w.line(line)
	}
	e.details(w, e.method)
	w.line("END:VEVENT")
}
