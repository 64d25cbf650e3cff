//go:build linux

package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestLog (I1): who has the folder alone writes nothing behind a log that cannot be emptied, because somebody
// reads it; who opens the database beside a gateway leaves the log to that.
func TestLog(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir(), Patience: 20 * time.Millisecond}
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(o.Folder, FileName+"-wal"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	gateway := open(t, o)
	if err := put(t.Context(), gateway, "kept"); err != nil {
		t.Fatal(err)
	}
	before := size()
	open(t, o)
	if after := size(); before == 0 || after < before {
		t.Errorf("opened beside a gateway, the log's %d octets are %d", before, after)
	}
	alone := o
	alone.Alone = true
	err := gateway.Read(t.Context(), func(tx *Tx) error {
		if _, err := tx.One([]any{new(int)}, "SELECT count(*) FROM sqlite_schema"); err != nil {
			return err
		}
		db, err := Open(t.Context(), alone)
		if err == nil {
			t.Error("it is opened, and the log goes on")
			return db.Close()
		}
		if wrong, is := errors.AsType[*Unusable](err); is {
			t.Errorf("it would never be opened again: %v", wrong)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	open(t, alone)
	if after := size(); after >= before {
		t.Errorf("opened alone, the log's %d octets are %d", before, after)
	}
}
