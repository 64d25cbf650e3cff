package mime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/recurrence"
)

const inBerlin = ";TZID=\"W. Europe Standard Time\":"

// calendarOf is a message with a calendar of some components.
func calendarOf(method string, components ...string) []byte {
	return []byte("From: Chris <chris@a.example>\r\nTo: George <george@a.example>\r\nSubject: council\r\nContent-Type: text/calendar; charset=utf-8; method=" + method +
		"\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:" + method + "\r\n" + strings.Join(components, "") + "END:VCALENDAR\r\n")
}

func vevent(lines ...string) string {
	return "BEGIN:VEVENT\r\nORGANIZER;CN=Chris:mailto:chris@a.example\r\nATTENDEE;CN=George:mailto:george@a.example\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\n"
}

// says returns some lines of each event of what is written, unfolded.
func says(written []byte, names ...string) (events []string) {
	unfolded := strings.ReplaceAll(string(written), "\r\n ", "")
	for _, event := range strings.Split(unfolded, "BEGIN:VEVENT\r\n")[1:] {
		var lines []string
		for line := range strings.SplitSeq(event, "\r\n") {
			name, _, _ := strings.Cut(line, ":")
			if name, _, _ = strings.Cut(name, ";"); slices.Contains(names, name) {
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		events = append(events, strings.Join(lines, "\n"))
	}
	return events
}

var whenAndWhat = []string{"UID", "SUMMARY", "LOCATION", "DTSTART", "DTEND", "RRULE", "EXDATE", "RECURRENCE-ID", "DESCRIPTION"}

// changedSeries is a series of which the instances of the second to the fourth week are canceled, moved and renamed, and in another room.
var changedSeries = calendarOf("REQUEST", berlinZone,
	vevent("UID:1@a.example", "SUMMARY:The council", "LOCATION:Hall", "DTSTART"+inBerlin+"20261012T090000", "DTEND"+inBerlin+"20261012T100000", "RRULE:FREQ=WEEKLY;COUNT=5"),
	vevent("UID:1@a.example", "STATUS:CANCELLED", "DTSTART"+inBerlin+"20261019T090000", "RECURRENCE-ID"+inBerlin+"20261019T090000"),
	vevent("UID:1@a.example", "SUMMARY:The großer council", "LOCATION:Hall", "DTSTART"+inBerlin+"20261027T113000", "DTEND"+inBerlin+"20261027T120000",
		"RECURRENCE-ID:20261026T080000Z", "DESCRIPTION:one\\ntwo", "ATTENDEE;ROLE=OPT-PARTICIPANT:mailto:dora@a.example"),
	vevent("UID:1@a.example", "SUMMARY:The council", "LOCATION:Room 9", "DTSTART"+inBerlin+"20261102T090000", "DTEND"+inBerlin+"20261102T100000", "RECURRENCE-ID"+inBerlin+"20261102T090000"),
)

// TestChangedInstances: instances of a series that were changed are exceptions of its pattern, and messages in the message (MS-OXOCAL
// §2.2.1.44.2 and §2.2.10.1), and are written as they came.
func TestChangedInstances(t *testing.T) {
	m := convert(t, Reader{}, changedSeries)
	pattern, err := recurrence.Parse(m.Bytes(mapi.PidLidAppointmentRecur))
	if err != nil {
		t.Fatal(err)
	}
	if e := pattern.Exceptions(); len(e) != 2 || *e[0].Subject != "The großer council" || e[0].Location != nil || e[1].Subject != nil || *e[1].Location != "Room 9" {
		t.Errorf("%+v", e)
	}
	if d := pattern.Deleted(); len(d) != 1 || d[0].Day() != 19 {
		t.Errorf("%v is deleted", d)
	}
	if len(m.Attachments) != 2 || m.Bool(mapi.PidTagHasAttachments) {
		t.Fatalf("%d attachments", len(m.Attachments))
	}
	a := m.Attachments[0]
	replaces, _ := a.Time(mapi.PidTagExceptionReplaceTime)
	starts, _ := a.Time(mapi.PidTagExceptionStartTime) // local
	if !replaces.Equal(time.Date(2026, 10, 26, 8, 0, 0, 0, time.UTC)) || !starts.Equal(time.Date(2026, 10, 27, 11, 30, 0, 0, time.UTC)) ||
		a.Embedded.Text(mapi.PidTagMessageClass) != classException || a.Embedded.Text(mapi.PidTagBody) != "one\r\ntwo" || len(a.Embedded.Recipients) != 3 {
		t.Errorf("%v, %v, %q", replaces, starts, a.Embedded.Text(mapi.PidTagBody))
	}
	want := []string{
		"DTEND" + inBerlin + "20261012T100000\nDTSTART" + inBerlin + "20261012T090000\nEXDATE" + inBerlin + "20261019T090000\nLOCATION:Hall\nRRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;WKST=MO;COUNT=5\nSUMMARY:The council\nUID:1@a.example",
		"DESCRIPTION:one\\ntwo\nDTEND" + inBerlin + "20261027T120000\nDTSTART" + inBerlin + "20261027T113000\nLOCATION:Hall\nRECURRENCE-ID" + inBerlin + "20261026T090000\nSUMMARY:The großer council\nUID:1@a.example",
		"DTEND" + inBerlin + "20261102T100000\nDTSTART" + inBerlin + "20261102T090000\nLOCATION:Room 9\nRECURRENCE-ID" + inBerlin + "20261102T090000\nSUMMARY:The council\nUID:1@a.example",
	}
	written := write(t, Writer{}, m)
	if got := says(decoded(t, written), whenAndWhat...); !slices.Equal(got, want) {
		t.Errorf("%q, want\n%q", got, want)
	}
	if bytes.Contains(written, []byte("message/rfc822")) {
		t.Error("an instance is an attachment, too")
	}
	again := convert(t, Reader{}, written)
	if got := says(decoded(t, write(t, Writer{}, again)), whenAndWhat...); !slices.Equal(got, want) {
		t.Errorf("the second time %q", got)
	}
	for _, a := range m.Attachments { // a server may have the pattern alone
		a.Embedded = nil
	}
	m.Attachments = nil
	want[1] = strings.TrimPrefix(want[1], "DESCRIPTION:one\\ntwo\n")
	if got := says(decoded(t, write(t, Writer{}, m)), whenAndWhat...); !slices.Equal(got, want) {
		t.Errorf("without the messages %q", got)
	}
}

// TestMovedInstances: a start that is added where another one is deleted is an instance that was moved (MS-OXCICAL §2.1.3.1.1.20.18).
func TestMovedInstances(t *testing.T) {
	m := convert(t, Reader{}, calendarOf("REQUEST", berlinZone, vevent("UID:1", "SUMMARY:The council", "DTSTART"+inBerlin+"20261012T090000", "DTEND"+inBerlin+"20261012T100000",
		"RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE"+inBerlin+"20261019T090000", "EXDATE"+inBerlin+"20261026T090000", "RDATE"+inBerlin+"20261028T140000")))
	want := []string{
		"DTEND" + inBerlin + "20261012T100000\nDTSTART" + inBerlin + "20261012T090000\nEXDATE" + inBerlin + "20261026T090000\nRRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;WKST=MO;COUNT=4\nSUMMARY:The council\nUID:1",
		"DTEND" + inBerlin + "20261028T150000\nDTSTART" + inBerlin + "20261028T140000\nRECURRENCE-ID" + inBerlin + "20261019T090000\nSUMMARY:The council\nUID:1",
	}
	written := write(t, Writer{}, m)
	if got := says(decoded(t, written), whenAndWhat...); !slices.Equal(got, want) {
		t.Errorf("%q, want\n%q", got, want)
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Embedded.Text(mapi.PidTagSubject) != "The council" || !bytes.Equal(m.Attachments[0].Embedded.Bytes(mapi.PidLidCleanGlobalObjectId), m.Bytes(mapi.PidLidCleanGlobalObjectId)) {
		t.Errorf("%d attachments", len(m.Attachments))
	}
	if got := says(decoded(t, write(t, Writer{}, convert(t, Reader{}, written))), whenAndWhat...); !slices.Equal(got, want) {
		t.Errorf("the second time %q", got)
	}
}

// decoded returns the calendar of a message.
func decoded(t *testing.T, written []byte) []byte {
	t.Helper()
	for leaf := range parse(t, written).Leaves() {
		if leaf.Is(calendarType) {
			var out bytes.Buffer
			if _, err := out.ReadFrom(leaf.Decoded()); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	t.Fatalf("no calendar in\n%s", written)
	return nil
}

// TestOneInstance: an instance that comes by itself is known by the id of the series and its date.
func TestOneInstance(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		lines  []string
		want   string
	}{
		"moved":     {"REQUEST", []string{"DTSTART" + inBerlin + "20261027T110000", "DTEND" + inBerlin + "20261027T120000", "RECURRENCE-ID" + inBerlin + "20261026T090000"}, "RECURRENCE-ID" + inBerlin + "20261026T090000"},
		"canceled":  {"CANCEL", []string{"DTSTART:20261026T080000Z", "DTEND:20261026T090000Z", "RECURRENCE-ID:20261026T080000Z"}, "RECURRENCE-ID:20261026T080000Z"},
		"whole day": {"REQUEST", []string{"DTSTART;VALUE=DATE:20261027", "RECURRENCE-ID;VALUE=DATE:20261026"}, "RECURRENCE-ID;VALUE=DATE:20261026"},
	} {
		m := convert(t, Reader{}, calendarOf(c.method, berlinZone, vevent(append(c.lines, "UID:1@a.example")...)))
		id, clean := m.Bytes(mapi.PidLidGlobalObjectId), m.Bytes(mapi.PidLidCleanGlobalObjectId)
		if date := id[globalDate : globalDate+4]; fmt.Sprintf("%x", date) != "07ea0a1a" || !bytes.Equal(cleanObjectID(id), clean) || !m.Bool(mapi.PidLidIsException) {
			t.Errorf("%s: the date is %x", name, date)
		}
		for _, without := range []mapi.Key{mapi.PidNameKeywords, mapi.PidLidExceptionReplaceTime} {
			if m.Delete(without); without == mapi.Key(mapi.PidLidExceptionReplaceTime) {
				m.Set(mapi.PidLidStartRecurrenceTime, mapi.Integer32(9<<12))
				if name == "canceled" { // in which zone is not known
					if written := write(t, Writer{}, m); bytes.Contains(written, []byte("text/calendar")) {
						t.Errorf("%s: it would be the series:\n%s", name, written)
					}
					continue
				}
			}
			if got := says(decoded(t, write(t, Writer{}, m)), "UID", "RECURRENCE-ID"); len(got) != 1 || got[0] != c.want+"\nUID:1@a.example" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// TestSeveralEvents: each of several events is a message in the message, and they are one calendar again.
func TestSeveralEvents(t *testing.T) {
	m := convert(t, Reader{}, calendarOf("REQUEST", berlinZone,
		vevent("UID:1@a.example", "SUMMARY:one", "DTSTART"+inBerlin+"20261012T090000", "DTEND"+inBerlin+"20261012T100000"),
		vevent("UID:2@a.example", "SUMMARY:two", "DTSTART:20261013T090000Z", "DTEND:20261013T100000Z", "RRULE:FREQ=DAILY;COUNT=3"),
		vevent("UID:3@a.example", "SUMMARY:three", "DTSTART;VALUE=DATE:20261014"),
	))
	if m.Text(mapi.PidTagMessageClass) != "IPM.Note" || len(m.Attachments) != 3 {
		t.Fatalf("%s with %d attachments", m.Text(mapi.PidTagMessageClass), len(m.Attachments))
	}
	want := []string{
		"DTEND" + inBerlin + "20261012T100000\nDTSTART" + inBerlin + "20261012T090000\nSUMMARY:one\nUID:1@a.example",
		"DTEND;TZID=\"UTC\":20261013T100000\nDTSTART;TZID=\"UTC\":20261013T090000\nRRULE:FREQ=DAILY;INTERVAL=1;COUNT=3\nSUMMARY:two\nUID:2@a.example",
		"DTEND;VALUE=DATE:20261015\nDTSTART;VALUE=DATE:20261014\nSUMMARY:three\nUID:3@a.example",
	}
	written := write(t, Writer{}, m)
	if got := says(decoded(t, written), whenAndWhat...); !slices.Equal(got, want) || bytes.Contains(written, []byte("rfc822")) {
		t.Errorf("%q", got)
	}
	if again := convert(t, Reader{}, written); len(again.Attachments) != 3 || again.Attachments[2].Embedded.Text(mapi.PidTagSubject) != "three" {
		t.Errorf("%d attachments", len(again.Attachments))
	}
	// What cannot be said in one calendar is a message each.
	m.Attachments[1].Embedded.Delete(mapi.PidLidAppointmentRecur)
	if written := write(t, Writer{}, m); bytes.Count(written, []byte("message/rfc822")) != 3 {
		t.Errorf("%s", written)
	}
}

// TestZoneOfEvent: an event that does not recur is in the zone that it came in, and of rules of the past those count that hold then.
func TestZoneOfEvent(t *testing.T) {
	past := strings.Replace(berlinZone, "BEGIN:STANDARD", "BEGIN:DAYLIGHT\r\nDTSTART:19800406T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"+
		"RRULE:FREQ=YEARLY;UNTIL=19800406T010000Z;BYMONTH=4;BYDAY=1SU\r\nEND:DAYLIGHT\r\nBEGIN:STANDARD", 1)
	for name, zone := range map[string]string{"rules": berlinZone, "rules of the past, too": past} {
		for local, utc := range map[string]int{"20261012T090000": 7, "20261212T090000": 8} {
			m := convert(t, Reader{}, calendarOf("REQUEST", zone, vevent("UID:1@a.example", "DTSTART"+inBerlin+local)))
			if start, _ := m.Time(mapi.PidLidAppointmentStartWhole); start.Hour() != utc {
				t.Errorf("%s: it starts at %v", name, start)
			}
			written := decoded(t, write(t, Writer{}, m))
			if got := says(written, "DTSTART"); got[0] != "DTSTART"+inBerlin+local || !strings.Contains(string(written), berlinZone) {
				t.Errorf("%s: %q", name, written)
			}
		}
	}
}

// TestWholeDayElsewhere: midnight of the zone of a server is a date.
func TestWholeDayElsewhere(t *testing.T) {
	m := convert(t, Reader{}, calendarOf("REQUEST", berlinZone, vevent("UID:1@a.example", "DTSTART"+inBerlin+"20261012T000000", "DTEND"+inBerlin+"20261013T000000")))
	m.Set(mapi.PidLidAppointmentSubType, mapi.Boolean(true))
	if got := says(decoded(t, write(t, Writer{}, m)), "DTSTART", "DTEND"); got[0] != "DTEND;VALUE=DATE:20261013\nDTSTART;VALUE=DATE:20261012" {
		t.Errorf("%q", got)
	}
}

// TestAppointment: what is in a calendar is published, with or without an organizer.
func TestAppointment(t *testing.T) {
	m := convert(t, Reader{}, calendarOf("REQUEST", vevent("UID:1@a.example", "SUMMARY:dentist", "DTSTART:20261013T090000Z", "DTEND:20261013T100000Z")))
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Appointment"))
	written := decoded(t, write(t, Writer{}, m))
	if got := says(written, "SUMMARY", "DTSTART"); len(got) != 1 || !bytes.Contains(written, []byte("METHOD:PUBLISH\r\n")) {
		t.Errorf("%s", written)
	}
}
