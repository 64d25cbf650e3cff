//go:build linux

package folder_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// TestOpenings: when a maildrop was opened is known to whoever has the database, by its clock, and
// for each maildrop alone.
func TestOpenings(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		here, there := folder.NewOpenings(db), folder.NewOpenings(db)
		if !db.Shared() {
			there = here
		}
		if last, err := here.Last(t.Context(), maildropOf("ada")); !last.IsZero() || err != nil {
			t.Fatalf("what nobody has opened was opened at %v (%v)", last, err)
		}
		before := time.Now()
		if err := here.Note(t.Context(), maildropOf("ada"), before); err != nil {
			t.Fatal(err)
		}
		last, err := there.Last(t.Context(), maildropOf("ada"))
		if err != nil || last.Before(before.Add(-time.Second)) || last.After(time.Now().Add(time.Second)) {
			t.Errorf("it was opened at %v (%v), and it was now", last, err)
		}
		if last, err := there.Last(t.Context(), maildropOf("bob")); !last.IsZero() || err != nil {
			t.Errorf("another was opened at %v (%v)", last, err)
		}
		if !db.Shared() {
			return
		}
		const age = "UPDATE openings SET opened = opened - 3600 * 1000000::bigint"
		if err := db.Write(t.Context(), func(tx *state.Tx) error { _, err := tx.Exec(age); return err }); err != nil {
			t.Fatal(err)
		}
		if last, err := there.Last(t.Context(), maildropOf("ada")); err != nil || time.Since(last).Round(time.Minute) != time.Hour {
			t.Errorf("after an hour it was opened at %v (%v)", last, err)
		}
		sweep := there.Tasks()[0]
		if n, err := sweep.Do(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("%d openings of an hour ago are forgotten (%v)", n, err)
		}
		for range 24 {
			if err := db.Write(t.Context(), func(tx *state.Tx) error { _, err := tx.Exec(age); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := sweep.Do(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("%d openings of a day ago are forgotten (%v)", n, err)
		}
	})
}

func TestMemoryOpeningsAreBounded(t *testing.T) {
	m := &folder.MemoryOpenings{}
	start := time.Unix(1_000_000, 0)
	for i := range 100_010 {
		if err := m.Note(t.Context(), folder.Key{Account: fmt.Sprint(i)}, start); err != nil {
			t.Fatal(err)
		}
	}
	for account, there := range map[string]bool{"0": false, "9": false, "10": true, "100009": true} {
		if last, err := m.Last(t.Context(), folder.Key{Account: account}); err != nil || last.IsZero() == there {
			t.Errorf("%s: %v, %v", account, last, err)
		}
	}
}
