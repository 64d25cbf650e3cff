package recurrence

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(localForm, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// examples are those of MS-OXOCAL §4.1.1, as rules.
var examples = []struct{ name, octets, start, rule string }{
	{
		"4.1.1.1", "043004300B2001000000C0210000010000000000000032000000222000000C0000000000000000000000000000008020BC0C20ADBC0C0630000009300000580200007602000000000000000000000000",
		"20070326T100000", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TH,FR;WKST=SU;COUNT=12",
	},
	{
		"4.1.1.3", "043004300A2000000000A0050000E010000000000000212000000A0000000000000002000000A0C1DC0C80D2DC0C00000000207EDC0C0016DD0C0630000009300000E0010000FE01000000000000000000000000",
		"20110407T080000", "FREQ=DAILY;INTERVAL=3;UNTIL=20110504T080000Z",
	},
}

func TestExamples(t *testing.T) {
	for _, e := range examples {
		octets, err := hex.DecodeString(e.octets)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(octets)
		if err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		if rule, err := p.Rule(Zone{}); err != nil || rule != e.rule || !p.Start().Equal(at(t, e.start)) || p.Duration() != 30*time.Minute {
			t.Errorf("%s: %s from %v for %v, %v", e.name, rule, p.Start(), p.Duration(), err)
		}
		again, err := New(e.rule, at(t, e.start), 30*time.Minute, Zone{})
		if err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		if err := again.Delete(p.Deleted()...); err != nil {
			t.Errorf("%s: %v are no instances: %v", e.name, p.Deleted(), err)
		}
		if got := strings.ToUpper(hex.EncodeToString(again.AppendTo(nil))); got != e.octets {
			t.Errorf("%s:\n%s, want\n%s", e.name, got, e.octets)
		}
	}
}

// TestRules: each rule comes back as one that says the same, and has its instances.
func TestRules(t *testing.T) {
	for _, c := range []struct{ start, rule, want, last string }{
		{"20260105T090000", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;INTERVAL=1;COUNT=3", "20260107"},
		{"20260105T090000", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;COUNT=6", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;WKST=MO;COUNT=6", "20260112"},
		{"20260105T090000", "FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO;WKST=MO", ""},
		{"20260105T090000", "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO;COUNT=4", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU;COUNT=4", "20260201"},
		{"20260105T090000", "FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=SU,MO;COUNT=4", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=MO;COUNT=4", "20260125"},
		{"20260128T090000", "FREQ=MONTHLY;UNTIL=20260428T080000Z", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=28;UNTIL=20260428T070000Z", "20260428"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=2", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=-1;COUNT=2", "20260228"},
		{"20260131T090000", "FREQ=MONTHLY;COUNT=3", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=31;COUNT=3", "20260531"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=31", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=31", ""},
		{"20260130T090000", "FREQ=MONTHLY;UNTIL=20260401", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=30;UNTIL=20260330T070000Z", "20260330"},
		{"20260130T090000", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1;COUNT=3", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=28,29,30;BYSETPOS=-1;COUNT=3", "20260330"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;COUNT=2", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=-1;COUNT=2", "20260228"},
		{"20280229T090000", "FREQ=YEARLY;COUNT=2", "FREQ=YEARLY;INTERVAL=1;BYMONTH=2;BYMONTHDAY=29;COUNT=2", "20320229"},
		{"20280229T090000", "FREQ=YEARLY", "FREQ=YEARLY;INTERVAL=1;BYMONTH=2;BYMONTHDAY=29", ""},
		{"20260113T090000", "FREQ=MONTHLY;BYDAY=2TU;COUNT=2", "FREQ=MONTHLY;INTERVAL=1;BYDAY=TU;BYSETPOS=2;COUNT=2", "20260210"},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=2", "FREQ=MONTHLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=2", "20260227"},
		{"20260131T090000", "FREQ=YEARLY;COUNT=2", "FREQ=YEARLY;INTERVAL=1;BYMONTH=1;BYMONTHDAY=31;COUNT=2", "20270131"},
		{"20260130T090000", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=28,29,30;BYSETPOS=-1", ""},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=5FR;COUNT=3", "FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=5;COUNT=3", "20260731"},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=FR;BYSETPOS=5;UNTIL=20260601", "FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=5;UNTIL=20260529T070000Z", "20260529"},
		{"20260130T090000", "FREQ=MONTHLY;INTERVAL=2;BYDAY=5FR", "FREQ=MONTHLY;INTERVAL=2;BYDAY=FR;BYSETPOS=5", ""},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=5FR", "FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=5", ""},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;INTERVAL=1;BYDAY=FR;BYSETPOS=-1", ""},
		{"20260329T090000", "FREQ=YEARLY;BYMONTH=3;BYDAY=5SU;COUNT=2", "FREQ=YEARLY;INTERVAL=1;BYMONTH=3;BYDAY=SU;BYSETPOS=5;COUNT=2", "20300331"},
		{"20260329T090000", "FREQ=YEARLY;INTERVAL=2;BYMONTH=3;BYDAY=-1SU;COUNT=2", "FREQ=YEARLY;INTERVAL=2;BYMONTH=3;BYDAY=SU;BYSETPOS=-1;COUNT=2", "20280326"},
	} {
		p, err := New(c.rule, at(t, c.start), time.Hour, berlin)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		read, err := Parse(p.AppendTo(nil))
		if err != nil {
			t.Errorf("%s is not read again: %v", c.rule, err)
			continue
		}
		if rule, err := read.Rule(berlin); err != nil || rule != c.want || c.last != "" && read.Last().Format(dateForm) != c.last {
			t.Errorf("%s: %s up to %v, %v", c.rule, rule, read.Last(), err)
		}
	}
}

// TestUnknown: what cannot be said is refused, and never said in another way.
func TestUnknown(t *testing.T) {
	for _, c := range []struct{ start, rule string }{
		{"20260105T090000", ""},
		{"20260105T090000", "FREQ=HOURLY"},
		{"20260105T090000", "FREQ=DAILY;INTERVAL=0"},
		{"20260105T090000", "FREQ=DAILY;BYHOUR=9,10"},
		{"20260105T090000", "FREQ=DAILY;INTERVAL=2;BYDAY=MO"},
		{"20260105T090000", "FREQ=DAILY;COUNT=99999999"},
		{"20260105T090000", "FREQ=DAILY;COUNT=2;UNTIL=20270101"},
		{"20260105T090000", "FREQ=WEEKLY;BYDAY=TU"}, // starts on another day
		{"20260105T090000", "FREQ=WEEKLY;BYDAY=1MO"},
		{"20260228T090000", "FREQ=MONTHLY;BYMONTHDAY=31"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=28,30,31;BYSETPOS=-1"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=32"},
		{"20260131T090000", "FREQ=MONTHLY;BYMONTHDAY=31;BYSETPOS=2"},
		{"20260115T090000", "FREQ=MONTHLY;BYMONTHDAY=15,16"},
		{"20260105T090000", "FREQ=MONTHLY;BYDAY=MO"},
		{"20260130T090000", "FREQ=MONTHLY;BYDAY=6FR"},
		{"20260123T090000", "FREQ=MONTHLY;BYDAY=5FR"}, // starts on the fourth
		{"20260227T090000", "FREQ=MONTHLY;BYDAY=5FR"},
		{"20260107T090000", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=5"},
		{"20260123T090000", "FREQ=MONTHLY;BYDAY=-2FR"},
		{"20280228T090000", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"},
		{"20260105T090000", "FREQ=YEARLY;BYMONTH=1,2"},
		{"20260105T090000", "FREQ=YEARLY;BYWEEKNO=2"},
		{"20260105T090000", "FREQ=DAILY;FREQ=WEEKLY"},
		{"20260105T090030", "FREQ=DAILY"},
	} {
		if _, err := New(c.rule, at(t, c.start), time.Hour, berlin); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	p, err := New("FREQ=WEEKLY;COUNT=3", at(t, "20260105T090000"), time.Hour, berlin)
	if err != nil {
		t.Fatal(err)
	}
	for _, not := range []string{"20260106T090000", "20260105T100000", "20260126T090000"} {
		if err := p.Delete(at(t, not)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s was deleted, and is no instance", not)
		}
	}
	octets := p.AppendTo(nil)
	for i := range octets {
		if _, err := Parse(octets[:i]); i < len(octets)-8 && !errors.Is(err, ErrUnknown) {
			t.Errorf("%d octets of %d were read: %v", i, len(octets), err)
		}
	}
}

// berlin is the zone of Berlin since 1996.
var berlin = Zone{
	Name: "W. Europe Standard Time", Standard: time.Hour, Daylight: 2 * time.Hour,
	ToStandard: Change{time.October, 5, time.Sunday, 3 * time.Hour}, ToDaylight: Change{time.March, 5, time.Sunday, 2 * time.Hour},
}

func TestZone(t *testing.T) {
	for local, utc := range map[string]string{
		"20260115T120000": "20260115T110000", "20260715T120000": "20260715T100000", "20260329T015900": "20260329T005900", "20260329T030000": "20260329T010000",
		"20261025T030000": "20261025T020000",
	} {
		if got := berlin.UTC(at(t, local)); !got.Equal(at(t, utc)) {
			t.Errorf("%s is %v", local, got)
		}
		if got, ok := berlin.Local(at(t, utc)); !ok || !got.Equal(at(t, local)) {
			t.Errorf("%s is %v, %t", utc, got, ok)
		}
	}
	south := Zone{Standard: 10 * time.Hour, Daylight: 11 * time.Hour, ToStandard: Change{time.April, 1, time.Sunday, 3 * time.Hour}, ToDaylight: Change{time.October, 1, time.Sunday, 2 * time.Hour}}
	if south.Offset(at(t, "20260115T120000")) != 11*time.Hour || south.Offset(at(t, "20260715T120000")) != 10*time.Hour {
		t.Error("summer is not in January")
	}
	// MS-OXOCAL §2.2.1.39: the fields of the struct, for Berlin.
	want := "c4ffffff00000000c4ffffff" + "0000" + "00000a0000000500030000000000" + "0000" + "0000" + "0000030000000500020000000000" + "0000"
	if got := hex.EncodeToString(berlin.Struct()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, z := range []Zone{berlin, south, {Standard: 5*time.Hour + 30*time.Minute, Daylight: 5*time.Hour + 30*time.Minute}} {
		if got, err := ParseStruct(z.Struct(), z.Name); err != nil || got != z {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := ParseStruct(z.Struct()[:40], ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("a part: %v", err)
		}
	}
	if d := berlin.Definition(); len(d) != 10+2*len(berlin.Name)+66 || string(d[:4]) != "\x02\x01\x34\x00" {
		t.Errorf("%d octets, %x", len(d), d)
	}
}

// FuzzParse: whatever is read says a rule that is read again, with the same instances.
func FuzzParse(f *testing.F) {
	for _, e := range examples {
		octets, _ := hex.DecodeString(e.octets)
		f.Add(octets)
	}
	f.Add(changed(f).AppendTo(nil))
	f.Fuzz(func(t *testing.T, octets []byte) {
		p, err := Parse(octets)
		if err != nil {
			return
		}
		rule, err := p.Rule(berlin)
		if err != nil {
			return
		}
		again, err := New(rule, p.Start(), p.Duration(), berlin)
		if err != nil {
			return // it is further away than is counted
		}
		if !again.Start().Equal(p.Start()) || again.kind != p.kind || again.days != p.days || again.interval != p.interval {
			t.Errorf("%s: %+v, and was %+v", rule, again, p)
		}
	})
}
