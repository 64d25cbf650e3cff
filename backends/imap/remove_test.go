package imap_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// TestGoneHarmsNoOther: a server that takes a UID behind the last message's for that message's is given
// none. One that is gone counts as removed, and the last message keeps its flags and its place.
func TestGoneHarmsNoOther(t *testing.T) {
	t.Parallel()
	mark := func(d backends.Maildrop, ids ...backends.MessageID) ([]backends.Removal, error) {
		return d.Remove(t.Context(), ids, backends.DisposalMark)
	}
	for name, change := range map[string]func(d backends.Maildrop) ([]backends.Removal, error){
		"marked":        func(d backends.Maildrop) ([]backends.Removal, error) { return mark(d, "7.10") },
		"beside others": func(d backends.Maildrop) ([]backends.Removal, error) { return mark(d, "7.4", "7.10") },
		"moved": func(d backends.Maildrop) ([]backends.Removal, error) {
			return d.Remove(t.Context(), []backends.MessageID{"7.10"}, backends.DisposalTrash)
		},
		"marked as read": func(d backends.Maildrop) ([]backends.Removal, error) {
			return nil, d.(backends.Marker).MarkSeen(t.Context(), []backends.MessageID{"7.4", "7.10"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.Caps, f.GoneIsLast = "IMAP4rev1 AUTH=PLAIN MOVE SPECIAL-USE", true
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			list(t, d)
			f.Change(withoutLast)
			removals, err := change(d)
			for _, r := range removals {
				if r.Failure != nil {
					t.Errorf("%s: %v", r.ID, r.Failure)
				}
			}
			if err != nil {
				t.Error(err)
			}
			if f.Deleted(8) || !there(f, 8) || f.Deleted(4) != (name == "beside others") {
				t.Errorf("after %q: message 8 is marked (%t) or gone, or message 4 is not as it should be", f.Heard("UID "), f.Deleted(8))
			}
			want := map[string][]string{
				"beside others":  {`UID STORE 4 +FLAGS.SILENT (\Deleted)`},
				"marked as read": {`UID STORE 4 +FLAGS.SILENT (\Seen)`},
			}[name]
			if got := append(f.Heard("UID STORE"), f.Heard("UID MOVE")...); !slices.Equal(got, want) {
				t.Errorf("it said %q, wanted %q", got, want)
			}
		})
	}
}

// TestAnotherIsMarked: where a message goes between the question and the command, and another one has the
// mark then, that mark is taken back and the removal fails. What others had marked keeps its mark.
func TestAnotherIsMarked(t *testing.T) {
	t.Parallel()
	goes := func(f *fakeimap.Server) fakeimap.Rule {
		return fakeimap.Rule{Command: "^UID SEARCH ALL", Times: 1, Make: func(_, _, right string) string {
			f.Change(withoutLast)
			return right
		}}
	}
	for name, tt := range map[string]struct {
		more func(f *fakeimap.Server) []fakeimap.Rule
		kept bool // the mark cannot be taken back
	}{
		"seen": {more: func(*fakeimap.Server) []fakeimap.Rule { return nil }},
		"seen on another connection": {more: func(*fakeimap.Server) []fakeimap.Rule {
			return []fakeimap.Rule{{Command: `^UID STORE .*\+FLAGS`, Times: 1, Answer: "TAG OK done\nCLOSE"}}
		}},
		"and not unmarked": {more: func(*fakeimap.Server) []fakeimap.Rule {
			return []fakeimap.Rule{{Command: "^UID STORE .*-FLAGS", Answer: "TAG NO no\n"}}
		}, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.Caps, f.GoneIsLast = "IMAP4rev1 AUTH=PLAIN", true
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, nil))
			list(t, d)
			other := openInbox(t, storeOf(t, f, nil))
			if _, err := other.Remove(t.Context(), []backends.MessageID{"7.2"}, backends.DisposalMark); err != nil {
				t.Fatal(err)
			}
			f.Set(append(tt.more(f), goes(f))...)
			removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4", "7.10"}, backends.DisposalMark)
			if backends.KindOf(err) != backends.Temporary {
				t.Errorf("it is told as %v (%v)", removals, err)
			}
			marks := fmt.Sprint(f.Deleted(2), f.Deleted(4), f.Deleted(8))
			if want := fmt.Sprint(true, tt.kept, tt.kept); marks != want {
				t.Errorf("messages 2, 4 and 8 are marked: %s, wanted %s, after %q", marks, want, f.Heard("UID "))
			}
		})
	}
}

// TestMarksNotTold: a server without UIDPLUS that does not say what is marked is given no mark.
func TestMarksNotTold(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]fakeimap.Rule{
		"before": {Command: "^UID SEARCH DELETED", Answer: "TAG NO no\n"},
		"after":  {Command: "^UID SEARCH DELETED", Answer: "TAG NO no\n", Skip: 1},
		"there":  {Command: "^UID SEARCH ALL", Answer: "TAG NO no\n", Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fiveMessages()
			f.Caps = "IMAP4rev1 AUTH=PLAIN"
			f = fakeimap.Start(t, f)
			d := openInbox(t, storeOf(t, f, nil))
			list(t, d)
			f.Set(refused)
			removals, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalMark)
			if err == nil || f.Deleted(4) {
				t.Errorf("it is told as %v (%v), after %q", removals, err, f.Heard("UID "))
			}
		})
	}
}

func withoutLast(f *fakeimap.Server) { f.Messages = f.Messages[:len(f.Messages)-1] }

func there(f *fakeimap.Server, uid int) (found bool) {
	f.Change(func(f *fakeimap.Server) {
		found = slices.ContainsFunc(f.Messages, func(m fakeimap.Message) bool { return m.UID == uid })
	})
	return found
}

// TestSearchWithoutEnd: a server that has found all messages that there could be costs no memory, and nothing
// is removed.
func TestSearchWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, found := range []string{"1:4294967295", "1:*", "1:3000000,5000000:9000000"} {
		f := twoMessages()
		f.Caps = "IMAP4rev1 ESEARCH AUTH=PLAIN SASL-IR"
		f.On = append(f.On, on("UID SEARCH", `* ESEARCH (TAG "TAG") UID ALL `+found+"\nTAG OK done\n"))
		d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
		entries := list(t, d)
		removals, err := d.Remove(t.Context(), []backends.MessageID{entries[0].ID}, backends.DisposalMark)
		if err == nil {
			err = removals[0].Failure
		}
		if backends.KindOf(err) != backends.Temporary {
			t.Errorf("%s: %v, %v", found, removals, err)
		}
		if f.Deleted(1) {
			t.Errorf("%s: a message is marked", found)
		}
	}
}
