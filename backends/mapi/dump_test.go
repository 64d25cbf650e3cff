package mapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestDump has a message as a person sees it.
func TestDump(t *testing.T) {
	m := &Message{}
	m.Set(PidTagSubject, String("Größe <&>"))
	m.Set(PidTagClientSubmitTime, Time(134389479070000000))
	m.Set(PidLidReminderSet, Boolean(true))
	m.Set(PidTagBody, ErrorCode(0x8007000E))
	m.Recipients = []*Recipient{{}}
	m.Recipients[0].Set(PidTagDisplayName, String8{"\xc4nne", 1252})
	inner := &Message{}
	inner.Set(PidNameKeywords, Multiple[String]{"a", "b"})
	m.Attachments = []*Attachment{{Data: ContentOf([]byte{1, 2})}, {Embedded: inner}}

	var b bytes.Buffer
	if err := WriteDump(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`"name": "PidTagSubject",`, `"value": "Größe <&>"`, `"tag": "0x0037001f",`, `"utc": "2026-11-12T09:05:07Z"`,
		`"name": "PidLidReminderSet",`, `"lid": "0x8503",`, `"error": "0x8007000e"`, `"text": "Änne",`, `"codepage": 1252`,
		`"data": "0102"`, `"named": "Keywords",`, `"embedded_message": {`,
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%s is missing in %s", line, b.String())
		}
	}
	text := b.String()
	back, err := ReadDump(&b)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := WriteDump(&again, back); err != nil || again.String() != text {
		t.Errorf("%v %s", err, cmp.Diff(text, again.String()))
	}
}

// TestDumpByHand reads what a person wrote.
func TestDumpByHand(t *testing.T) {
	m, err := ReadDump(strings.NewReader(`{"properties": [
		{"name": "PidTagSubject", "value": "by its name"},
		{"name": "PidLidReminderSet", "value": true},
		{"tag": "0x1000001e", "value": "octets"},
		{"guid": "00020329-0000-0000-C000-000000000046", "named": "mine", "type": "PtypInteger32", "value": 5},
		{"name": "PidTagMessageDeliveryTime", "value": {"filetime": 134389479070000000}}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	n, _ := m.Integer(Named{Set: PSPublicStrings, Name: "mine"})
	_, ok := m.Time(PidTagMessageDeliveryTime)
	if m.Text(PidTagSubject) != "by its name" || !m.Bool(PidLidReminderSet) || m.Text(PidTagBody) != "octets" || n != 5 || !ok {
		t.Errorf("%v", m.list)
	}
	for _, wrong := range []string{
		`{`, `{"properties": [{"value": 1}]}`, `{"properties": [{"name": "PidTagUnheardOf", "value": 1}]}`,
		`{"properties": [{"tag": "x", "value": 1}]}`, `{"properties": [{"name": "PidTagSubject", "value": 1}]}`,
		`{"properties": [{"name": "PidTagSubject", "type": "PtypUnheardOf", "value": ""}]}`,
		`{"properties": [{"guid": "x", "named": "y", "value": 1}]}`, `{"properties": [{"guid": "00020329-0000-0000-C000-000000000046", "value": 1}]}`,
		`{"properties": [{"name": "PidTagSearchKey", "value": "xyz"}]}`, `{"properties": [{"name": "PidTagSubject", "value": {"error": "x"}}]}`,
		`{"properties": [], "attachments": [{"properties": [], "data": "x"}]}`,
		`{"properties": [], "recipients": [{"properties": [{}]}]}`,
		strings.Repeat(`{"properties": [], "attachments": [{"properties": [], "embedded_message": `, 200) + `{"properties": []}` + strings.Repeat(`}]}`, 200),
	} {
		if m, err := ReadDump(strings.NewReader(wrong)); err == nil {
			t.Errorf("%s is %v", wrong, m)
		}
	}
}

func TestDumpOfWhatIsGone(t *testing.T) {
	gone := Content{Size: 1, Open: func() (io.ReadCloser, error) { return nil, io.ErrClosedPipe }}
	large := &Message{}
	large.Set(PidTagBody, Streamed{Of: PtypString, Content: gone})
	for _, m := range []*Message{large, {Attachments: []*Attachment{{Data: gone}}}} {
		if err := WriteDump(io.Discard, m); !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

// TestDumpRoundTrip writes any value as JSON and reads it.
func TestDumpRoundTrip(t *testing.T) {
	any := rapid.OneOf(values(3), rapid.SampledFrom([]Value{
		Floating32(math.Inf(1)), Floating64(math.Inf(-1)),
		String8{"\x81", 1252},
		String8{"\xff\xfe", 932},
		String8{"a", 4711},
		Object{1},
		Time(math.MaxUint64),
		Integer64(math.MaxInt64), Integer64(math.MinInt64), String("\x00\u2028"),
	}))
	rapid.Check(t, func(t *rapid.T) {
		v := any.Draw(t, "value")
		raw, err := dumpValue(v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := undumpValue(v.Type(), raw)
		if err != nil || !cmp.Equal(back, v) {
			t.Fatalf("%#v is %s, and that %#v, %v", v, raw, back, err)
		}
	})
	raw, err := dumpValue(Floating64(math.NaN()))
	if back, errBack := undumpValue(PtypFloating64, raw); err != nil || errBack != nil || !math.IsNaN(float64(back.(Floating64))) {
		t.Errorf("%s, %v, %v", raw, err, errBack)
	}
}
