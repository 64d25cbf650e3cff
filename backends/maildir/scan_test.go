package maildir

import (
	"fmt"
	"slices"
	"testing"
)

// TestNamesTogether: names are what they were, and are kept in few strings.
func TestNamesTogether(t *testing.T) {
	names := []string{""}
	for i := range 2*namesTogether + 10 {
		names = append(names, fmt.Sprintf("17000%05d.M%dP1.host,S=%d:2,", i, i%7, i*i))
	}
	want := slices.Clone(names)
	var kept []string
	objects := testing.AllocsPerRun(1, func() { kept = together(slices.Clone(names)) })
	if !slices.Equal(kept, want) {
		t.Error("names are not what they were")
	}
	if objects > 10 {
		t.Errorf("%d names are %.0f objects", len(names), objects)
	}
	if len(together(nil)) != 0 {
		t.Error("no names are some")
	}
}
