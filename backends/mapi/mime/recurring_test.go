package mime

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
)

// berlinZone are the rules of Berlin's time as calendars have them.
const berlinZone = "BEGIN:VTIMEZONE\r\nTZID:W. Europe Standard Time\r\n" +
	"BEGIN:STANDARD\r\nDTSTART:16011028T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r\nEND:STANDARD\r\n" +
	"BEGIN:DAYLIGHT\r\nDTSTART:16010325T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\nEND:DAYLIGHT\r\n" +
	"END:VTIMEZONE\r\n"

// council is an invitation that recurs each Monday and Thursday in Berlin, over the end of summer time.
func council(t *testing.T) *mapi.Message {
	t.Helper()
	const zone = ";TZID=\"W. Europe Standard Time\":"
	message := string(invitation("REQUEST", "DTSTART"+zone+"20261015T090000", "DTEND"+zone+"20261015T100000",
		"RRULE:FREQ=WEEKLY;BYDAY=MO,TH;WKST=MO;UNTIL=20261109T080000Z", "EXDATE"+zone+"20261022T090000"))
	return convert(t, Reader{}, []byte(strings.Replace(message, "BEGIN:VEVENT\r\n", berlinZone+"BEGIN:VEVENT\r\n", 1)))
}

// TestRecurring: a meeting that recurs is at the same local times in the object and in the calendar that is made of it.
func TestRecurring(t *testing.T) {
	m := council(t)
	start, _ := m.Time(mapi.PidLidAppointmentStartWhole)
	if kind, _ := m.Integer(mapi.PidLidRecurrenceType); !m.Bool(mapi.PidLidRecurring) || kind != 2 || !start.Equal(time.Date(2026, 10, 15, 7, 0, 0, 0, time.UTC)) {
		t.Fatalf("recurs: %t, type %d, from %v", m.Bool(mapi.PidLidRecurring), kind, start)
	}
	written := strings.ReplaceAll(string(write(t, Writer{}, m)), "\r\n ", "")
	for _, want := range []string{
		berlinZone, "DTSTART;TZID=\"W. Europe Standard Time\":20261015T090000\r\nDTEND;TZID=\"W. Europe Standard Time\":20261015T100000\r\n",
		"RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TH;WKST=MO;UNTIL=20261109T080000Z\r\n", "EXDATE;TZID=\"W. Europe Standard Time\":20261022T090000\r\n",
	} {
		if !strings.Contains(written, want) {
			t.Errorf("%q is missing in %s", want, written)
		}
	}
	again := convert(t, Reader{}, write(t, Writer{}, m))
	for _, k := range []mapi.Key{
		mapi.PidLidAppointmentRecur, mapi.PidLidTimeZoneStruct, mapi.PidLidAppointmentTimeZoneDefinitionRecur, mapi.PidLidTimeZoneDescription, mapi.PidLidClipStart, mapi.PidLidClipEnd,
	} {
		if got, want := show(again.Get(k)), show(m.Get(k)); got != want || got == show(nil) {
			t.Errorf("%v is %s, and was %s", k, got, want)
		}
	}
}

// TestRecurringUnsaid: where iCalendar would say another time there is none, and a text says what is known.
func TestRecurringUnsaid(t *testing.T) {
	const first, often = "When: Thursday, 15 October 2026 09:00 - 10:00 (W. Europe Standard Time)", ", every week on Monday and Thursday until 9 November 2026"
	says := map[string]string{ // what is not the usual
		"nothing": "", "no rule": ", and at further times", "a broken rule": ", and at further times", "another instant": "When: Thursday, 1 January 1970 01:00 - ",
	}
	for name, change := range map[string]func(*mapi.Message){
		"nothing": func(*mapi.Message) {},
		"no rule": func(m *mapi.Message) { m.Delete(mapi.PidLidAppointmentRecur) },
		"a broken rule": func(m *mapi.Message) {
			m.Set(mapi.PidLidAppointmentRecur, m.Get(mapi.PidLidAppointmentRecur).(mapi.Binary)[:40])
		},
		"no zone": func(m *mapi.Message) {
			m.Delete(mapi.PidLidTimeZoneStruct, mapi.PidLidAppointmentTimeZoneDefinitionRecur)
		},
		"another zone":    func(m *mapi.Message) { m.Set(mapi.PidLidTimeZoneStruct, mapi.Binary(make([]byte, 48))) },
		"another instant": func(m *mapi.Message) { m.Set(mapi.PidLidAppointmentStartWhole, mapi.NewTime(time.Unix(0, 0))) },
	} {
		m := council(t)
		change(m)
		m.Set(mapi.PidTagHtml, mapi.Binary("<p>Bring the bills."))
		want, unusual := says[name]
		if !unusual {
			want = first + often + "\r\nNot on: Thursday, 22 October 2026"
		}
		written := write(t, Writer{}, m)
		texts := strings.Join(textsOf(t, written), "\n")
		if strings.Contains(string(written), "text/calendar") != (name == "nothing") || !strings.Contains(texts, want) || !strings.Contains(texts, "<p>Bring the bills.") || strings.Contains(texts, "When") != (want != "") {
			t.Errorf("%s: %s", name, written)
		}
	}
}

// TestChangedUnsaid: of a series whose rule cannot be said the changed instances are.
func TestChangedUnsaid(t *testing.T) {
	m := convert(t, Reader{}, changedSeries)
	m.Set(mapi.PidLidAppointmentRecur, mapi.Binary("\x04\x30\x04\x30"))
	written := string(write(t, Writer{}, m))
	for _, want := range []string{
		"When: Monday, 12 October 2026 09:00 - 10:00 (W. Europe Standard Time), and at further times", "When: Tuesday, 27 October 2026 10:30 - 11:00 (UTC)", "Where: Room 9",
	} {
		if !strings.Contains(strings.ReplaceAll(written, "=\r\n", ""), want) {
			t.Errorf("%q is not in %s", want, written)
		}
	}
}

// TestEventsOfAMessage: a message has one calendar of several events, of which there are so many with those that were moved; others are files.
func TestEventsOfAMessage(t *testing.T) {
	several := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, vevent(fmt.Sprintf("UID:%d", i), "DTSTART:20261012T090000Z"))
		}
		return strings.Join(all, "")
	}
	var deleted, added []string
	for i := range eventsMost {
		day := time.Date(2026, 10, 13+2*i, 9, 0, 0, 0, time.UTC)
		deleted, added = append(deleted, day.Format(utcForm)), append(added, day.Add(3*time.Hour).Format(utcForm))
	}
	moved := func(n int) string {
		return vevent("UID:1", "DTSTART:20261012T090000Z", "RRULE:FREQ=DAILY", "EXDATE:"+strings.Join(deleted[:n], ","), "RDATE:"+strings.Join(added[:n], ","))
	}
	for name, c := range map[string]struct {
		calendars []string
		events    int // messages in the message
		files     int
	}{
		"several":           {[]string{several(eventsMost)}, eventsMost, 0},
		"too many":          {[]string{several(eventsMost + 2)}, 0, 1},
		"several twice":     {[]string{several(2), several(2), several(2)}, 2, 2},
		"moved":             {[]string{moved(eventsMost)}, eventsMost, 0},
		"too many moved":    {[]string{moved(eventsMost-1) + several(3)}, 0, 1},
		"too many at first": {[]string{several(eventsMost + 2), several(2)}, 2, 1},
	} {
		mail := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
		for _, calendar := range c.calendars {
			mail += "--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n" + strings.ReplaceAll(calendar, "UID:1\r\nDTSTART:20261012T090000Z\r\nRRULE", "UID:r\r\nDTSTART:20261012T090000Z\r\nRRULE") + "END:VCALENDAR\r\n"
		}
		m := convert(t, Reader{}, []byte(mail+"--b--"))
		events := 0
		for _, a := range m.Attachments {
			if a.Embedded != nil {
				events++
			}
		}
		if events != c.events || len(m.Attachments)-events != c.files {
			t.Errorf("%s: %d events and %d files", name, events, len(m.Attachments)-events)
		}
	}
}

// TestSeriesOfAMessage: the series in all calendars of a message, and of the messages in it, are bounded together.
func TestSeriesOfAMessage(t *testing.T) {
	calendar := func(n int) string {
		var events []string
		for i := range n {
			events = append(events, vevent(fmt.Sprintf("UID:%d-%d", n, i), "DTSTART:20261012T090000Z", "RRULE:FREQ=DAILY;COUNT=3"))
		}
		_, text, _ := strings.Cut(string(calendarOf("REQUEST", events...)), "\r\n\r\n")
		return "Content-Type: text/calendar; method=REQUEST\r\n\r\n" + text
	}
	const head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="
	inner := "Content-Type: message/rfc822\r\n\r\n" + head + "i\r\n\r\n--i\r\n" + calendar(5) + "--i\r\n" + calendar(seriesMost-12) + "--i--\r\n"
	mail := head + "b\r\n\r\n--b\r\n" + calendar(10) + "--b\r\n" + inner + "--b\r\n" + calendar(2) + "--b--\r\n"
	m, err := Reader{}.Read(strings.NewReader(mail), int64(len(mail)))
	if err != nil {
		t.Fatal(err)
	}
	var got []int // the events of each message, and 0 for a calendar that is a file
	var count func(m *mapi.Message)
	count = func(m *mapi.Message) {
		n := 0
		for _, a := range m.Attachments {
			switch {
			case isEvent(a):
				n++
			case a.Embedded != nil:
				count(a.Embedded)
			default:
				got = append(got, 0)
			}
		}
		got = append(got, n)
	}
	count(m)
	if fmt.Sprint(got) != fmt.Sprint([]int{0, 5, 0, 10}) {
		t.Errorf("there are %v events", got)
	}
}
