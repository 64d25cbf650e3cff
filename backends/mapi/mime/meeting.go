package mime

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

// Classes of meetings, MS-OXOCAL §2.2.
const (
	classMeeting  = "IPM.Schedule.Meeting."
	classRequest  = classMeeting + "Request"
	classCanceled = classMeeting + "Canceled"
	classResponse = classMeeting + "Resp."
)

// responses are the classes of answers by PARTSTAT, MS-OXCICAL §2.1.3.1.1.20.
var responses = []struct{ class, status string }{{"Pos", "ACCEPTED"}, {"Tent", "TENTATIVE"}, {"Neg", "DECLINED"}}

// Values of MS-OXOCAL §2.2.1.
const (
	busyTentative        = 1
	busyBusy             = 2
	stateMeeting         = 0x1
	stateReceived        = 0x2
	stateCanceled        = 0x4
	responseNotResponded = 5
	meetingRequest       = 0x1
	recipientSendable    = 0x1
	recipientOrganizer   = 0x2
)

// meeting is a VEVENT that is understood.
type meeting struct {
	class      string
	event      *component
	start, end time.Time
	stamp      time.Time
	day        bool
	recurs     *recurrence.Pattern // nil for one event
	zone       recurrence.Zone     // in which it starts, without a name if that is not known
	instance   time.Time           // when the instance of a series would start that this is, zero for none
	ofDay      bool                // that is a date
	changed    []*meeting          // instances of the series
}

// isMeeting says whether a part may be an invitation or the answer to one, MS-OXCMAIL §2.2.3.3.2.
func (c *conversion) isMeeting(e *entity.Entity) bool {
	return e.Is("text/calendar") && e.Disposition.Value != "attachment" && strings.EqualFold(c.m.Text(mapi.PidTagMessageClass), "IPM.Note")
}

// meeting sets the properties of a meeting (MS-OXCICAL §2.1.3.1). Of several events each is a message in the message. A calendar
// that is not understood whole, because it recurs in a way that Exchange does not know or has files, stays an attachment.
func (c *conversion) meeting(e *entity.Entity) error {
	page, err := e.TextPage()
	if err != nil {
		return err
	}
	if page.Number == codepage.ASCII {
		page = utf8Page
	}
	calendar, err := parseCalendar(e.DecodedText(page))
	if err == nil {
		var meetings []*meeting
		if meetings, err = c.understand(calendar); err == nil {
			c.setMeetings(meetings)
			c.plays(e, roleCalendar, nil)
			return nil
		}
	}
	if !errors.Is(err, errCalendar) {
		var parsing *time.ParseError
		var number *strconv.NumError
		if !errors.As(err, &parsing) && !errors.As(err, &number) {
			return err
		}
	}
	_, err = c.attach(e)
	return err
}

// Bounds of the events in all calendars of a message, and of those that recur: their instances are counted.
const (
	eventsMost = 400
	seriesMost = 20
)

// understand takes a calendar. A message has one calendar of several events.
func (c *conversion) understand(calendar *component) (meetings []*meeting, err error) {
	events := calendar.all("VEVENT")
	if len(events) == 0 || len(events)-1 > c.left.events || slices.ContainsFunc(c.m.Attachments, isEvent) {
		return nil, errCalendar
	}
	zones := zonesOf(calendar)
	if meetings, err = understandEvents(events, calendar.text("METHOD"), zones); err != nil {
		return nil, err
	}
	made := len(meetings) - 1
	for _, m := range meetings {
		if m.event.has("RRULE") {
			if c.left.series--; c.left.series < 0 {
				return nil, errCalendar
			}
		}
		if err := m.recurring(zones); err != nil {
			return nil, err
		}
		made += len(m.changed)
	}
	if made > c.left.events {
		return nil, errCalendar
	}
	c.left.events -= made
	return meetings, nil
}

// understandEvents takes the events of a calendar. Those with the UID of a series are instances of it.
func understandEvents(events []*component, method string, zones map[string]zone) (meetings []*meeting, err error) {
	series := map[string]*meeting{}
	var instances []*meeting
	for _, event := range events {
		m, err := understandEvent(event, method, zones)
		if err != nil {
			return nil, err
		}
		uid := event.text("UID")
		switch {
		case !m.instance.IsZero():
			instances = append(instances, m)
			continue
		case series[uid] != nil:
			return nil, errCalendar
		}
		series[uid] = m
		meetings = append(meetings, m)
	}
	for _, m := range instances {
		if of := series[m.event.text("UID")]; of != nil {
			of.changed = append(of.changed, m)
		} else {
			meetings = append(meetings, m)
		}
	}
	return meetings, nil
}

// understandEvent takes an event by itself.
func understandEvent(event *component, method string, zones map[string]zone) (*meeting, error) {
	m := &meeting{event: event}
	if event.has("EXRULE") || event.has("ATTACH") {
		return nil, errCalendar
	}
	if m.class = classOf(method, event); m.class == "" || event.text("UID") == "" {
		return nil, errCalendar
	}
	var err error
	if m.start, m.day, err = event.at("DTSTART", zones); err != nil {
		return nil, err
	}
	if m.end, err = m.ends(zones); err != nil || m.end.Before(m.start) {
		return nil, errCalendar
	}
	if id, has := event.get("RECURRENCE-ID"); has {
		if m.instance, m.ofDay, err = event.at("RECURRENCE-ID", zones); err != nil || id.parameters["RANGE"] != "" {
			return nil, errCalendar // with a range it is one of several
		}
	}
	m.stamp, _, _ = event.at("DTSTAMP", zones) // one that cannot be read is none
	return m, nil
}

// ends returns the end of the event, RFC 5545 §3.6.1.
func (m *meeting) ends(zones map[string]zone) (time.Time, error) {
	if _, has := m.event.get("DTEND"); has {
		end, _, err := m.event.at("DTEND", zones)
		return end, err
	}
	if duration := m.event.text("DURATION"); duration != "" {
		d, err := parseDuration(duration)
		return m.start.Add(d), err
	}
	if m.day {
		return m.start.AddDate(0, 0, 1), nil
	}
	return m.start, nil
}

// classOf returns the class of a message by the calendar's method, MS-OXCICAL §2.1.3.1.1.
func classOf(method string, event *component) string {
	switch strings.ToUpper(method) {
	case "REQUEST":
		return classRequest
	case "CANCEL":
		return classCanceled
	case "REPLY":
		attendee, _ := event.get("ATTENDEE")
		for _, r := range responses {
			if strings.EqualFold(attendee.parameters["PARTSTAT"], r.status) {
				return classResponse + r.class
			}
		}
	}
	return ""
}

func (c *conversion) setMeeting(m *meeting) {
	start, end := mapi.NewTime(m.start), mapi.NewTime(m.end)
	c.m.Set(mapi.PidTagMessageClass, mapi.String(m.class))
	for _, tag := range []mapi.Key{mapi.PidTagStartDate, mapi.PidLidAppointmentStartWhole, mapi.PidLidCommonStart} {
		c.m.Set(tag, start)
	}
	for _, tag := range []mapi.Key{mapi.PidTagEndDate, mapi.PidLidAppointmentEndWhole, mapi.PidLidCommonEnd} {
		c.m.Set(tag, end)
	}
	c.identify(m)
	c.m.Set(mapi.PidLidAppointmentDuration, mapi.Integer32(m.end.Sub(m.start)/time.Minute))
	c.m.Set(mapi.PidLidAppointmentSubType, mapi.Boolean(m.day))
	c.recurs(m)
	c.m.Set(mapi.PidLidLocation, mapi.String(m.event.text("LOCATION")))
	if summary := m.event.text("SUMMARY"); !strings.Contains(c.m.Text(mapi.PidTagSubject), summary) {
		c.m.Set(mapi.PidTagConversationTopic, mapi.String(summary)) // a subject such as "Invitation" is not the meeting's
	}
	if sequence, err := strconv.ParseInt(m.event.text("SEQUENCE"), 10, 32); err == nil {
		c.m.Set(mapi.PidLidAppointmentSequence, mapi.Integer32(sequence))
	}
	if description := m.event.text("DESCRIPTION"); c.plain == nil && c.html == nil && description != "" {
		c.m.Set(mapi.PidTagBody, mapi.String(description))
	}
	c.state(m)
	if !strings.HasPrefix(m.class, classResponse) { // an answer is for whom its header says
		c.attendees(m.event)
	}
	if strings.HasPrefix(m.class, classRequest) {
		c.reminder(m)
	}
	c.changedInstances(m)
}

// identify sets the ids of a meeting: that of an instance has its date, MS-OXOCAL §2.2.1.27 and §2.2.1.28.
func (c *conversion) identify(m *meeting) {
	id := cleanObjectID(globalObjectID(m.event.text("UID")))
	c.m.Set(mapi.PidLidCleanGlobalObjectId, id)
	if !m.instance.IsZero() {
		date, err := m.local(m.instance)
		if m.zone.Name == "" || err != nil {
			date = m.instance
		}
		id = bytes.Clone(id)
		binary.BigEndian.PutUint16(id[globalDate:], uint16(date.Year()))
		id[globalDate+2], id[globalDate+3] = byte(date.Month()), byte(date.Day())
		c.m.Set(mapi.PidLidIsException, mapi.Boolean(true))
		c.m.Set(mapi.PidLidIsRecurring, mapi.Boolean(true))
		c.m.Set(mapi.PidLidExceptionReplaceTime, mapi.NewTime(m.instance))
	}
	c.m.Set(mapi.PidLidGlobalObjectId, id)
}

// state sets what is asked of the recipient, or said by him.
func (c *conversion) state(m *meeting) {
	critical := mapi.Key(mapi.PidLidOwnerCriticalChange)
	switch m.class {
	case classRequest:
		c.m.Set(mapi.PidLidAppointmentStateFlags, mapi.Integer32(stateMeeting|stateReceived))
		c.m.Set(mapi.PidLidResponseStatus, mapi.Integer32(responseNotResponded))
		c.m.Set(mapi.PidLidBusyStatus, mapi.Integer32(busyTentative))
		c.m.Set(mapi.PidLidIntendedBusyStatus, mapi.Integer32(busyBusy))
		c.m.Set(mapi.PidLidMeetingType, mapi.Integer32(meetingRequest))
		c.m.Set(mapi.PidTagResponseRequested, mapi.Boolean(true))
		c.m.Set(mapi.PidTagReplyRequested, mapi.Boolean(true))
	case classCanceled:
		c.m.Set(mapi.PidLidAppointmentStateFlags, mapi.Integer32(stateMeeting|stateReceived|stateCanceled))
	default:
		critical = mapi.PidLidAttendeeCriticalChange
	}
	if !m.stamp.IsZero() {
		c.m.Set(critical, mapi.NewTime(m.stamp))
	}
}

// roles are the kinds of recipients by ROLE, MS-OXCICAL §2.1.3.1.1.20.
var roles = map[string]mapi.Integer32{"OPT-PARTICIPANT": 2, "NON-PARTICIPANT": 3}

// attendees puts organizer and attendees in front of the recipients of a request or a cancellation.
func (c *conversion) attendees(event *component) {
	others := c.m.Recipients
	c.m.Recipients = nil
	names := map[string]string{}
	for _, r := range others {
		names[strings.ToLower(r.Text(mapi.PidTagSmtpAddress))] = r.Text(mapi.PidTagDisplayName)
	}
	seen := map[string]bool{}
	for _, p := range event.properties {
		flags, kind := mapi.Integer32(recipientSendable), mapi.Integer32(1)
		switch p.name {
		case "ORGANIZER":
			flags |= recipientOrganizer
		case "ATTENDEE":
			if role, is := roles[strings.ToUpper(p.parameters["ROLE"])]; is {
				kind = role
			}
		default:
			continue
		}
		address := p.value
		if len(address) > 7 && strings.EqualFold(address[:7], "mailto:") {
			address = withoutNULs(address[7:])
		}
		if key := strings.ToLower(address); !seen[key] {
			seen[key] = true
			shown := cmp.Or(withoutNULs(p.parameters["CN"]), names[key], address)
			c.addRecipient(mapi.Address{Name: shown, Type: mapi.AddressSMTP, Address: address, SMTP: address}, kind).Set(mapi.PidTagRecipientFlags, flags)
		}
	}
	for _, r := range others {
		if !seen[strings.ToLower(r.Text(mapi.PidTagSmtpAddress))] {
			c.m.Recipients = append(c.m.Recipients, r)
		}
	}
}

// reminder sets when to remind, MS-OXCICAL §2.1.3.1.1.20.
func (c *conversion) reminder(m *meeting) {
	for _, alarm := range m.event.all("VALARM") {
		before, err := parseDuration(alarm.text("TRIGGER"))
		if err != nil || before > 0 {
			continue
		}
		c.m.Set(mapi.PidLidReminderSet, mapi.Boolean(true))
		c.m.Set(mapi.PidLidReminderDelta, mapi.Integer32(-before/time.Minute))
		c.m.Set(mapi.PidLidReminderTime, mapi.NewTime(m.start))
		c.m.Set(mapi.PidLidReminderSignalTime, mapi.NewTime(m.start.Add(before)))
		return
	}
}

// globalHead is what the id of a meeting begins with, and globalThirdParty what stands in front of the UID of a calendar that
// is not Exchange's. MS-OXOCAL §2.2.1 and MS-OXCICAL §2.1.3.1.1.20.26.
const (
	globalHead       = "\x04\x00\x00\x00\x82\x00\xe0\x00\x74\xc5\xb7\x10\x1a\x82\xe0\x08"
	globalThirdParty = "vCal-Uid\x01\x00\x00\x00"
	globalDate       = 16                 // where the date of an instance is
	globalData       = 16 + 4 + 8 + 8 + 4 // where the data begin
)

// cleanObjectID returns the id of a series by that of an instance.
func cleanObjectID(id []byte) mapi.Binary {
	if len(id) < globalData {
		return id
	}
	return append(append(bytes.Clone(id[:globalDate]), 0, 0, 0, 0), id[globalDate+4:]...)
}

// globalObjectID returns the id of a meeting by its UID.
func globalObjectID(uid string) mapi.Binary {
	if octets, err := hex.DecodeString(uid); err == nil && len(octets) >= globalData && strings.HasPrefix(string(octets), globalHead) {
		return octets
	}
	id := append([]byte(globalHead), make([]byte, 4+8+8)...)
	data := globalThirdParty + uid
	return append(binary.LittleEndian.AppendUint32(id, uint32(len(data))), data...) // bounded by calendarMost
}

// uidOf returns the UID of a meeting by its id.
func uidOf(id []byte) string {
	if len(id) > globalData {
		if uid, is := bytes.CutPrefix(id[globalData:], []byte(globalThirdParty)); is {
			return string(bytes.TrimRight(uid, "\x00"))
		}
	}
	return strings.ToUpper(hex.EncodeToString(id))
}

// summary returns what a meeting is about: the subject without its prefix, or the topic if the subject is about the message.
func (p *planner) summary() string {
	subject, topic := p.subject(), p.m.Text(mapi.PidTagConversationTopic)
	if topic != "" && !strings.Contains(subject, topic) {
		return topic
	}
	return strings.TrimPrefix(subject, subjectPrefix(subject))
}

// methodOf returns the method of a calendar by the class of a message, and the status of who answers.
func methodOf(class string) (method, status string) {
	switch {
	case strings.EqualFold(class, classRequest):
		return "REQUEST", "NEEDS-ACTION"
	case strings.EqualFold(class, classCanceled):
		return "CANCEL", ""
	case isAppointment(class):
		return "PUBLISH", ""
	}
	for _, r := range responses {
		if strings.EqualFold(class, classResponse+r.class) {
			return "REPLY", r.status
		}
	}
	return "", ""
}

// people writes organizer and attendees. Who answers is the attendee then, and the organizer is whom it is sent to.
func (p *planner) people(w *calendarWriter, method, status string) {
	author, _ := p.m.Address(mapi.SentRepresentingAddress)
	who := p.internet(author)
	if method == "REPLY" {
		w.person("ATTENDEE", who.Name, who.Address, ";PARTSTAT="+status)
		for _, r := range p.m.Recipients[:min(1, len(p.m.Recipients))] {
			a, _ := r.Address(mapi.RecipientAddress)
			w.person("ORGANIZER", p.internet(a).Name, p.internet(a).Address, "")
		}
		return
	}
	if who.Address != "" || method != "PUBLISH" {
		w.person("ORGANIZER", who.Name, who.Address, "")
	}
	for _, r := range p.m.Recipients {
		a, _ := r.Address(mapi.RecipientAddress)
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		if isOrganizer(r) || kind < 1 || kind > 3 || p.internet(a).Address == who.Address || p.isHidden(r, kind) {
			continue
		}
		parameters := ";ROLE=" + []string{"REQ-PARTICIPANT", "OPT-PARTICIPANT", "NON-PARTICIPANT"}[kind-1]
		if status != "" {
			parameters += ";PARTSTAT=" + status + ";RSVP=" + strings.ToUpper(strconv.FormatBool(p.m.Bool(mapi.PidTagResponseRequested)))
		}
		w.person("ATTENDEE", p.internet(a).Name, p.internet(a).Address, parameters)
	}
}

// isOrganizer says whether a recipient is the organizer of a meeting, who is among its recipients and gets no mail.
func isOrganizer(r *mapi.Recipient) bool {
	flags, _ := r.Integer(mapi.PidTagRecipientFlags)
	return flags&recipientOrganizer != 0
}

// isHidden says whether a recipient is one of Bcc, of whom the others must not read. A room is of the same kind: it is known by
// the flags that attendees have and others have not.
func (p *planner) isHidden(r *mapi.Recipient, kind int64) bool {
	return kind == recipientBcc && !p.Bcc && !r.Has(mapi.PidTagRecipientFlags)
}

// isAppointment says whether a class is that of what is in a calendar, MS-OXOCAL §2.2.2.1.
func isAppointment(class string) bool {
	return strings.HasPrefix(strings.ToLower(class)+".", "ipm.appointment.")
}

// hasOrganizer says whether the organizer of a meeting is among the recipients of an object of a class.
func hasOrganizer(class string) bool {
	class = strings.ToLower(class)
	return isAppointment(class) ||
		strings.HasPrefix(class, "ipm.schedule.") && !strings.HasPrefix(class, strings.ToLower(classResponse))
}

// details writes what else is known of the event.
func (p *planner) details(w *calendarWriter, method string) {
	for _, tag := range []mapi.Key{mapi.PidLidOwnerCriticalChange, mapi.PidLidAttendeeCriticalChange, mapi.PidTagClientSubmitTime} {
		if at, ok := dateOf(&p.m.Properties, tag); ok {
			w.line("DTSTAMP:" + at.Format(utcForm)) // RFC 5545 §3.8.7.2
			break
		}
	}
	sequence, _ := p.m.Integer(mapi.PidLidAppointmentSequence)
	w.line(fmt.Sprintf("SEQUENCE:%d", sequence))
	if method == "CANCEL" {
		w.line("STATUS:CANCELLED")
	}
	if sensitivity, _ := p.m.Integer(mapi.PidTagSensitivity); sensitivity >= 2 {
		w.line("CLASS:PRIVATE")
	}
	w.line("X-MICROSOFT-CDO-ALLDAYEVENT:" + strings.ToUpper(strconv.FormatBool(p.m.Bool(mapi.PidLidAppointmentSubType))))
	w.text("DESCRIPTION", p.m.Text(mapi.PidTagBody))
	if delta, ok := p.m.Integer(mapi.PidLidReminderDelta); ok && method == "REQUEST" && p.m.Bool(mapi.PidLidReminderSet) && delta >= 0 {
		w.line("BEGIN:VALARM")
		w.line("ACTION:DISPLAY")
		w.line("DESCRIPTION:Reminder")
		w.line(fmt.Sprintf("TRIGGER:-PT%dM", delta))
		w.line("END:VALARM")
	}
}
