package databases

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
)

// Folder is a folder with an empty SQLite database that has its schema. The schema is made once for
// all tests of a process: that takes longer than most of them.
func Folder(t testing.TB) string {
	t.Helper()
	content, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, state.FileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// empty is the file of a database that nobody has used.
var empty = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "database")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is in the folder for such things
	db, err := state.Open(context.Background(), state.Options{Log: zerolog.Nop(), Folder: folder})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(folder, state.FileName))
})

// Open opens a database until the test's end. Opened again, it is as by another gateway.
func Open(t testing.TB, o state.Options) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
