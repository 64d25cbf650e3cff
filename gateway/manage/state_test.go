package manage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/config"
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
	if err := errors.Join(db.Close(), state.Backup(t.Context(), o, backup, nil)); err != nil {
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

// TestBackupHasContents: a large content of mail in transit comes back from a backup alone, held.
func TestBackupHasContents(t *testing.T) {
	cfg := parse(t, twoStores)
	large := strings.Repeat("0123456789abcde\n", 20<<10)
	withSpool(t, cfg, func(s *spool.Spool) {
		body, err := buffer.Fill(buffer.Options{Storage: s.Storage()}, strings.NewReader(large))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Discard() //nolint:errcheck // it is the spool's
		to := spool.Recipient{Recipient: backends.Recipient{Address: "max@far.example"}, Destination: "far.example"}
		if err := s.Accept(t.Context(), spool.Message{Key: "key", Received: time.Now(), Recipients: []spool.Recipient{to}}, body); err != nil {
			t.Fatal(err)
		}
	})
	backup := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(BackupState(t.Context(), cfg, backup), os.RemoveAll(cfg.StateFolder)); err != nil {
		t.Fatal(err)
	}
	if r, err := RestoreState(t.Context(), cfg, backup, false); err != nil || r.Held != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	withSpool(t, cfg, func(s *spool.Spool) {
		messages, err := s.List(t.Context(), spool.Filter{}, 0, 9)
		if err != nil || len(messages) != 1 || messages[0].Recipients[0].State != spool.Held {
			t.Fatalf("%+v, %v", messages, err)
		}
		content, err := messages[0].Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if text, err := io.ReadAll(content); err != nil || string(text) != large {
			t.Errorf("its content has %d octets, %v", len(text), err)
		}
	})
}

// withSpool has a configuration's spool for a moment.
func withSpool(t *testing.T, cfg *config.Config, f func(*spool.Spool)) {
	t.Helper()
	db, err := state.Open(t.Context(), server.StateOptions(zerolog.Nop(), cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := spool.Open(t.Context(), server.SpoolOptions(zerolog.Nop(), cfg, db))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f(s)
}
