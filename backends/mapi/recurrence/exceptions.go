package recurrence

import (
	"encoding/binary"
	"slices"
	"time"
	"unicode/utf16"
)

// Exception is an instance that was changed, MS-OXOCAL §2.2.1.44.2. Its times are local.
type Exception struct {
	Original          time.Time // when it would start
	Start, End        time.Time
	Subject, Location *string // nil: those of the series
	AllDay            *bool   // nil: as the series is
}

// The bits of OverrideFlags, MS-OXOCAL §2.2.1.44.2.
const (
	changedSubject  = 0x0001
	changedLocation = 0x0010
	changedSubType  = 0x0080
)

// changedValues are the fields of an exception in their order: those of texts, and those of four octets that are no more than
// passed over but for the subtype. MS-OXOCAL §2.2.1.44.2.
var changedValues = []struct {
	bit  uint16
	text bool
}{{changedSubject, true}, {0x0002, false}, {0x0004, false}, {0x0008, false}, {changedLocation, true}, {0x0020, false}, {0x0040, false}, {changedSubType, false}, {0x0100, false}}

const exceptionsMost = deletedMost

// Exceptions returns the instances that were changed.
func (p *Pattern) Exceptions() []Exception { return slices.Clone(p.exceptions) }

// Except changes instances. Each Original is the start of one that was not deleted.
func (p *Pattern) Except(list ...Exception) error {
	wanted := map[int64]bool{}
	for _, e := range list {
		original := e.Original.Add(-p.from).Unix()
		if wanted[original] || e.End.Before(e.Start) || !isMinute(e.Start) || !isMinute(e.End) || !inReach(e.Start) || !inReach(e.End) {
			return ErrUnknown
		}
		wanted[original] = true
	}
	if len(wanted)+len(p.deleted)+len(p.short) > deletedMost {
		return ErrUnknown // nobody would read what is taken out
	}
	found, err := p.find(wanted)
	if err != nil || slices.ContainsFunc(found, func(date time.Time) bool { return slices.Contains(p.deleted, date) }) {
		return ErrUnknown
	}
	p.exceptions = slices.Clone(list)
	slices.SortFunc(p.exceptions, func(a, b Exception) int { return a.Original.Compare(b.Original) })
	return nil
}

func isMinute(at time.Time) bool { return at.Equal(at.Truncate(time.Minute)) }

// inReach says whether a time can be said as minutes, and is before the one that stands for no end.
func inReach(at time.Time) bool { return at.Year() >= firstYear && at.Year() <= lastYear }

// original returns the date of the instance that was changed.
func (p *Pattern) original(e Exception) time.Time { return e.Original.Truncate(24 * time.Hour) }

// takenOut are the dates at which there is no instance as the pattern has it: MS-OXOCAL §2.2.1.44.1 (DeletedInstanceDates).
func (p *Pattern) takenOut() []time.Time {
	all := slices.Concat(p.deleted, p.short)
	for _, e := range p.exceptions {
		all = append(all, p.original(e))
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// moved are the dates of what was changed, MS-OXOCAL §2.2.1.44.1 (ModifiedInstanceDates).
func (p *Pattern) moved() []time.Time {
	var all []time.Time
	for _, e := range p.exceptions {
		all = append(all, e.Start.Truncate(24*time.Hour))
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

func (e Exception) flags() (flags uint16) {
	if e.Subject != nil {
		flags |= changedSubject
	}
	if e.Location != nil {
		flags |= changedLocation
	}
	if e.AllDay != nil {
		flags |= changedSubType
	}
	return flags
}

func (e Exception) appendTimes(b []byte) []byte {
	for _, at := range []time.Time{e.Start, e.End, e.Original} {
		b = binary.LittleEndian.AppendUint32(b, since(at))
	}
	return b
}

// appendTo appends an ExceptionInfo, MS-OXOCAL §2.2.1.44.2.
func (e Exception) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(e.appendTimes(b), e.flags())
	for _, text := range []*string{e.Subject, e.Location} {
		if text != nil {
			octets := asASCII(*text)
			b = le.AppendUint16(le.AppendUint16(b, uint16(len(octets)+1)), uint16(len(octets)))
			b = append(b, octets...)
		}
	}
	if e.AllDay != nil {
		b = le.AppendUint32(b, map[bool]uint32{true: 1}[*e.AllDay])
	}
	return b
}

// appendExtended appends an ExtendedException, MS-OXOCAL §2.2.1.44.4.
func (e Exception) appendExtended(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(b, 4), 0) // the ChangeHighlight of §2.2.1.44.3: nothing
	b = le.AppendUint32(b, 0)                     // a reserved block of no size
	if e.Subject == nil && e.Location == nil {
		return b
	}
	b = e.appendTimes(b)
	for _, text := range []*string{e.Subject, e.Location} {
		if text != nil {
			units := wide(*text)
			b = le.AppendUint16(b, uint16(len(units)))
			for _, u := range units {
				b = le.AppendUint16(b, u)
			}
		}
	}
	return le.AppendUint32(b, 0)
}

// textMost is how many octets or units of a text are written.
const textMost = 0x7FFF

// asASCII returns a text as each code page has it, for readers that do not know the extended exceptions.
func asASCII(text string) (octets []byte) {
	for _, r := range text {
		if r >= 0x80 || r == 0 {
			r = '?'
		}
		octets = append(octets, byte(r))
	}
	return octets[:min(len(octets), textMost)]
}

func wide(text string) []uint16 {
	units := utf16.Encode([]rune(text))
	return units[:min(len(units), textMost)]
}

// parseExceptions reads what is behind the times of a pattern: MS-OXOCAL §2.2.1.44.5.
func (p *Pattern) parseExceptions(c *cursor, writer uint32) {
	count := int(c.u16())
	if count == 0 {
		return
	}
	if count > exceptionsMost {
		c.failed = true
	}
	for i := 0; i < count && !c.failed; i++ {
		p.exceptions = append(p.exceptions, c.exception())
	}
	if len(c.octets) == 0 { // of a writer that knows no extended ones
		return
	}
	c.block()
	for i := range p.exceptions {
		if c.failed {
			return
		}
		p.exceptions[i].parseExtended(c, writer)
	}
}

// block passes over a reserved block.
func (c *cursor) block() {
	if n := c.u32(); int64(n) <= int64(len(c.octets)) {
		c.octets = c.octets[n:]
		return
	}
	c.octets, c.failed = nil, true
}

// exception reads an ExceptionInfo, MS-OXOCAL §2.2.1.44.2.
func (c *cursor) exception() (e Exception) {
	e.Start, e.End, e.Original = minutes(c.u32()), minutes(c.u32()), minutes(c.u32())
	flags := c.u16()
	for _, v := range changedValues {
		if flags&v.bit == 0 {
			continue
		}
		if v.text {
			c.u16() // the length and one more
			text := latin1(c.take(int(c.u16())))
			*e.textOf(v.bit) = &text
			continue
		}
		if value := c.u32(); v.bit == changedSubType {
			allDay := value != 0
			e.AllDay = &allDay
		}
	}
	return e
}

// textOf returns where the text of a flag is kept.
func (e *Exception) textOf(bit uint16) **string {
	if bit == changedSubject {
		return &e.Subject
	}
	return &e.Location
}

// highlights is the version from which on there is a ChangeHighlight, MS-OXOCAL §2.2.1.44.4.
const highlights = 0x3009

// parseExtended reads an ExtendedException, MS-OXOCAL §2.2.1.44.4.
func (e *Exception) parseExtended(c *cursor, writer uint32) {
	if writer >= highlights {
		c.block()
	}
	c.block()
	if e.Subject == nil && e.Location == nil {
		return
	}
	c.take(3 * 4)
	for _, text := range []*string{e.Subject, e.Location} {
		if text == nil {
			continue
		}
		*text = utf16Text(c.take(2 * int(c.u16())))
	}
	c.block()
}

func utf16Text(octets []byte) string {
	units := make([]uint16, 0, len(octets)/2)
	for ; len(octets) >= 2; octets = octets[2:] {
		units = append(units, binary.LittleEndian.Uint16(octets))
	}
	return string(utf16.Decode(units))
}

func latin1(octets []byte) string {
	runes := make([]rune, 0, len(octets))
	for _, o := range octets {
		runes = append(runes, rune(o))
	}
	return string(runes)
}

// sorts puts the dates that were read where they belong: to what was changed, to months that are too short, or to what was
// deleted.
func (p *Pattern) sorts(dates []time.Time) bool {
	left := map[int64]time.Time{}
	for _, d := range dates {
		left[d.Unix()] = d
	}
	for _, e := range p.exceptions {
		date := p.original(e)
		if _, is := left[date.Unix()]; !is || e.End.Before(e.Start) {
			return false
		}
		delete(left, date.Unix())
	}
	if short := p.inShortMonths(len(left)); len(short) > 0 && len(short) <= len(left) {
		within := !slices.ContainsFunc(short, func(d time.Time) bool { _, is := left[d.Unix()]; return !is })
		for _, d := range short {
			if within {
				delete(left, d.Unix())
			}
		}
		if within {
			p.passes, p.short = true, short
		}
	}
	for _, d := range left {
		p.deleted = append(p.deleted, d)
	}
	slices.SortFunc(p.deleted, time.Time.Compare)
	return true
}
