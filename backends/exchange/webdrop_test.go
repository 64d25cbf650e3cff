package exchange

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestWalk goes through a folder that changes between its pages: no message that stays is left out, and none is given twice.
func TestWalk(t *testing.T) {
	for _, test := range []struct {
		name   string
		limit  int                          // entries of a page
		change func([]string, int) []string // after so many pages
		want   string                       // "": an error
	}{
		{"nothing changes", 4, func(all []string, _ int) []string { return all }, "[a b c d e f g h i j]"},
		{"three in front are removed", 4, func(all []string, n int) []string {
			if n == 1 {
				return all[3:]
			}
			return all
		}, "[a b c d e f g h i j]"},
		{"three in front are removed twice", 4, func(all []string, n int) []string {
			if n <= 2 {
				return all[3:]
			}
			return all
		}, "[a b c d g h i j]"},
		{"one comes in front", 4, func(all []string, n int) []string {
			if n == 1 {
				return append([]string{"A"}, all...)
			}
			return all
		}, "[a b c d e f g h i j]"},
		{"all are removed", 4, func([]string, int) []string { return nil }, "[a b c d]"},
		{"it changes all the time", 4, func(all []string, n int) []string {
			return append(slices.Clone(all[3:]), fmt.Sprint(n, 1), fmt.Sprint(n, 2), fmt.Sprint(n, 3))
		}, ""},
		{"no more than one at a time", 1, func(all []string, _ int) []string { return all }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, pages := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}, 0
			read := func(offset int) (page webPage, err error) {
				from := min(offset, len(all))
				page.next = min(from+test.limit, len(all))
				for _, one := range all[from:page.next] {
					page.entries = append(page.entries, webEntry{backends.Entry{ID: backends.MessageID(one)}, one})
				}
				page.more = page.next < len(all)
				pages++
				all = test.change(all, pages)
				return page, nil
			}
			var got []string
			m := &webDrop{ids: newWebIDs(webBounds{most: 10})}
			err := m.walk(read, func(one webEntry) bool {
				got = append(got, one.id)
				return true
			})
			if test.want == "" && backends.KindOf(err) != backends.Temporary || test.want != "" && (err != nil || fmt.Sprint(got) != test.want) {
				t.Errorf("%v, %v", got, err)
			}
			if pages > 100 {
				t.Errorf("%d pages", pages)
			}
		})
	}
}

// TestWebIDs: no more is remembered than the bounds, and of what is forgotten the place.
func TestWebIDs(t *testing.T) {
	w := newWebIDs(webBounds{most: 10, shift: webShift})
	for i := range 1000 {
		w.learn(webEntry{backends.Entry{ID: backends.MessageID(fmt.Sprint(i))}, fmt.Sprint("ews", i)}, i)
	}
	if n := len(w.recent) + len(w.older); n > 20 {
		t.Errorf("%d Ids are remembered", n)
	}
	if id, known := w.find("995"); !known || id != "ews995" {
		t.Errorf("one of the last is %q", id)
	}
	if _, known := w.find("3"); known {
		t.Error("one of the first is remembered")
	}
	for place, want := range map[string]int{"3": 0, "900": 900 - webShift} {
		if offset, known := w.place(backends.MessageID(place)); !known || offset != want {
			t.Errorf("%s is looked for from %d on", place, offset)
		}
	}
	if _, known := w.place("nowhere"); known {
		t.Error("what was never listed has a place")
	}
}
