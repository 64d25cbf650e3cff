package manage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// TestRestoreKeepsContents: what the database that was there knows of mail in transit can be had again, though the
// next gateway removes what its own database does not know.
func TestRestoreKeepsContents(t *testing.T) {
	cfg := parse(t, twoStores)
	o := state.Options{Folder: cfg.StateFolder}
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(db.Close(), state.Backup(t.Context(), o, backup)); err != nil {
		t.Fatal(err)
	}
	restore := func() Restored {
		t.Helper()
		r, err := RestoreState(t.Context(), cfg, backup, false)
		if err != nil || r.Kept == "" {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	if r := restore(); r.Contents != "" {
		t.Errorf("without mail in transit: %+v", r)
	}
	file := spool.ID(0x1234).String() + ".message"
	folder := server.SpoolFolder(cfg)
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, file), []byte("large"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := restore()
	if err := os.Remove(filepath.Join(folder, file)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(r.Contents, file)); err != nil || string(text) != "large" {
		t.Errorf("%q in %q, %v", text, r.Contents, err)
	}
	if got, want := filepath.Base(r.Contents), "spool"+filepath.Base(r.Kept)[len(state.FileName):]; got != want {
		t.Errorf("it is called %s beside %s", got, r.Kept)
	}
}
