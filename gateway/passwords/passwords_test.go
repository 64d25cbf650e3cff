//go:build linux

package passwords

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

var _ login.Passwords = (*Kept)(nil)

// each runs a test on SQLite and on PostgreSQL. A call of open is another process on the same
// database.
func each(t *testing.T, f func(t *testing.T, open func() *Kept)) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		f(t, func() *Kept { return New(databases.Open(t, o)) })
	})
}

func (k *Kept) mustAdd(t *testing.T, draft login.AppPassword) (login.AppPassword, string) {
	t.Helper()
	made, text, err := k.Add(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	return made, text
}

func ids(all []login.AppPassword) string {
	var text []string
	for _, p := range all {
		text = append(text, p.ID)
	}
	return strings.Join(text, " ")
}

func TestPasswords(t *testing.T) {
	each(t, func(t *testing.T, open func() *Kept) {
		k, other := open(), open()
		full := login.AppPassword{
			Store: "sakes", Account: "alice@sakes.example", Label: "Alice's phone", Protocols: []string{"pop3", "submission"},
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Expires:  time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
			Owner:    "alice-id",
		}
		first, text := k.mustAdd(t, full)
		second, _ := k.mustAdd(t, login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
		k.mustAdd(t, login.AppPassword{Store: "tea", Account: "alice@sakes.example"})
		if !strings.HasPrefix(text, first.ID+"-") {
			t.Errorf("the password %q has the id %q", text, first.ID)
		}

		found, err := other.Find(t.Context(), "sakes", "alice@sakes.example")
		if err != nil || len(found) != 2 {
			t.Fatalf("another process finds %s, %v", ids(found), err)
		}
		if found[0].ID != first.ID {
			found[0], found[1] = found[1], found[0] // made in one second: they are in the ids' order
		}
		if diff := cmp.Diff([]login.AppPassword{first, second}, found, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("(-added +found)\n%s", diff)
		}
		if one, err := other.FindOne(t.Context(), "sakes", "alice@sakes.example", second.ID); err != nil || one == nil || one.Hash != second.Hash {
			t.Errorf("by its id: %v %v", one, err)
		}
		for _, where := range [][2]string{{"sakes", "bob@sakes.example"}, {"other", "alice@sakes.example"}} {
			if one, err := k.FindOne(t.Context(), where[0], where[1], second.ID); err != nil || one != nil {
				t.Errorf("%s has the password of another account: %v %v", where, one, err)
			}
		}
		if nobody, err := k.Find(t.Context(), "sakes", "bob@sakes.example"); err != nil || len(nobody) != 0 {
			t.Errorf("bob has %s, %v", ids(nobody), err)
		}
		for _, test := range []struct {
			store, account string
			want           int
		}{{"", "", 3}, {"sakes", "", 2}, {"tea", "", 1}, {"tea", "alice@sakes.example", 1}, {"none", "", 0}} {
			if all, err := k.List(t.Context(), test.store, test.account); err != nil || len(all) != test.want {
				t.Errorf("%q %q: %s, %v", test.store, test.account, ids(all), err)
			}
		}

		if found, err := other.Revoke(t.Context(), first.ID); !found || err != nil {
			t.Errorf("revoking: %v, %v", found, err)
		}
		if found, err := k.Revoke(t.Context(), first.ID); found || err != nil {
			t.Errorf("revoking again: %v, %v", found, err)
		}
		if left, err := k.Find(t.Context(), "sakes", "alice@sakes.example"); err != nil || ids(left) != second.ID {
			t.Errorf("left are %s, %v", ids(left), err)
		}
	})
}

// TestMetacharactersInNames: whatever a name has in it, it finds its own passwords alone (maddy,
// CVE-2026-40193: a filter's metacharacters in a user's name).
func TestMetacharactersInNames(t *testing.T) {
	names := []string{
		"alice", "%", "_lice", "*", "al*", "a' OR '1'='1", "alice'--", `alice"`, `alice\`, "alice)(uid=*", "alice;DROP TABLE app_passwords",
		"$(whoami)", "`id`", "alice' or startswith(name,'a", "{alice}", "alice\t", "$1", "?", "ALICE",
	}
	each(t, func(t *testing.T, open func() *Kept) {
		k := open()
		made := map[string]string{}
		for _, name := range names {
			p, _ := k.mustAdd(t, login.AppPassword{Store: "sakes", Account: name})
			made[name] = p.ID
		}
		for _, name := range names {
			if all, err := k.Find(t.Context(), "sakes", name); err != nil || ids(all) != made[name] {
				t.Errorf("%q finds %s, %v; its own is %s", name, ids(all), err, made[name])
			}
			if found, err := k.Revoke(t.Context(), name); found || err != nil {
				t.Errorf("%q as an id: %v, %v", name, found, err)
			}
		}
	})
}

func TestUsed(t *testing.T) {
	each(t, func(t *testing.T, open func() *Kept) {
		k := open()
		k.mustAdd(t, login.AppPassword{Store: "sakes", Account: "alice"})
		noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
		for _, step := range []struct {
			at   time.Time
			from string
			want time.Time
		}{
			{noon, "192.0.2.7", noon},
			{noon.Add(59 * time.Second), "192.0.2.7", noon},
			{noon.Add(59 * time.Second), "192.0.2.8", noon.Add(59 * time.Second)},
			{noon.Add(2 * time.Minute), "192.0.2.8", noon.Add(2 * time.Minute)},
		} {
			all, err := k.Find(t.Context(), "sakes", "alice")
			if err != nil {
				t.Fatal(err)
			}
			all[0].Owner = "alice-id"
			if err := k.Used(t.Context(), all[0], step.at, step.from); err != nil {
				t.Fatal(err)
			}
			if all, err = k.Find(t.Context(), "sakes", "alice"); err != nil || !all[0].LastUsed.Equal(step.want) || all[0].LastFrom == "" || all[0].Owner != "alice-id" {
				t.Errorf("used at %v: %v from %q, %v", step.at, all[0].LastUsed, all[0].LastFrom, err)
			}
		}
	})
}

// TestSaltKey has several processes ask for the key for the first time.
func TestSaltKey(t *testing.T) {
	each(t, func(t *testing.T, open func() *Kept) {
		keys := make([][]byte, 4)
		processes := []*Kept{open(), open(), open(), open()}
		var asking sync.WaitGroup
		for i, k := range processes {
			asking.Go(func() {
				var err error
				if keys[i], err = k.SaltKey(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		for _, key := range keys {
			if len(key) != 32 || string(key) != string(keys[0]) {
				t.Errorf("a key is %x, another one %x", key, keys[0])
			}
		}
		if again, err := open().SaltKey(t.Context()); err != nil || string(again) != string(keys[0]) {
			t.Errorf("later it is %x, %v", again, err)
		}
	})
}
