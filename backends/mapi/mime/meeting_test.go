package mime

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
)

// invitation is a message with a calendar: some lines of the event more.
func invitation(method string, lines ...string) []byte {
	return []byte("From: Chris <chris@a.example>\r\nTo: George <george@a.example>\r\nSubject: council\r\nDate: Thu, 12 Nov 2026 10:06:07 +0100\r\n" +
		"Content-Type: text/calendar; charset=utf-8; method=" + method + "\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:" + method + "\r\nBEGIN:VEVENT\r\nUID:1@a.example\r\n" +
		"ORGANIZER;CN=Chris:mailto:chris@a.example\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
}

// TestMeetings: what a calendar says is in the properties, and is written again; what is not understood is an attachment.
func TestMeetings(t *testing.T) {
	day := "DTSTART;VALUE=DATE:20261201"
	start := "DTSTART:20261201T090000Z"
	for _, c := range []struct {
		name, method string
		lines        []string
		class        string // "" for an attachment
		minutes      int64
	}{
		{"request", "REQUEST", []string{start, "DTEND:20261201T103000Z", "SUMMARY:The council\\, at last", "ATTENDEE;ROLE=OPT-PARTICIPANT:MAILTO:dora@a.example", "ATTENDEE:mailto:GEORGE@a.example"}, "IPM.Schedule.Meeting.Request", 90},
		{"duration", "REQUEST", []string{start, "DURATION:P1DT2H"}, "IPM.Schedule.Meeting.Request", 26 * 60},
		{"whole day", "REQUEST", []string{day}, "IPM.Schedule.Meeting.Request", 24 * 60},
		{"no end", "REQUEST", []string{start}, "IPM.Schedule.Meeting.Request", 0},
		{"cancellation", "CANCEL", []string{start, "DTEND:20261201T103000Z"}, "IPM.Schedule.Meeting.Canceled", 90},
		{"accepted", "REPLY", []string{start, "ATTENDEE;PARTSTAT=ACCEPTED:mailto:chris@a.example"}, "IPM.Schedule.Meeting.Resp.Pos", 0},
		{"declined", "REPLY", []string{start, "ATTENDEE;PARTSTAT=DECLINED:mailto:chris@a.example"}, "IPM.Schedule.Meeting.Resp.Neg", 0},
		{"tentative", "REPLY", []string{start, "ATTENDEE;PARTSTAT=TENTATIVE:mailto:chris@a.example"}, "IPM.Schedule.Meeting.Resp.Tent", 0},
		{"delegated", "REPLY", []string{start, "ATTENDEE;PARTSTAT=DELEGATED:mailto:chris@a.example"}, "", 0},
		{"recurring", "REQUEST", []string{start, "RRULE:FREQ=DAILY", "EXDATE:20261203T090000Z,20261204T090000Z"}, "IPM.Schedule.Meeting.Request", 0},
		{"recurring on whole days", "REQUEST", []string{day, "RRULE:FREQ=WEEKLY;UNTIL=20270101", "EXDATE;VALUE=DATE:20261208"}, "IPM.Schedule.Meeting.Request", 24 * 60},
		{"recurring by hours", "REQUEST", []string{start, "RRULE:FREQ=HOURLY"}, "", 0},
		{"recurring twice", "REQUEST", []string{start, "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"}, "", 0},
		{"no such instance", "REQUEST", []string{start, "RRULE:FREQ=DAILY", "EXDATE:20261203T100000Z"}, "", 0},
		{"also at other times", "REQUEST", []string{start, "RRULE:FREQ=DAILY", "RDATE:20261203T100000Z"}, "", 0},
		{"at other times alone", "REQUEST", []string{start, "RDATE:20261203T100000Z,20261204T100000Z"}, "", 0},
		{"at other times of another length", "REQUEST", []string{start, "RRULE:FREQ=WEEKLY", "EXDATE:20261208T090000Z", "RDATE;VALUE=PERIOD:20261209T100000Z/PT1H"}, "", 0},
		{"on the fifth weekday", "REQUEST", []string{"DTSTART:20261229T090000Z", "RRULE:FREQ=MONTHLY;BYDAY=5TU"}, "IPM.Schedule.Meeting.Request", 0},
		{"one of several", "REQUEST", []string{start, "RECURRENCE-ID:20261201T090000Z"}, "IPM.Schedule.Meeting.Request", 0},
		{"one and those behind it", "REQUEST", []string{start, "RECURRENCE-ID;RANGE=THISANDFUTURE:20261201T090000Z"}, "", 0},
		{"floating", "REQUEST", []string{"DTSTART:20261201T090000"}, "", 0},
		{"zone without rules", "REQUEST", []string{"DTSTART;TZID=Somewhere:20261201T090000"}, "", 0},
		{"ends before it starts", "REQUEST", []string{start, "DTEND:20261101T090000Z"}, "", 0},
		{"published", "PUBLISH", []string{start}, "", 0},
		{"with a file", "REQUEST", []string{start, "ATTACH;ENCODING=BASE64;VALUE=BINARY:QUJD"}, "", 0},
		{"of twenty millennia", "REQUEST", []string{start, "DURATION:P999999W"}, "", 0},
		{"two events", "REQUEST", []string{start, "END:VEVENT", "BEGIN:VEVENT", start}, "", 0},
		{"broken", "REQUEST", []string{start, "BEGIN:VALARM"}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := convert(t, Reader{}, invitation(c.method, c.lines...))
			class := before.Text(mapi.PidTagMessageClass)
			if c.class == "" {
				if class != "IPM.Note" || len(before.Attachments) != 1 || before.Attachments[0].Text(mapi.PidTagAttachMimeTag) != "text/calendar" {
					t.Fatalf("%s with %d attachments", class, len(before.Attachments))
				}
				_, calendar, _ := strings.Cut(string(invitation(c.method, c.lines...)), "\r\n\r\n")
				for _, m := range []*mapi.Message{before, convert(t, Reader{}, write(t, Writer{}, before))} {
					if got := string(octetsOf(t, m.Attachments[0].Data)); got != calendar {
						t.Errorf("the calendar is not as it came: %q", got)
					}
				}
				return
			}
			if minutes, _ := before.Integer(mapi.PidLidAppointmentDuration); class != c.class || minutes != c.minutes || len(before.Attachments) != 0 {
				t.Errorf("%s of %d minutes, want %s of %d", class, minutes, c.class, c.minutes)
			}
			if !slices.ContainsFunc(before.Recipients, func(r *mapi.Recipient) bool { return r.Text(mapi.PidTagDisplayName) == "George" }) {
				t.Error("the name in the header is lost")
			}
			after := convert(t, Reader{}, write(t, Writer{}, before))
			if got, want := meetingLines(after), meetingLines(before); !slices.Equal(got, want) {
				t.Errorf("%q became %q by\n%s", want, got, write(t, Writer{}, before))
			}
		})
	}
}

// meetingLines is what must stay of a meeting.
func meetingLines(m *mapi.Message) (lines []string) {
	for _, k := range []mapi.Key{
		mapi.PidTagMessageClass, mapi.PidLidAppointmentStartWhole, mapi.PidLidAppointmentEndWhole, mapi.PidLidLocation, mapi.PidLidAppointmentSequence,
		mapi.PidLidCleanGlobalObjectId, mapi.PidLidReminderDelta, mapi.PidTagSubject, mapi.PidTagConversationTopic,
	} {
		if v := m.Get(k); v != nil && v != mapi.Value(mapi.Integer32(0)) {
			lines = append(lines, fmt.Sprint(k, " ", v))
		}
	}
	var people []string
	for _, r := range m.Recipients {
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		people = append(people, fmt.Sprint(kind, r.Text(mapi.PidTagDisplayName), r.Text(mapi.PidTagSmtpAddress)))
	}
	slices.Sort(people)
	return append(lines, slices.Compact(people)...)
}

// TestMeetingsWritten: a meeting as the server has it becomes a calendar that says the same, and its organizer gets no mail.
func TestMeetingsWritten(t *testing.T) {
	for _, name := range []string{"10-calendar-request", "33-winmail-meeting"} {
		written := write(t, Writer{}, recorded(t, name))
		e := parse(t, written)
		if to := parseAddresses(e.Field("To")); len(to) != 1 || to[0].SMTP != "george@sakes.example" {
			t.Errorf("%s goes to %v", name, to)
		}
		var shape []string
		for leaf := range e.Leaves() {
			shape = append(shape, leaf.Type.Value+leaf.Type.Get("method"))
		}
		if got := fmt.Sprint(e.Type.Value, shape); got != "multipart/alternative[text/plain text/html text/calendarREQUEST]" {
			t.Errorf("%s is %s", name, got)
		}
		calendar, err := parseCalendar(e.Parts[2].Decoded())
		if err != nil {
			t.Fatal(err)
		}
		event := calendar.all("VEVENT")[0]
		for property, want := range map[string]string{
			"UID": "fixture-10@sakes.example", "DTSTART": "20261201T100000", "DTEND": "20261201T113000", "SUMMARY": "Meeting: harbour council",
			"LOCATION": "Hafenmeisterei, großer Saal", "ORGANIZER": "mailto:chris@sakes.example", "ATTENDEE": "mailto:george@sakes.example", "DTSTAMP": "20261112T090000Z",
			"DESCRIPTION": "Please come to the harbour council.",
		} {
			if got := event.text(property); got != want {
				t.Errorf("%s: %s is %q, want %q", name, property, got, want)
			}
		}
		if at, _, err := event.at("DTSTART", zonesOf(calendar)); err != nil || at.Format(utcForm) != "20261201T090000Z" {
			t.Errorf("%s starts at %v, %v", name, at, err)
		}
	}
}

// TestZones has times in Berlin, on both sides of the changes.
func TestZones(t *testing.T) {
	e := parse(t, sent(t, "10-calendar-request"))
	calendar, err := parseCalendar(e.Parts[1].Decoded())
	if err != nil {
		t.Fatal(err)
	}
	berlin := zonesOf(calendar)["Europe/Berlin"]
	for local, want := range map[string]string{
		"20261201T100000": "20261201T090000Z", "20260701T100000": "20260701T080000Z", "20260101T000000": "20251231T230000Z",
		"20260329T015959": "20260329T005959Z", "20260329T030000": "20260329T010000Z", "20261025T015959": "20261024T235959Z", "20261025T030000": "20261025T020000Z",
		"19500101T000000": "19491231T220000Z",
	} {
		at, err := time.Parse(localForm, local)
		if err != nil {
			t.Fatal(err)
		}
		if got := berlin.utc(at).Format(utcForm); got != want {
			t.Errorf("%s is %s, want %s", local, got, want)
		}
	}
}

// TestCalendarLines: texts survive being written, and no line of a text is one of the calendar.
func TestCalendarLines(t *testing.T) {
	for _, text := range []string{"a, b; c\\d", "one\r\ntwo\r\nEND:VEVENT", strings.Repeat("日本語", 60), "\x00x"} {
		var w calendarWriter
		w.line("BEGIN:VCALENDAR")
		w.text("SUMMARY", text)
		w.person("ATTENDEE", `A "quoted"; name: x`, "a@b\r\nX:y", "")
		w.line("END:VCALENDAR")
		for line := range strings.SplitSeq(w.String(), "\r\n") {
			if len(line) > calendarLine+2 {
				t.Errorf("a line of %d octets", len(line))
			}
		}
		c, err := parseCalendar(strings.NewReader(w.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.text("SUMMARY"); got != strings.Trim(text, "\x00") {
			t.Errorf("%q became %q", text, got)
		}
		if p, _ := c.get("ATTENDEE"); p.parameters["CN"] != "A 'quoted'; name: x" || len(c.properties) != 2 {
			t.Errorf("%+v", c.properties)
		}
	}
}

// FuzzCalendar: any text is a meeting or an attachment.
func FuzzCalendar(f *testing.F) {
	f.Add(string(invitation("REQUEST", "DTSTART:20261201T090000Z", "DURATION:PT1H")))
	f.Add(string(sent(f, "10-calendar-request")))
	for _, message := range [][]byte{changedSeries, calendarOf("REQUEST", vevent("UID:1", "DTSTART:20261012T090000Z"), vevent("UID:2", "DTSTART;VALUE=DATE:20261012"))} {
		_, calendar, _ := strings.Cut(string(message), "\r\n\r\n")
		f.Add(calendar)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 { // larger ones have many series, whose instances are counted: they are slow, and say nothing else
			return
		}
		calendar, err := parseCalendar(strings.NewReader(text))
		if err != nil {
			return
		}
		c := &conversion{Reader: Reader{left: newLeft()}, m: &mapi.Message{}}
		if m, err := c.understand(calendar); err == nil {
			c.setMeetings(m)
			e := parse(t, twice(t, Writer{}, c.m))
			for leaf := range e.Leaves() {
				if leaf.Is("text/calendar") {
					if _, err := parseCalendar(leaf.Decoded()); err != nil {
						t.Errorf("what was written cannot be read: %v", err)
					}
				}
			}
		}
	})
}

// TestAnswer: an answer is for whom its header says, who organizes the meeting: it is not for its own author.
func TestAnswer(t *testing.T) {
	answer := []byte("From: George <george@a.example>\r\nTo: Chris <chris@a.example>\r\nContent-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REPLY\r\n" +
		"BEGIN:VEVENT\r\nUID:1@a.example\r\nDTSTART:20261201T090000Z\r\nORGANIZER:mailto:chris@a.example\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:george@a.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	m := convert(t, Reader{}, answer)
	if to := m.Text(mapi.PidTagDisplayTo); to != "Chris" {
		t.Errorf("the answer is for %q", to)
	}
	e := parse(t, write(t, Writer{}, m))
	calendar, err := parseCalendar(e.Decoded())
	if err != nil {
		t.Fatal(err)
	}
	organizer, _ := calendar.all("VEVENT")[0].get("ORGANIZER")
	if to := parseAddresses(e.Field("To")); len(to) != 1 || to[0].SMTP != "chris@a.example" || organizer.value != "mailto:chris@a.example" {
		t.Errorf("it goes to %v, and the organizer is %s", to, organizer.value)
	}
}

// TestHiddenAttendee: who gets an invitation by Bcc is not in its calendar; a room, which the calendar itself has, is.
func TestHiddenAttendee(t *testing.T) {
	message := strings.Replace(string(invitation("REQUEST", "DTSTART:20261201T090000Z", "ATTENDEE;ROLE=NON-PARTICIPANT:mailto:room@a.example")), "Subject:", "Bcc: dora@a.example\r\nSubject:", 1)
	m := convert(t, Reader{}, []byte(message))
	written := string(write(t, Writer{}, m))
	if strings.Contains(written, "dora@") || !strings.Contains(written, "room@") {
		t.Errorf("%s", written)
	}
	if written = string(write(t, Writer{Bcc: true}, m)); !strings.Contains(written, "dora@") {
		t.Errorf("%s", written)
	}
}

// TestOrganizerOfNone: a mail that is no meeting goes to whoever is its recipient.
func TestOrganizerOfNone(t *testing.T) {
	m := convert(t, Reader{}, []byte("To: Chris <chris@a.example>\r\n\r\n"))
	m.Recipients[0].Set(mapi.PidTagRecipientFlags, mapi.Integer32(recipientSendable|recipientOrganizer))
	if to := parse(t, write(t, Writer{}, m)).Field("To"); to == "" {
		t.Error("the recipient is lost")
	}
}
