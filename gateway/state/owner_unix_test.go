//go:build unix

package state

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/test/owners"
)

// TestRootMakesNothingOfItsOwn: what an administrator's command makes before the gateway's first start
// belongs to the gateway's user, whose folder it is in.
func TestRootMakesNothingOfItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("this process is not root: what it makes is its own")
	}
	home := t.TempDir()
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4711
		if err := os.Chown(home, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Log: zerolog.Nop(), Folder: filepath.Join(home, "a", "state")}
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	check := func() { t.Helper(); owners.Check(t, home, owner, 4) }
	check() // the files beside the database, too
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := Backup(t.Context(), o, copied, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), o, copied, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	check()
}
