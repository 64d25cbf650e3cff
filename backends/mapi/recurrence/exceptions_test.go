package recurrence

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// changed is a series of Mondays of which the second is deleted and the third and fourth are changed.
func changed(t testing.TB) *Pattern {
	t.Helper()
	p, err := New("FREQ=WEEKLY;COUNT=5", at(t, "20260105T090000"), time.Hour, berlin)
	if err != nil {
		t.Fatal(err)
	}
	subject, place, yes := "Größe 日本", "Room 9", true
	if err := p.Delete(at(t, "20260112T090000")); err != nil {
		t.Fatal(err)
	}
	err = p.Except(
		Exception{Original: at(t, "20260126T090000"), Start: at(t, "20260127T000000"), End: at(t, "20260128T000000"), AllDay: &yes, Location: &place},
		Exception{Original: at(t, "20260119T090000"), Start: at(t, "20260120T100000"), End: at(t, "20260120T113000"), Subject: &subject},
	)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestExceptions: what was changed is read again as it was written, and stands among what is taken out (MS-OXOCAL §2.2.1.44.1).
func TestExceptions(t *testing.T) {
	p := changed(t)
	octets := p.AppendTo(nil)
	again, err := Parse(octets)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Exceptions(), p.Exceptions(); !reflect.DeepEqual(got, want) || len(want) != 2 || !want[0].Original.Before(want[1].Original) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if deleted := again.Deleted(); len(deleted) != 1 || !deleted[0].Equal(at(t, "20260112T090000")) {
		t.Errorf("%v is deleted", deleted)
	}
	if rule, err := again.Rule(berlin); err != nil || rule != "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;WKST=MO;COUNT=5" {
		t.Errorf("%s, %v", rule, err)
	}
	if n := binary.LittleEndian.Uint32(octets[38:]); n != 3 { // behind the pattern, its days, how it ends, and the first day of the week
		t.Errorf("%d dates are taken out", n)
	}
	for i := range octets[:len(octets)-4] {
		if _, err := Parse(octets[:i]); err == nil && !endsBehindTexts(octets, i) {
			t.Errorf("%d octets of %d were read", i, len(octets))
		}
	}
}

// endsBehindTexts says whether a pattern that is cut off has all exceptions as writers of old have them.
func endsBehindTexts(octets []byte, i int) bool {
	return strings.HasSuffix(string(octets[:i]), "Room 9\x01\x00\x00\x00")
}

// TestExceptionsOfOld: without the extended exceptions the texts are those in the code page.
func TestExceptionsOfOld(t *testing.T) {
	octets := changed(t).AppendTo(nil)
	end := strings.Index(string(octets), "Room 9\x01\x00\x00\x00") + 10
	p, err := Parse(octets[:end])
	if err != nil {
		t.Fatal(err)
	}
	if e := p.Exceptions(); *e[0].Subject != "Gr??e ??" || *e[1].Location != "Room 9" || !*e[1].AllDay {
		t.Errorf("%+v", e)
	}
}

// TestNoExceptions: what is no instance, or not one any more, is not changed.
func TestNoExceptions(t *testing.T) {
	for name, e := range map[string]Exception{
		"no instance":     {Original: at(t, "20260106T090000"), Start: at(t, "20260106T090000"), End: at(t, "20260106T100000")},
		"deleted":         {Original: at(t, "20260112T090000"), Start: at(t, "20260112T090000"), End: at(t, "20260112T100000")},
		"ends first":      {Original: at(t, "20260119T090000"), Start: at(t, "20260119T090000"), End: at(t, "20260119T080000")},
		"with seconds":    {Original: at(t, "20260119T090000"), Start: at(t, "20260119T090001"), End: at(t, "20260119T100000")},
		"before calendar": {Original: at(t, "20260119T090000"), Start: at(t, "15000119T090000"), End: at(t, "20260119T100000")},
	} {
		if err := changed(t).Except(e); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDefinition: the rules of a zone are read again, those of the year.
func TestDefinition(t *testing.T) {
	octets := berlin.Definition()
	if z, err := ParseDefinition(octets, 2026); err != nil || z != berlin {
		t.Errorf("%+v, %v", z, err)
	}
	for i := range octets {
		if _, err := ParseDefinition(octets[:i], 2026); !errors.Is(err, ErrUnknown) {
			t.Errorf("%d octets are read: %v", i, err)
		}
	}
	header := 4 + int(binary.LittleEndian.Uint16(octets[2:]))
	later := append([]byte(nil), octets[header:]...)
	binary.LittleEndian.PutUint16(later[6:], 2030)
	later = append(later[:len(later)-32], make([]byte, 32)...) // there is no summer time from then on
	two := append(append([]byte(nil), octets...), later...)
	binary.LittleEndian.PutUint16(two[header-2:], 2)
	for year, want := range map[int]time.Duration{1500: 2 * time.Hour, 2029: 2 * time.Hour, 2030: time.Hour} {
		if z, err := ParseDefinition(two, year); err != nil || z.Daylight != want {
			t.Errorf("%d: %+v, %v", year, z, err)
		}
	}
}

// FuzzDefinition: what is read is written, and read again alike.
func FuzzDefinition(f *testing.F) {
	f.Add(berlin.Definition(), 2026)
	f.Fuzz(func(t *testing.T, octets []byte, year int) {
		z, err := ParseDefinition(octets, year)
		if err != nil {
			return
		}
		if again, err := ParseDefinition(z.Definition(), year); err != nil || again.Standard != z.Standard || again.ToDaylight != z.ToDaylight {
			t.Errorf("%+v, and was %+v: %v", again, z, err)
		}
	})
}

// TestWords: a pattern is said as people say it.
func TestWords(t *testing.T) {
	for rule, want := range map[string]string{
		"FREQ=DAILY;COUNT=3":                                  "every day, 3 times",
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,MO,TH":               "every 2 weeks on Monday, Thursday and Saturday",
		"FREQ=MONTHLY;COUNT=3":                                "every month on day 31, 3 times",
		"FREQ=MONTHLY;BYMONTHDAY=-1":                          "every month on the last day",
		"FREQ=YEARLY;INTERVAL=2;UNTIL=20300101":               "every 2 years on day 31 of January until 31 January 2028",
		"FREQ=MONTHLY;BYDAY=SU,SA;BYSETPOS=-1;UNTIL=20260301": "every month on the last Sunday or Saturday until 28 February 2026",
		"FREQ=MONTHLY;BYDAY=5SA":                              "every month on the fifth Saturday",
	} {
		p, err := New(rule, at(t, "20260131T090000"), time.Hour, berlin)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if got := p.String(); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// TestManyExceptions: what is deleted and what is changed is bounded together, so that what is written is read again.
func TestManyExceptions(t *testing.T) {
	p, err := New("FREQ=DAILY;COUNT=2000", at(t, "20260105T090000"), time.Hour, berlin)
	if err != nil {
		t.Fatal(err)
	}
	var deleted []time.Time
	var changed []Exception
	for day := range deletedMost {
		start := p.Start().AddDate(0, 0, 2*day)
		if day%2 == 0 {
			deleted = append(deleted, start)
			start = start.AddDate(0, 0, 1)
		}
		changed = append(changed, Exception{Original: start, Start: start.Add(time.Hour), End: start.Add(2 * time.Hour)})
	}
	if err := p.Delete(deleted...); err != nil {
		t.Fatal(err)
	}
	if err := p.Except(changed...); !errors.Is(err, ErrUnknown) {
		t.Errorf("%d are deleted and %d changed: %v", len(deleted), len(changed), err)
	}
	if err := p.Except(changed[:deletedMost-len(deleted)]...); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(p.AppendTo(nil)); err != nil {
		t.Error(err)
	}
}

// TestMove: starts that were added are instances that were moved, where one is missing between the same neighbours. From 5 January 2026 on
// there is one each Monday from nine to ten.
func TestMove(t *testing.T) {
	for name, c := range map[string]struct {
		rule           string
		deleted, added []string
		want           string // original>start of each, then what stays deleted
	}{
		"nothing":                 {"COUNT=5", []string{"0119"}, nil, "-0119"},
		"to another day":          {"COUNT=5", []string{"0119"}, []string{"0120T1500"}, "0119>0120T1500"},
		"to another time":         {"COUNT=5", []string{"0119"}, []string{"0119T1500"}, "0119>0119T1500"},
		"two, and one is left":    {"COUNT=6", []string{"0112", "0202", "0119"}, []string{"0203T0900", "0113T0900"}, "0112>0113T0900 0202>0203T0900 -0119"},
		"the first":               {"COUNT=5", []string{"0105"}, []string{"0102T0900"}, "0105>0102T0900"},
		"the last":                {"COUNT=5", []string{"0202"}, []string{"0330T0900"}, "0202>0330T0900"},
		"without end":             {"INTERVAL=1", []string{"0119"}, []string{"0120T1500"}, "0119>0120T1500"},
		"one that is deleted":     {"COUNT=5", []string{"0119"}, []string{"0119T0900"}, "-0119"},
		"twice the same":          {"COUNT=5", []string{"0119"}, []string{"0120T1500", "0120T1500"}, "0119>0120T1500"},
		"more":                    {"COUNT=5", nil, []string{"0120T1500"}, "unknown"},
		"two for one":             {"COUNT=5", []string{"0119"}, []string{"0120T1500", "0121T1500"}, "unknown"},
		"beyond a neighbour":      {"COUNT=5", []string{"0119"}, []string{"0127T0900"}, "unknown"},
		"before a neighbour":      {"COUNT=5", []string{"0119"}, []string{"0110T0900"}, "unknown"},
		"to a neighbour's day":    {"COUNT=5", []string{"0119"}, []string{"0126T1500"}, "unknown"},
		"two on one day":          {"COUNT=5", []string{"0112", "0119"}, []string{"0114T0900", "0114T1500"}, "unknown"},
		"further than is counted": {"INTERVAL=1", []string{"0119"}, []string{"0120T1500", "Y3900"}, "unknown"},
	} {
		p, err := New("FREQ=WEEKLY;"+c.rule, at(t, "20260105T090000"), time.Hour, berlin)
		if err != nil {
			t.Fatal(err)
		}
		var deleted, added []time.Time
		for _, day := range c.deleted {
			deleted = append(deleted, at(t, "2026"+day+"T090000"))
		}
		for _, start := range c.added {
			if year, far := strings.CutPrefix(start, "Y"); far {
				added = append(added, at(t, year+"0101T090000"))
				continue
			}
			added = append(added, at(t, "2026"+start+"00"))
		}
		left, moved, err := p.Move(deleted, added)
		var got []string
		for _, e := range moved {
			got = append(got, e.Original.Format("0102")+">"+e.Start.Format("0102T1504"))
			if e.End.Sub(e.Start) != time.Hour {
				t.Errorf("%s: it lasts until %v", name, e.End)
			}
		}
		for _, d := range left {
			got = append(got, "-"+d.Format("0102"))
		}
		if err != nil {
			got = []string{"unknown"}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s (%v)", name, got, c.want, err)
		}
		if err == nil && (p.Delete(left...) != nil || p.Except(moved...) != nil) {
			t.Errorf("%s: it cannot be set", name)
		}
	}
}
