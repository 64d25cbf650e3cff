package mapi

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExamples has the specifications' own octets.
func TestExamples(t *testing.T) {
	t.Run("MS-OXCPRPT §4.2, PropertyValues of RopSetProperties", func(t *testing.T) {
		octets := unhexed(t, "02001f003d0000001f001d0e480065006c006c006f00200057006f0072006c0064000000")
		d := NewDecoder(octets, Format{})
		got := d.TaggedValues()
		want := []Property{{Tag: PidTagSubjectPrefix, Value: String("")}, {Tag: PidTagNormalizedSubject, Value: String("Hello World")}}
		if d.Err() != nil || d.Left() != 0 || !cmp.Equal(got, want) {
			t.Errorf("%v, %v", got, d.Err())
		}
		e := NewEncoder(nil, Format{})
		if e.TaggedValues(want); e.Err() != nil || !bytes.Equal(e.Octets(), octets) {
			t.Errorf("%x, %v", e.Octets(), e.Err())
		}
	})
	t.Run("MS-OXOMSG §4.3.1, FID and MID", func(t *testing.T) {
		d := NewDecoder(unhexed(t, "01000003b479ca4701000003b7e65fa7"), Format{})
		folder, message := Integer64(d.Uint64()).ObjectID(), Integer64(d.Uint64()).ObjectID()
		if folder != (ObjectID{1, Counter{0, 3, 0xb4, 0x79, 0xca, 0x47}}) {
			t.Errorf("%+v", folder)
		}
		if message != (ObjectID{1, Counter{0, 3, 0xb7, 0xe6, 0x5f, 0xa7}}) {
			t.Errorf("%+v", message)
		}
	})
	t.Run("MS-OXCFOLD §4.3.1, MIDs", func(t *testing.T) {
		d := NewDecoder(unhexed(t, "01000000"+"0e8ef148"+"01000000"+"0e8ec302"), Format{})
		for _, want := range []ObjectID{{1, Counter{0, 0, 0x0e, 0x8e, 0xf1, 0x48}}, {1, Counter{0, 0, 0x0e, 0x8e, 0xc3, 0x02}}} {
			if got := Integer64(d.Uint64()).ObjectID(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}
