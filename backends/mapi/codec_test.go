package mapi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestHostileOctets decodes what announces more than there is.
func TestHostileOctets(t *testing.T) {
	for _, c := range []struct {
		name, octets string
		t            Type
		wide         bool
		want         error
	}{
		{"octets of 4 GiB", "ffffffff", PtypBinary, true, io.ErrUnexpectedEOF},
		{"octets of 64 KiB", "ffff00", PtypBinary, false, io.ErrUnexpectedEOF},
		{"4 G integers", "ffffffff00000000", PtypMultipleInteger32, false, ErrCount},
		{"2 G integers and a negative count", "00000080", PtypMultipleInteger16, false, ErrCount},
		{"4 G strings", "ffffffff0000", PtypMultipleString, false, ErrCount},
		{"4 G octet strings", "ffffffff0000", PtypMultipleBinary, true, ErrCount},
		{"a string without an end", "41004200", PtypString, false, io.ErrUnexpectedEOF},
		{"a string with half an end", "41000000"[:6], PtypString, false, io.ErrUnexpectedEOF},
		{"a string of octets without an end", "4142", PtypString8, false, io.ErrUnexpectedEOF},
		{"half an integer", "0100", PtypInteger32, false, io.ErrUnexpectedEOF},
		{"an object", "", PtypObject, false, ErrType},
		{"many booleans", "0100000001", PtypBoolean | MultiValue, false, ErrType},
		{"an unknown type", "00", 0x0077, false, ErrType},
		{"unspecified", "00", PtypUnspecified, false, ErrType},
		{"a restriction without an end", strings.Repeat("02", 50), PtypRestriction, false, io.ErrUnexpectedEOF},
		{"a deep restriction", strings.Repeat("02", 100_000), PtypRestriction, false, ErrDepth},
		{"a deep restriction of another kind", strings.Repeat("0000010000", 100_000), PtypRestriction, true, ErrDepth},
		{"4 G restrictions", "00ffffffff", PtypRestriction, true, ErrCount},
		{"4 G actions", "ffffffff", PtypRuleAction, true, ErrCount},
		{"an action that is too short", "01000800" + strings.Repeat("00", 20), PtypRuleAction, false, ErrCount},
	} {
		t.Run(c.name, func(t *testing.T) {
			octets, err := hex.DecodeString(c.octets)
			if err != nil {
				t.Fatal(err)
			}
			d := NewDecoder(octets, Format{Wide: c.wide})
			if v := d.Value(c.t); v != nil || !errors.Is(d.Err(), c.want) {
				t.Errorf("%v, %v; want %v", v, d.Err(), c.want)
			}
		})
	}
}

// TestAnnouncedCostsNothing bounds what is allocated for counts that lie.
func TestAnnouncedCostsNothing(t *testing.T) {
	for _, ptyp := range []Type{PtypBinary, PtypMultipleInteger16, PtypMultipleString, PtypMultipleBinary, PtypMultipleGuid, PtypServerId, PtypRuleAction} {
		octets := append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 100)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := NewDecoder(octets, Format{Wide: true})
		d.Value(ptyp)
		runtime.ReadMemStats(&after)
		if d.Err() == nil {
			t.Errorf("%s: it was decoded", ptyp)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
			t.Errorf("%s: %d octets were allocated", ptyp, allocated)
		}
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	octets, _ := hex.DecodeString("0200" + "1f003700" + "41000000" + "02013b00" + "ff00")
	d := NewDecoder(octets, Format{})
	d.TaggedValues()
	want := "octet 16, property 0x003b0102 PidTagSentRepresentingSearchKey: 255 octets announced, 0 left: unexpected EOF"
	if d.Err() == nil || d.Err().Error() != want {
		t.Errorf("%v, want %s", d.Err(), want)
	}
	if d.Uint32() != 0 || d.Unicode() != "" || d.Value(PtypInteger32) != nil || d.Tags() == nil || d.TaggedValues() == nil {
		t.Error("something was decoded after the error")
	}
}

func TestEncodeErrors(t *testing.T) {
	for name, write := range map[string]func(*Encoder){
		"65536 octets":                 func(e *Encoder) { e.Value(Binary(make([]byte, 65536))) },
		"an object":                    func(e *Encoder) { e.Value(Object("x")) },
		"what is streamed":             func(e *Encoder) { e.Value(Streamed{Of: PtypBinary}) },
		"no restriction":               func(e *Encoder) { e.Value(Not{}) },
		"a name without an id":         func(e *Encoder) { e.TaggedValue(Property{Named: PidLidReminderSet, Value: Boolean(true)}) },
		"a long name":                  func(e *Encoder) { e.Named(Named{Set: PSMapi, Name: strings.Repeat("n", 200)}) },
		"a row of another type":        func(e *Encoder) { e.Row([]Tag{PidTagSubject, PidTagBody}, []Value{Integer32(1), nil}) },
		"a row that is too short":      func(e *Encoder) { e.Row([]Tag{PidTagSubject}, nil) },
		"a recipient with more values": func(e *Encoder) { e.RecipientRow(nil, RecipientRow{Values: []Value{Integer32(1)}}) },
		"a name that does not fit":     func(e *Encoder) { e.RecipientRow(nil, RecipientRow{Kind: RecipientOther, AddressType: "é"}) },
	} {
		e := NewEncoder(nil, Format{})
		if write(e); e.Err() == nil {
			t.Errorf("%s was encoded as %x", name, e.Octets())
		}
	}
}

func TestTextBehindANULIsNotWritten(t *testing.T) {
	e := NewEncoder(nil, Format{})
	e.Value(String("a\x00b"))
	e.Value(String8{"c\x00d", 1252})
	if got := hex.EncodeToString(e.Octets()); got != "610000006300" {
		t.Errorf("%s", got)
	}
}

func TestTypedString(t *testing.T) {
	for octets, want := range map[string]string{"00": "none", "01": "", "02416200": "Ab", "0341e900": "Aé", "044100e9000000": "Aé"} {
		raw, _ := hex.DecodeString(octets)
		d := NewDecoder(raw, Format{})
		got, ok := d.TypedString()
		if !ok {
			got = "none"
		}
		if got != want || d.Err() != nil || d.Left() != 0 {
			t.Errorf("%s is %q (%v), want %q", octets, got, d.Err(), want)
		}
	}
	d := NewDecoder([]byte{5}, Format{})
	if _, ok := d.TypedString(); ok || d.Err() == nil {
		t.Error("kind 5 was decoded")
	}
	e := NewEncoder(nil, Format{})
	e.TypedString("")
	e.TypedString("é")
	if got := hex.EncodeToString(e.Octets()); got != "0104e9000000" {
		t.Errorf("%s", got)
	}
}

func TestRows(t *testing.T) {
	columns := []Tag{PidTagSubject, PidTagImportance, PidTagBody.WithType(PtypUnspecified), PidTagMessageSize}
	for name, row := range map[string][]Value{
		"all":     {String("a"), Integer32(1), Binary{1}, Integer32(5)},
		"missing": {nil, ErrorCode(0x8004010F), String("x"), Integer32(5)},
		"errors":  {ErrorCode(0x8004010F), nil, ErrorCode(0x8007000E), nil},
	} {
		e := NewEncoder(nil, Format{})
		e.Row(columns, row)
		d := NewDecoder(e.Octets(), Format{})
		if got := d.Row(columns); e.Err() != nil || d.Err() != nil || d.Left() != 0 || !cmp.Equal(got, row) {
			t.Errorf("%s: %v, %v, %v; octets %x", name, got, e.Err(), d.Err(), e.Octets())
		}
	}
	d := NewDecoder([]byte{0, 'x', 0, 0, 0, 0}, Format{})
	instance := instanceColumn()
	if got := d.Row([]Tag{instance}); !cmp.Equal(got, []Value{String("x")}) {
		t.Errorf("one of many values in a row is %v, %v", got, d.Err())
	}
	for _, octets := range [][]byte{{2}, {1, 7, 0, 0}, {1}, {}} {
		d := NewDecoder(octets, Format{})
		if got := d.Row([]Tag{PidTagSubject}); d.Err() == nil {
			t.Errorf("%x is %v", octets, got)
		}
	}
}

// instanceColumn is a column with one of the keywords in each row.
func instanceColumn() Tag { return NewTag(0x8001, PtypMultipleString|MultiValueInstance) }

func TestNamedCodec(t *testing.T) {
	for _, n := range []Named{PidLidReminderSet, PidNameKeywords, {}, {Set: PSInternetHeaders, Name: "X-Größe"}} {
		e := NewEncoder(nil, Format{})
		e.Named(n)
		d := NewDecoder(e.Octets(), Format{})
		if got := d.Named(); got != n || d.Err() != nil || d.Left() != 0 {
			t.Errorf("%v came back as %v, %v", n, got, d.Err())
		}
	}
	for _, octets := range []string{"02" + strings.Repeat("00", 20), "01" + strings.Repeat("00", 16) + "00", "01" + strings.Repeat("00", 16) + "0441", "00"} {
		raw, _ := hex.DecodeString(octets)
		d := NewDecoder(raw, Format{})
		if n := d.Named(); d.Err() == nil || !n.IsZero() {
			t.Errorf("%s is %v", octets, n)
		}
	}
}

// values draws any value that a ROP can carry.
func values(depth int) *rapid.Generator[Value] {
	all := []*rapid.Generator[Value]{
		rapid.Just[Value](Null{}), many1(PtypInteger16, rapid.Map(rapid.Int16(), func(n int16) Value { return Integer16(n) })),
		many1(PtypInteger32, rapid.Map(rapid.Int32(), func(n int32) Value { return Integer32(n) })),
		many1(PtypInteger64, rapid.Map(rapid.Int64(), func(n int64) Value { return Integer64(n) })),
		many1(PtypCurrency, rapid.Map(rapid.Int64(), func(n int64) Value { return Currency(n) })),
		many1(PtypFloating32, rapid.Map(rapid.Float32(), func(f float32) Value { return Floating32(f) })),
		many1(PtypFloating64, rapid.Map(rapid.Float64(), func(f float64) Value { return Floating64(f) })),
		many1(PtypFloatingTime, rapid.Map(rapid.Float64(), func(f float64) Value { return FloatingTime(f) })),
		rapid.Map(rapid.Uint32(), func(n uint32) Value { return ErrorCode(n) }),
		rapid.Map(rapid.Bool(), func(b bool) Value { return Boolean(b) }),
		many1(PtypTime, rapid.Map(rapid.Uint64(), func(n uint64) Value { return Time(n) })),
		many1(PtypGuid, rapid.Map(octets(16, 16), func(b []byte) Value { return GUID(b) })),
		many1(PtypString, rapid.Map(rapid.StringMatching(`[^\x00]{0,12}`), func(s string) Value { return String(s) })),
		many1(PtypString8, rapid.Map(rapid.StringMatching(`[ -~éü]{0,12}`), string8In1252)),
		many1(PtypBinary, rapid.Map(octets(0, 40), func(b []byte) Value { return Binary(b) })),
		rapid.Map(octets(0, 40), func(b []byte) Value { return ServerID(b) }),
		rapid.Custom(ruleActions),
	}
	if depth > 0 {
		all = append(all, rapid.Map(restrictions(depth-1), func(r Restriction) Value { return r }))
	}
	return rapid.OneOf(all...)
}

func octets(least, most int) *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.Byte(), least, most)
}

func string8In1252(s string) Value {
	v, err := NewString8(s, 1252)
	if err != nil {
		panic(err)
	}
	return v
}

// many1 draws one value or many.
func many1(of Type, one *rapid.Generator[Value]) *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		if rapid.Bool().Draw(t, "one") {
			return one.Draw(t, "value")
		}
		v, err := NewMultiple(of, rapid.SliceOfN(one, 0, 4).Draw(t, "values"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

func ruleActions(t *rapid.T) Value {
	actions := RuleActions{}
	for range rapid.IntRange(0, 3).Draw(t, "actions") {
		actions = append(actions, RuleAction{rapid.Byte().Draw(t, "kind"), rapid.Uint32().Draw(t, "flavor"), rapid.Uint32().Draw(t, "flags"), octets(0, 9).Draw(t, "data")})
	}
	return actions
}

func tags() *rapid.Generator[Tag] {
	return rapid.Map(rapid.Uint32Range(1<<16, math.MaxUint32), func(n uint32) Tag { return Tag(n) })
}

func tagged(depth int) *rapid.Generator[Property] {
	return rapid.Custom(func(t *rapid.T) Property {
		v := values(depth).Draw(t, "value")
		return Property{Tag: tags().Draw(t, "tag").WithType(v.Type()), Value: v}
	})
}

func restrictions(depth int) *rapid.Generator[Restriction] {
	return rapid.Custom(func(t *rapid.T) Restriction {
		op, tag, other := RelOp(rapid.Byte().Draw(t, "op")), tags().Draw(t, "tag"), tags().Draw(t, "other")
		number := rapid.Uint32().Draw(t, "number")
		kinds := 6
		if depth > 0 {
			kinds = 12
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return ExistRestriction{tag}
		case 1:
			return SizeRestriction{op, tag, number}
		case 2:
			return BitMaskRestriction{op > 10, tag, number}
		case 3:
			return CompareRestriction{op, tag, other}
		case 4:
			return PropertyRestriction{op, tag, tagged(0).Draw(t, "value")}
		case 5:
			return ContentRestriction{number, tag, tagged(0).Draw(t, "value")}
		case 6:
			return And(rapid.SliceOfN(restrictions(depth-1), 1, 3).Draw(t, "all"))
		case 7:
			return Or(rapid.SliceOfN(restrictions(depth-1), 1, 3).Draw(t, "all"))
		case 8:
			return Not{restrictions(depth-1).Draw(t, "inner")}
		case 9:
			return SubRestriction{tag, restrictions(depth-1).Draw(t, "inner")}
		case 10:
			return CountRestriction{number, restrictions(depth-1).Draw(t, "inner")}
		}
		c := CommentRestriction{Values: rapid.SliceOfN(tagged(0), 1, 3).Draw(t, "values")}
		if rapid.Bool().Draw(t, "restricted") {
			c.Restriction = restrictions(depth-1).Draw(t, "inner")
		}
		return c
	})
}

// TestRoundTrip writes any value, reads it, and dumps it, in both widths of counts.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(3).Draw(t, "value")
		f := Format{Wide: rapid.Bool().Draw(t, "wide"), CodePage: 1252}
		e := NewEncoder(nil, f)
		e.TypedValue(v)
		d := NewDecoder(e.Octets(), f)
		got := d.TypedValue()
		if e.Err() != nil || d.Err() != nil || d.Left() != 0 || !cmp.Equal(got, v) {
			t.Fatalf("%#v came back as %#v (%v, %v)", v, got, e.Err(), d.Err())
		}
		again := NewEncoder(nil, f)
		if again.TypedValue(got); !bytes.Equal(again.Octets(), e.Octets()) {
			t.Fatalf("%x, and then %x", e.Octets(), again.Octets())
		}
	})
}

func FuzzDecoder(f *testing.F) {
	for _, c := range []struct {
		t      Type
		octets string
	}{
		{PtypRestriction, "000200" + "0412340300"},
		{PtypRestriction, "0304000037001f0037001f0061000000"},
		{PtypRestriction, "0430303030301f0000000000"},
		{PtypMultipleString, "02000000610000006200" + "0000"},
		{PtypMultipleBinary, "0200000001006101006200"},
		{PtypRuleAction, "010009000100000000" + "0000000000"},
		{PtypServerId, "150001" + strings.Repeat("11", 20)},
	} {
		octets, err := hex.DecodeString(c.octets)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(c.t), false, octets)
	}
	f.Fuzz(func(t *testing.T, ptyp uint16, wide bool, octets []byte) {
		format := Format{Wide: wide, CodePage: 1252}
		d := NewDecoder(octets, format)
		v := d.Value(Type(ptyp))
		if d.Err() != nil {
			return
		}
		e := NewEncoder(nil, format)
		e.Value(v)
		if e.Err() != nil {
			t.Fatalf("%#v cannot be written: %v", v, e.Err())
		}
		again := NewDecoder(e.Octets(), format)
		back := again.Value(Type(ptyp))
		if again.Err() != nil || again.Left() != 0 {
			t.Fatalf("%#v came back as %#v: %v", v, back, again.Err())
		}
	})
}

func FuzzRecipientRow(f *testing.F) {
	for _, file := range recordings(f) {
		for _, raw := range load(f, file).Raw.Recipients {
			octets := unhexed(f, raw)
			f.Add(octets[6+1+4+1+2+2+2:])
		}
	}
	columns := []Tag{0x0ff90102, 0x0ffe0003, 0x39000003, 0x39fe001f, 0x5ff70102, 0x5ffd0003}
	f.Fuzz(func(t *testing.T, octets []byte) {
		d := NewDecoder(octets, Format{CodePage: 1252})
		row := d.RecipientRow(columns)
		if d.Err() != nil {
			return
		}
		e := NewEncoder(nil, Format{CodePage: 1252})
		e.RecipientRow(columns, row)
		again := NewDecoder(e.Octets(), Format{CodePage: 1252})
		if back := again.RecipientRow(columns); e.Err() == nil && (again.Err() != nil || !cmp.Equal(back.DisplayName, row.DisplayName)) {
			t.Fatalf("%#v came back as %#v: %v", row, back, again.Err())
		}
	})
}
