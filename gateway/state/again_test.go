//go:build linux

package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestPingSeesWhatOpenRefuses: a check that calls a database good which the gateway then refuses is none.
func TestPingSeesWhatOpenRefuses(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, file string){
		"a page of noise": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			noise := make([]byte, 4096)
			for i := range noise {
				noise[i] = byte(i*7 + 1)
			}
			_, err = f.WriteAt(noise, 3*4096)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"cut in the middle": func(t *testing.T, file string) {
			info, err := os.Stat(file)
			if err == nil {
				err = os.Truncate(file, info.Size()/2/4096*4096)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"cut in its header": func(t *testing.T, file string) {
			if err := os.Truncate(file, 50); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
			db, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := Ping(t.Context(), o); err != nil {
				t.Fatalf("a good one: %v", err)
			}
			spoil(t, filepath.Join(o.Folder, FileName))
			if _, ok := errors.AsType[*Unusable](Ping(t.Context(), o)); !ok {
				t.Error("the damage is not seen")
			}
			if db, err := Open(t.Context(), o); err == nil {
				_ = db.Close()
				t.Error("it is opened")
			}
		})
	}
}

// TestRestoreTwiceKeepsBoth: what was there before each restore is kept, also within one second.
func TestRestoreTwiceKeepsBoth(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := Backup(t.Context(), o, copied, nil); err != nil {
		t.Fatal(err)
	}
	now, kept := time.Now(), make(map[string]bool)
	for range 3 {
		name, err := Restore(t.Context(), o, copied, now, nil)
		if err != nil {
			t.Fatal(err)
		}
		kept[name] = true
	}
	for name := range kept {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if len(kept) != 3 {
		t.Errorf("kept are %v", kept)
	}
}

// TestRestoreChanges: what is changed is changed before it is in place, and the backup stays as it is. Where that fails
// nothing is replaced.
func TestRestoreChanges(t *testing.T) {
	o, copied := Options{Log: zerolog.Nop(), Folder: t.TempDir()}, filepath.Join(t.TempDir(), "copy")
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(t.Context(), db, "a"), Backup(t.Context(), o, copied, nil), put(t.Context(), db, "later"), db.Close()); err != nil {
		t.Fatal(err)
	}
	before := content(t, copied)
	stop := errors.New("stop")
	if _, err := Restore(t.Context(), o, copied, time.Now(), func(context.Context, *DB) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a change that fails: %v", err)
	}
	if got := fmt.Sprint(names(t, open(t, o))); got != "[a later]" {
		t.Errorf("after that there are %s", got)
	}
	_, err = Restore(t.Context(), o, copied, time.Now(), func(ctx context.Context, db *DB) error { return put(ctx, db, "b") })
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(t, open(t, o))); got != "[a b]" {
		t.Errorf("there are %s", got)
	}
	if !bytes.Equal(content(t, copied), before) {
		t.Error("the backup was changed")
	}
}
