package mime

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// component is a component of iCalendar, RFC 5545 §3.6.
type component struct {
	name       string
	properties []calendarProperty
	inner      []*component
}

// calendarProperty is a content line, RFC 5545 §3.1.
type calendarProperty struct {
	name       string // in capitals
	parameters map[string]string
	value      string // as it came: a text is escaped
}

// Bounds of a calendar.
const (
	calendarMost      = 256 << 10 // octets
	calendarDepthMost = 8
)

var errCalendar = errors.New("the calendar is not one that is understood")

// parseCalendar reads a VCALENDAR.
func parseCalendar(r io.Reader) (*component, error) {
	text, err := io.ReadAll(io.LimitReader(r, calendarMost+1))
	if err != nil {
		return nil, err
	}
	if len(text) > calendarMost {
		return nil, errCalendar
	}
	unfolded := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(string(text))
	root := &component{}
	open := []*component{root}
	for line := range strings.SplitSeq(unfolded, "\n") {
		p, is := parseContentLine(strings.TrimSuffix(line, "\r"))
		last := open[len(open)-1]
		switch {
		case !is:
		case p.name == "BEGIN" && len(open) < calendarDepthMost:
			c := &component{name: strings.ToUpper(p.value)}
			last.inner = append(last.inner, c)
			open = append(open, c)
		case p.name == "BEGIN", p.name == "END" && (len(open) == 1 || !strings.EqualFold(p.value, last.name)):
			return nil, errCalendar
		case p.name == "END":
			open = open[:len(open)-1]
		default:
			last.properties = append(last.properties, p)
		}
	}
	if len(root.inner) != 1 || root.inner[0].name != "VCALENDAR" || len(open) != 1 {
		return nil, errCalendar
	}
	return root.inner[0], nil
}

// parseContentLine takes a line apart. Parameters may have quotes around their values.
func parseContentLine(line string) (p calendarProperty, is bool) {
	quoted, start := false, 0
	var pieces []string
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			pieces, start = append(pieces, line[start:i]), i+1
		case c == ':':
			pieces = append(pieces, line[start:i])
			p.name, p.parameters, p.value = strings.ToUpper(pieces[0]), map[string]string{}, line[i+1:]
			for _, piece := range pieces[1:] {
				name, value, _ := strings.Cut(piece, "=")
				p.parameters[strings.ToUpper(name)] = strings.Trim(value, `"`)
			}
			return p, p.name != ""
		}
	}
	return p, false
}

// get returns the first property of a name.
func (c *component) get(name string) (calendarProperty, bool) {
	for _, p := range c.properties {
		if p.name == name {
			return p, true
		}
	}
	return calendarProperty{}, false
}

func (c *component) has(name string) bool {
	_, has := c.get(name)
	return has
}

// text returns a property's text, RFC 5545 §3.3.11.
func (c *component) text(name string) string {
	p, _ := c.get(name)
	return strings.NewReplacer(`\\`, `\`, `\n`, "\r\n", `\N`, "\r\n", `\,`, ",", `\;`, ";").Replace(withoutNULs(p.value))
}

func (c *component) all(name string) (found []*component) {
	for _, inner := range c.inner {
		if inner.name == name {
			found = append(found, inner)
		}
	}
	return found
}

// Forms of times, RFC 5545 §3.3.4 and §3.3.5.
const (
	dateForm  = "20060102"
	localForm = "20060102T150405"
	utcForm   = localForm + "Z"
)

// at returns the time of a property, and whether it is a whole day. One in a time zone needs that zone's rules in the
// calendar.
func (c *component) at(name string, zones map[string]zone) (at time.Time, day bool, err error) {
	p, _ := c.get(name)
	if at, err = time.Parse(utcForm, p.value); err == nil {
		return at, false, nil
	}
	if at, err = time.Parse(dateForm, p.value); err == nil {
		return at, true, nil
	}
	z, known := zones[p.parameters["TZID"]]
	if at, err = time.Parse(localForm, p.value); err != nil || !known {
		return at, false, errCalendar
	}
	return z.utc(at), false, nil
}

// zone are the rules of a time zone, RFC 5545 §3.6.5.
type zone []observance

// observancesMost is how many observances of a zone are looked at: for each of the times in it.
const observancesMost = 100

// observance is a time in which an offset holds: it begins at a date, and then each year by a rule if there is one.
type observance struct {
	start    time.Time // local
	from, to time.Duration
	daylight bool
	yearly   bool
	until    time.Time // of a yearly one: the last time at which it may begin; zero for no end
	month    time.Month
	weekday  time.Weekday
	nth      int // of the month; negative from its end
}

// zonesOf reads the time zones of a calendar. Rules of other forms than the nth weekday of a month each year are not read.
func zonesOf(calendar *component) map[string]zone {
	zones := map[string]zone{}
	for _, c := range calendar.all("VTIMEZONE") {
		var z zone
		for _, inner := range append(c.all("STANDARD"), c.all("DAYLIGHT")...) {
			o, err := parseObservance(inner)
			o.daylight = inner.name == "DAYLIGHT"
			if err != nil {
				z = nil
				break
			}
			z = append(z, o)
		}
		if len(z) > observancesMost {
			z = nil
		}
		if len(z) > 0 {
			zones[c.text("TZID")] = z
		}
	}
	return zones
}

var weekdays = map[string]time.Weekday{"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}

func parseObservance(c *component) (o observance, err error) {
	if o.start, err = time.Parse(localForm, c.text("DTSTART")); err != nil {
		return o, err
	}
	if o.from, err = parseOffset(c.text("TZOFFSETFROM")); err != nil {
		return o, err
	}
	if o.to, err = parseOffset(c.text("TZOFFSETTO")); err != nil {
		return o, err
	}
	rule, has := c.get("RRULE")
	if !has {
		return o, nil
	}
	for part := range strings.SplitSeq(rule.value, ";") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "FREQ":
			o.yearly = value == "YEARLY"
		case "BYMONTH":
			month, _ := strconv.Atoi(value)
			o.month = time.Month(month)
		case "BYDAY":
			if len(value) >= 3 {
				o.nth, _ = strconv.Atoi(value[:len(value)-2])
				o.weekday = weekdays[value[len(value)-2:]]
			}
		case "UNTIL":
			if o.until, err = time.Parse(utcForm, value); err != nil {
				return o, errCalendar
			}
		case "INTERVAL", "BYMONTHDAY", "COUNT":
			return o, errCalendar
		}
	}
	if !o.yearly || o.month < 1 || o.month > 12 || o.nth == 0 || o.nth < -5 || o.nth > 5 {
		return o, errCalendar
	}
	return o, nil
}

// parseOffset reads +0100, RFC 5545 §3.3.14.
func parseOffset(text string) (time.Duration, error) {
	if len(text) < 5 {
		return 0, errCalendar
	}
	hours, err1 := strconv.Atoi(text[1:3])
	minutes, err2 := strconv.Atoi(text[3:5])
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, errors.Join(err1, err2)
}

// begins returns when the observance begins in a year, in local time; the zero time if it does not.
func (o observance) begins(year int) time.Time {
	if !o.yearly {
		if o.start.Year() > year {
			return time.Time{}
		}
		return o.start
	}
	if year < o.start.Year() || !o.until.IsZero() && year > o.until.Year()+1 {
		return time.Time{}
	}
	if at := o.inYear(year); o.until.IsZero() || !at.Add(-o.from).After(o.until) {
		return at
	}
	return time.Time{}
}

// inYear returns when the rule of an observance has it begin in a year.
func (o observance) inYear(year int) time.Time {
	hour, minute, second := o.start.Clock()
	first := time.Date(year, o.month, 1, hour, minute, second, 0, time.UTC)
	if o.nth < 0 {
		last := first.AddDate(0, 1, -1)
		back := int(last.Weekday()-o.weekday+7) % 7
		return last.AddDate(0, 0, -back+7*(o.nth+1))
	}
	return first.AddDate(0, 0, int(o.weekday-first.Weekday()+7)%7+7*(o.nth-1))
}

// utc returns a local time of the zone as UTC: the offset is that of the observance that began last.
func (z zone) utc(local time.Time) time.Time {
	offset, latest := z[0].from, time.Time{}
	for _, o := range z {
		for _, year := range []int{local.Year() - 1, local.Year()} {
			if begun := o.begins(year); !begun.IsZero() && !begun.After(local) && begun.After(latest) {
				offset, latest = o.to, begun
			}
		}
	}
	return local.Add(-offset)
}

// durationMost is how long an event may last that is understood: far from where a time.Duration ends.
const durationMost = 100 * 366 * 24 * time.Hour

// parseDuration reads a duration, RFC 5545 §3.3.6.
func parseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(strings.TrimPrefix(text, "+"), "-")
	rest, is := strings.CutPrefix(rest, "P")
	if !is || rest == "" {
		return 0, errCalendar
	}
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	var total time.Duration
	for rest = strings.Replace(rest, "T", "", 1); rest != ""; {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 1 || end > 6 || units[rest[end]] == 0 {
			return 0, errCalendar
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil || time.Duration(n) > durationMost/units[rest[end]] {
			return 0, errCalendar
		}
		if total += time.Duration(n) * units[rest[end]]; total > durationMost {
			return 0, errCalendar
		}
		rest = rest[end+1:]
	}
	if negative {
		total = -total
	}
	return total, nil
}

// calendarLine is how many octets stand on a line, RFC 5545 §3.1.
const calendarLine = 75

// calendarWriter writes content lines.
type calendarWriter struct{ strings.Builder }

// line writes a line, folded, with its parts as they are.
func (w *calendarWriter) line(text string) {
	text = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(text)
	column := 0
	for _, r := range text {
		if size := len(string(r)); column+size > calendarLine {
			w.WriteString("\r\n ")
			column = 1
		}
		w.WriteRune(r)
		column += len(string(r))
	}
	w.WriteString("\r\n")
}

// calendarEscape writes a text as a value, RFC 5545 §3.3.11 and RFC 2426 §4.
var calendarEscape = strings.NewReplacer("\\", `\\`, "\r\n", `\n`, "\n", `\n`, ",", `\,`, ";", `\;`)

// text writes a property with a text, if there is one.
func (w *calendarWriter) text(name, text string) {
	if text != "" {
		w.line(name + ":" + calendarEscape.Replace(text))
	}
}

// person writes a property with the address of somebody.
func (w *calendarWriter) person(name, shown, address, parameters string) {
	if shown = strings.NewReplacer(`"`, "'").Replace(shown); shown != "" {
		parameters += `;CN="` + shown + `"`
	}
	w.line(name + parameters + ":mailto:" + address)
}
