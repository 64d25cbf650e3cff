//go:build linux

package state

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestRefused: a file that is not what it should be is refused with words that help, and not an
// octet of it changes.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, file string)
		want  string
	}{
		{"not a database", func(t *testing.T, file string) { write(t, file, strings.Repeat("This is a letter. ", 500)) }, "is damaged"},
		{"a short file", func(t *testing.T, file string) { write(t, file, "x") }, "is damaged"},
		{"cut off", func(t *testing.T, file string) {
			if err := os.Truncate(file, 3*4096); err != nil {
				t.Fatal(err)
			}
		}, "is damaged"},
		{"a page of nonsense", func(t *testing.T, file string) { scribble(t, file, 4096) }, "is damaged"},
		{"somebody else's database", func(t *testing.T, file string) { change(t, file, "PRAGMA application_id = 7") }, "not one of Dipylon's"},
		{"a newer schema", func(t *testing.T, file string) {
			change(t, file, fmt.Sprintf("INSERT INTO %s (version_id, is_applied) VALUES (9999, 1)", versionTable))
		}, "a newer Dipylon has used it: run that version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
			file := filepath.Join(o.Folder, FileName)
			filled(t, o)
			test.spoil(t, file)
			before := content(t, file)
			for name, use := range map[string]func() error{
				"Open":   func() error { _, err := Open(t.Context(), o); return err },
				"Backup": func() error { return Backup(t.Context(), o, filepath.Join(t.TempDir(), "copy"), nil) },
			} {
				err := use()
				if wrong, ok := errors.AsType[*Unusable](err); !ok || !strings.Contains(wrong.Error(), test.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			r, err := Inspect(t.Context(), o)
			if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], test.want) {
				t.Errorf("Inspect: %+v, %v", r, err)
			}
			if !bytes.Equal(before, content(t, file)) {
				t.Error("the file was changed")
			}
		})
	}
}

// filled makes a database with some pages of rows, all of them in the one file.
func filled(t *testing.T, o Options) {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := put(t.Context(), db, fmt.Sprintf("%01000d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func scribble(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), at); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func TestNewerSchema(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		err := db.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec("INSERT INTO "+versionTable+" (version_id, is_applied) VALUES ($1, $2)", SchemaVersion()+1, true)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), o)
		if wrong, ok := errors.AsType[*Unusable](err); !ok || !strings.Contains(wrong.What, "newer Dipylon") {
			t.Errorf("Open: %v", err)
		}
		r, err := Inspect(t.Context(), o)
		if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "newer Dipylon") {
			t.Errorf("Inspect: %+v, %v", r, err)
		}
	})
}

// TestPermissions: nobody else can read the state.
func TestPermissions(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: filepath.Join(t.TempDir(), "a", "b")}
	db := open(t, o)
	if err := put(t.Context(), db, "x"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := Backup(t.Context(), o, copied, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		o.Folder: 0o700, filepath.Join(o.Folder, FileName): 0o600, filepath.Join(o.Folder, FileName+"-wal"): 0o600, copied: 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// TestBackup: a copy that is made while others write is one state of the database, whole, and
// can be used in its place.
func TestBackup(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		file := filepath.Join(t.TempDir(), FileName)
		if o.URL != "" {
			if err := Backup(t.Context(), o, file, nil); !errors.Is(err, ErrNotCopied) {
				t.Errorf("%v", err)
			}
			return
		}
		stop, wrote := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				select {
				case <-stop:
					wrote <- n
					return
				default:
					err := db.Write(t.Context(), func(tx *Tx) error {
						return errors.Join(insert(tx, fmt.Sprint(n, "a")), insert(tx, fmt.Sprint(n, "b")))
					})
					if err != nil {
						t.Error(err)
					}
				}
			}
		}()
		err := Backup(t.Context(), o, file, nil)
		close(stop)
		if n := <-wrote; err != nil || n == 0 {
			t.Fatalf("%v; %d writes", err, n)
		}
		if err := Backup(t.Context(), o, file, nil); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second backup with the same name: %v", err)
		}
		restored := Options{Log: zerolog.Nop(), Folder: filepath.Dir(file)}
		r, err := Inspect(t.Context(), restored)
		if err != nil || len(r.Problems) > 0 || r.Version != SchemaVersion() {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := names(t, open(t, restored)); len(got)%2 != 0 {
			t.Errorf("half a write is in the copy: %d rows", len(got))
		}
		left, err := filepath.Glob(file + ".part*")
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestInspect(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		for _, name := range []string{"a", "b"} {
			if err := put(t.Context(), db, name); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Inspect(t.Context(), o)
		if err != nil || len(r.Problems) > 0 || r.Version != SchemaVersion() || !slices.Contains(r.Tables, TableCount{"folders", 2}) {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("rows of nobody", func(t *testing.T) {
		o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
		filled(t, o)
		change(t, filepath.Join(o.Folder, FileName), "INSERT INTO folder_parts VALUES (x'00', 'k', 1, 1, x'')")
		r, err := Inspect(t.Context(), o)
		if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "folder_parts") {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("nothing there", func(t *testing.T) {
		o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
		if _, err := Inspect(t.Context(), o); err == nil {
			t.Error("a database that is not there was inspected")
		}
		if left, _ := os.ReadDir(o.Folder); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
	})
}

// TestURLIsSecret: no error shows a connection string's password.
func TestURLIsSecret(t *testing.T) {
	for _, url := range []string{
		"postgres://gate:hunter2@127.0.0.1:1/none?connect_timeout=1", "postgres://gate:hunter2@[::1", "postgres://gate:hunter2@h:port/x",
		"gate hunter2", "postgres://gate:hunter2@127.0.0.1:1/none?sslmode=hunter2",
	} {
		var log bytes.Buffer
		_, err := Open(t.Context(), Options{Log: zerolog.New(&log), URL: url, Patience: 1})
		if err == nil || strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Errorf("%v; %s", err, log.String())
		}
	}
}
