package mime

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestCalendarForms: who has no calendar reads when and where a meeting is, and where it leads if that is wanted.
func TestCalendarForms(t *testing.T) {
	meeting := func(lines ...string) *mapi.Message {
		m := convert(t, Reader{}, calendarOf("REQUEST", berlinZone, vevent(append(lines, "UID:a&b", "SUMMARY:council", "DESCRIPTION:Bring the bills.", "LOCATION:Große\\nHalle")...)))
		m.Set(mapi.PidTagHtml, mapi.Binary("<p>Bring the bills."))
		return m
	}
	const rest = "Where: Große Halle"
	for name, c := range map[string]struct {
		m    *mapi.Message
		form Form
		want []string
	}{
		"in its zone": {meeting("DTSTART"+inBerlin+"20261201T090000", "DTEND"+inBerlin+"20261201T103000"), Form{Calendar: CalendarText}, []string{"When: Tuesday, 1 December 2026 09:00 - 10:30 (W. Europe Standard Time)", rest}},
		"with a link": {meeting("DTSTART:20261201T090000Z"), Form{Calendar: CalendarLink, Link: "https://owa.example/?x={uid}&y={message-id}"}, []string{"When: Tuesday, 1 December 2026 09:00 (UTC)", rest, "Link: https://owa.example/?x=a%26b&y="}},
		"whole days":  {meeting("DTSTART;VALUE=DATE:20261201", "DTEND;VALUE=DATE:20261203"), Form{Calendar: CalendarText, Body: BodyHTML}, []string{"When: Tuesday, 1 December 2026 - Wednesday, 2 December 2026", rest}},
		"again":       {meeting("DTSTART"+inBerlin+"20261201T090000", "RRULE:FREQ=WEEKLY;COUNT=3"), Form{Calendar: CalendarText, UUEncode: true}, []string{"When: Tuesday, 1 December 2026 09:00 (W. Europe Standard Time), every week on Tuesday, 3 times", rest}},
		"in UUENCODE": {meeting("DTSTART" + inBerlin + "20261201T090000"), Form{UUEncode: true}, []string{"When: Tuesday, 1 December 2026 09:00 (W. Europe Standard Time)", rest}},
		"with exceptions": {convert(t, Reader{}, bytes.Replace(changedSeries, []byte("LOCATION:Hall"), []byte("LOCATION:Große\\nHalle\r\nDESCRIPTION:Bring the bills."), 1)), Form{Calendar: CalendarText}, []string{
			"When: Monday, 12 October 2026 09:00 - 10:00 (W. Europe Standard Time), every week on Monday, 5 times", rest, "Not on: Monday, 19 October 2026",
			"Changed: Monday, 26 October 2026 is on Tuesday, 27 October 2026 11:30 - 12:00, about: The großer council, where: Hall", "Changed: Monday, 2 November 2026, where: Room 9",
		}},
		"exceptions of whole days": {meeting("DTSTART;VALUE=DATE:20261201", "RRULE:FREQ=DAILY;COUNT=9", "EXDATE;VALUE=DATE:20261203", "EXDATE;VALUE=DATE:20261205", "RDATE;VALUE=DATE:20261203"), Form{Calendar: CalendarText}, []string{
			"When: Tuesday, 1 December 2026, every day, 9 times", rest, "Not on: Thursday, 3 December 2026", "Not on: Saturday, 5 December 2026",
		}},
	} {
		written := write(t, Writer{Form: c.form}, c.m)
		e := parse(t, written)
		if !e.Is("text/plain") || strings.Contains(string(written), "VCALENDAR") {
			t.Fatalf("%s: %s", name, written)
		}
		want := strings.Join(append(c.want, "", endOfDetails, "", "Bring the bills."), "\r\n")
		if got := textsOf(t, written); len(got) != 1 || got[0] != "text/plain utf-8 "+want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// Other mail is as it is, and without a word of it meetings are calendars.
	if m := convert(t, Reader{}, []byte("Subject: x\r\n\r\ntext\r\n")); slices.Contains(textsOf(t, write(t, Writer{Form: Form{Calendar: CalendarText}}, m)), "When") {
		t.Error("mail is a meeting")
	}
	changed := convert(t, Reader{}, changedSeries)
	for _, form := range []Form{{Calendar: CalendarText}, {UUEncode: true}} {
		if written := string(write(t, Writer{Form: form}, changed)); strings.Contains(written, "rfc822") || strings.Contains(written, "begin 644") {
			t.Errorf("a changed instance is a file: %s", written)
		}
	}
}
