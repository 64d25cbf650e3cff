//go:build linux

package folder

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// eachRetention runs a test on SQLite and on PostgreSQL.
func eachRetention(t *testing.T, f func(t *testing.T, k *Retention)) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		f(t, &Retention{DB: databases.Open(t, o)})
	})
}

func TestRetention(t *testing.T) {
	eachRetention(t, func(t *testing.T, k *Retention) {
		ctx := t.Context()
		start := time.Unix(1_700_000_000, 0)
		now := start
		k.Now = func() time.Time { return now }
		ada, bob := Key{"sakes", "ada", ""}, Key{"sakes", "bob", "archive"}
		odd := backends.MessageID("c\x00\xff'\n")
		keep := func(f Key, o Owner, after time.Duration, ids ...backends.MessageID) {
			t.Helper()
			if err := k.Keep(ctx, f, o, ids, now.Add(after)); err != nil {
				t.Fatal(err)
			}
		}
		keep(ada, Owner{"ada@sakes.example", ""}, time.Hour, "a", "b", odd)
		keep(ada, Owner{"ada@sakes.example", ""}, 3*time.Hour, "a", "d") // a stays due when it was
		keep(bob, Owner{"bob@sakes.example", "Archive"}, time.Hour, "a")
		keep(Key{"other", "ada", ""}, Owner{"ada", ""}, time.Hour, "x")

		kept, err := k.In(ctx, ada)
		if err != nil || len(kept) != 4 || !kept["a"].Equal(start.Add(time.Hour)) || !kept["d"].Equal(start.Add(3*time.Hour)) {
			t.Errorf("%v, %v", kept, err)
		}
		due := func(most int, stores ...string) (all []string) {
			t.Helper()
			found, err := k.Due(ctx, stores, most)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range found {
				for _, id := range d.IDs {
					all = append(all, fmt.Sprintf("%s/%s/%s %s %s %q", d.Store, d.Account, d.Folder, d.Name, d.Path, id))
				}
			}
			slices.Sort(all)
			return all
		}
		if got := due(10, "sakes", "other"); len(got) > 0 {
			t.Errorf("before its time: %q", got)
		}
		now = start.Add(2 * time.Hour)
		want := []string{
			`sakes/ada/ ada@sakes.example  "a"`, `sakes/ada/ ada@sakes.example  "b"`, `sakes/ada/ ada@sakes.example  "c\x00\xff'\n"`,
			`sakes/bob/archive bob@sakes.example Archive "a"`,
		}
		if got := due(10, "sakes"); !slices.Equal(got, want) {
			t.Errorf("due are %q", got)
		}
		if got := due(2, "sakes", "other"); len(got) != 2 {
			t.Errorf("%d are due, and 2 were asked for", len(got))
		}
		if got := due(10); len(got) > 0 {
			t.Errorf("of no store: %q", got)
		}
		if err := k.Forget(ctx, ada, []backends.MessageID{"a", odd}); err != nil {
			t.Fatal(err)
		}
		if got := due(10, "sakes"); !slices.Equal(got, []string{want[1], want[3]}) {
			t.Errorf("after two were forgotten: %q", got)
		}
	})
}
