// Package recurrence has the rules of meetings that recur, and of their time zones, as Exchange keeps them (MS-OXOCAL
// §2.2.1.39 to §2.2.1.44) and as iCalendar says them (RFC 5545 §3.3.10, MS-OXCICAL §2.1.3.2.2).
//
//	p, err := recurrence.New("FREQ=WEEKLY;BYDAY=MO,TH;COUNT=12", start, time.Hour, zone)
//	octets := p.AppendTo(nil)                // PidLidAppointmentRecur
//	p, err = recurrence.Parse(octets)
//	rule, err := p.Rule(zone)
//
// What one of them cannot say as the other does is refused with [ErrUnknown]: a meeting is never at another time. So are
// other calendars than the Gregorian.
//
// The 29th to the 31st of a month are the last day of shorter months in Exchange, and the fifth of a weekday is the last one; in
// iCalendar months without them are passed over. A rule of iCalendar's has these instances taken out, for a hundred years if it has no end; one of Exchange's is said with BYSETPOS.
package recurrence
