package recurrence

import (
	"encoding/binary"
	"time"
	"unicode/utf16"
)

// Zone are the rules of a time zone that has at most two offsets from UTC in a year, MS-OXOCAL §2.2.1.39.
type Zone struct {
	Name     string
	Standard time.Duration // local time is UTC and this
	Daylight time.Duration // the same in summer; Standard if there is none
	// ToStandard and ToDaylight are when the offset changes each year, in the local time before. They are zero where it
	// does not.
	ToStandard, ToDaylight Change
}

// Change is the nth weekday of a month, 5 for the last one, at a time of the day.
type Change struct {
	Month   time.Month
	Nth     int
	Weekday time.Weekday
	At      time.Duration
}

// IsZero says whether there is no change.
func (c Change) IsZero() bool { return c.Month == 0 }

// In returns when it is in a year.
func (c Change) In(year int) time.Time {
	p := &Pattern{kind: byNth, nth: c.Nth, days: 1 << c.Weekday}
	return p.inMonth(time.Date(year, c.Month, 1, 0, 0, 0, 0, time.UTC)).Add(c.At)
}

func (c Change) isSound() bool {
	return c.IsZero() || c.Month >= 1 && c.Month <= 12 && c.Nth >= 1 && c.Nth <= lastNth && c.Weekday <= time.Saturday && c.At < 24*time.Hour
}

// Offset returns what is added to UTC at a local time.
func (z Zone) Offset(local time.Time) time.Duration {
	if z.ToDaylight.IsZero() || z.ToStandard.IsZero() {
		return z.Standard
	}
	summer, winter := z.ToDaylight.In(local.Year()), z.ToStandard.In(local.Year())
	inSummer := !local.Before(summer) && local.Before(winter)
	if winter.Before(summer) { // in the south
		inSummer = !local.Before(summer) || local.Before(winter)
	}
	if inSummer {
		return z.Daylight
	}
	return z.Standard
}

// UTC returns a local time as UTC.
func (z Zone) UTC(local time.Time) time.Time { return local.Add(-z.Offset(local)) }

// Local returns the local time of one in UTC. It is false for one that is not said by local time.
func (z Zone) Local(utc time.Time) (time.Time, bool) {
	for _, offset := range []time.Duration{z.Standard, z.Daylight} {
		if local := utc.Add(offset); z.UTC(local).Equal(utc) {
			return local, true
		}
	}
	return time.Time{}, false
}

const ruleYear = 1601

// biases appends the fields that a rule and PidLidTimeZoneStruct have in common.
func (z Zone) biases(b []byte) []byte {
	for _, bias := range []time.Duration{-z.Standard, 0, z.Standard - z.Daylight} {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(bias/time.Minute)))
	}
	return b
}

// Struct returns the value of PidLidTimeZoneStruct, MS-OXOCAL §2.2.1.39.
func (z Zone) Struct() []byte {
	b := z.biases(nil)
	for _, c := range []Change{z.ToStandard, z.ToDaylight} {
		b = c.appendTo(append(b, 0, 0)) // each year
	}
	return b
}

// Definition returns the value of PidLidAppointmentTimeZoneDefinitionRecur, MS-OXOCAL §2.2.1.41.
func (z Zone) Definition() []byte {
	le := binary.LittleEndian
	name := utf16.Encode([]rune(z.Name))
	if len(name) > nameMost {
		name = name[:nameMost]
	}
	b := le.AppendUint16([]byte{2, 1}, uint16(2+2+2*len(name)+2))
	b = le.AppendUint16(b, 2) // the name is there
	b = le.AppendUint16(b, uint16(len(name)))
	for _, c := range name {
		b = le.AppendUint16(b, c)
	}
	b = le.AppendUint16(b, 1) // rule
	b = append(b, 2, 1, 0x3E, 0)
	b = le.AppendUint16(b, 2) // it is the one in effect
	b = le.AppendUint16(b, ruleYear)
	b = z.biases(append(b, make([]byte, 14)...))
	for _, c := range []Change{z.ToStandard, z.ToDaylight} {
		b = c.appendTo(b)
	}
	return b
}

// nameMost is how many units the name of a zone may have, MS-OXOCAL §2.2.1.41.
const nameMost = 260

// appendTo appends a SYSTEMTIME, MS-DTYP §2.3.13: the day is which of the weekdays it is.
func (c Change) appendTo(b []byte) []byte {
	hour, minute := c.At/time.Hour, c.At%time.Hour/time.Minute
	for _, v := range []uint16{0, uint16(c.Month), uint16(c.Weekday), uint16(c.Nth), uint16(hour), uint16(minute), 0, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func (c *cursor) change() (change Change, yearly bool) {
	year := c.u16()
	change.Month, change.Weekday, change.Nth = time.Month(c.u16()), time.Weekday(c.u16()), int(c.u16())
	change.At = time.Duration(c.u16())*time.Hour + time.Duration(c.u16())*time.Minute
	seconds, milliseconds := c.u16(), c.u16()
	if change.Month == 0 {
		change = Change{}
	}
	return change, year == 0 && seconds == 0 && milliseconds == 0
}

// ParseStruct reads the value of PidLidTimeZoneStruct. The name is said elsewhere, in PidLidTimeZoneDescription.
func ParseStruct(octets []byte, name string) (Zone, error) {
	c := &cursor{octets: octets}
	z, err := c.rules(name, true)
	if c.failed {
		return Zone{}, ErrUnknown
	}
	return z, err
}

// rules reads what a rule and PidLidTimeZoneStruct have in common: only the second has years in front of its dates.
func (c *cursor) rules(name string, years bool) (Zone, error) {
	bias := func() time.Duration { return time.Duration(int32(c.u32())) * time.Minute }
	all, standard, daylight := bias(), bias(), bias()
	z := Zone{Name: name, Standard: -all - standard, Daylight: -all - daylight}
	var yearly [2]bool
	for i, change := range []*Change{&z.ToStandard, &z.ToDaylight} {
		if years {
			c.u16()
		}
		*change, yearly[i] = c.change()
	}
	const day = 24 * time.Hour
	switch {
	case !yearly[0] || !yearly[1], !z.ToStandard.isSound() || !z.ToDaylight.isSound(), z.ToStandard.IsZero() != z.ToDaylight.IsZero():
		return Zone{}, ErrUnknown
	case z.Standard.Abs() >= day || z.Daylight.Abs() >= day:
		return Zone{}, ErrUnknown
	}
	if z.ToStandard.IsZero() {
		z.Daylight = z.Standard
	}
	return z, nil
}

// Sizes of a definition, MS-OXOCAL §2.2.1.41.
const (
	rulesMost  = 1024
	ruleUnused = 14
)

// ParseDefinition reads a definition such as PidLidAppointmentTimeZoneDefinitionStartDisplay (MS-OXOCAL §2.2.1.41 to
// §2.2.1.43), and returns the rules of a year.
func ParseDefinition(octets []byte, year int) (Zone, error) {
	c := &cursor{octets: octets}
	version := c.u16()
	header := &cursor{octets: c.take(int(c.u16()))}
	header.u16()
	name := utf16Text(header.take(2 * int(header.u16())))
	rules := int(header.u16())
	if version != 0x0102 || header.failed || rules == 0 || rules > rulesMost {
		return Zone{}, ErrUnknown
	}
	zone, known := Zone{}, error(ErrUnknown)
	for i := range rules {
		c.take(2 + 2 + 2) // its version, its size, what it is for
		from := int(c.u16())
		c.take(ruleUnused)
		of, err := c.rules(name, false)
		if c.failed {
			return Zone{}, ErrUnknown
		}
		if i == 0 || from <= year {
			zone, known = of, err
		}
	}
	return zone, known
}
