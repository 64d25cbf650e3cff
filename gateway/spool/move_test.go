//go:build linux

package spool

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// TestMoveContents: large contents are in the database after a move, and one that is damaged still is.
func TestMoveContents(t *testing.T) {
	t.Parallel()
	from, database := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}, shared(t)
	large := strings.Repeat("0123456789abcdef", (chunkSize+4)/16*2)
	folder := t.TempDir()
	t.Run("before", func(t *testing.T) {
		s := start(t, from, func(o *Options) { o.Folder = folder })
		for _, key := range []string{"whole", "missing", "short", "small"} {
			content := large
			if key == "small" {
				content = "text"
			}
			accept(t, s, to(key, "a@"+key+".example"), content)
		}
		acceptHeaded(t, s, to("headed", "a@headed.example"), large, "Received: here\r\n", 16)
		claim(t, s, "small.example", 1) // in flight
		spoil(t, s, "missing", os.Remove)
		spoil(t, s, "short", func(file string) error { return os.Truncate(file, 5) })
	})
	if t.Failed() {
		return
	}
	var told int
	_, err := state.Move(t.Context(), state.Moving{
		From: from, To: database, Tell: func(string) {},
		Contents: func(ctx context.Context, to *state.DB) error {
			return MoveContents(ctx, folder, to, func(n int) { told = n })
		},
	})
	if err != nil || told != 4 {
		t.Fatalf("%d contents, %v", told, err)
	}
	s := start(t, database)
	for key, want := range map[string]string{"whole": large, "small": "text", "headed": "Received: here\r\n" + large[16:]} {
		d := one(t, s, key+".example")
		if got := textOf(t, d); got != want || d.Key != key {
			t.Errorf("%s has %d octets", d.Key, len(got))
		}
		if uncertain := d.Recipients[0].State == Uncertain; uncertain != (key == "small") {
			t.Errorf("%s is %s", key, d.Recipients[0].State)
		}
	}
	for _, key := range []string{"missing", "short"} {
		opened, err := one(t, s, key+".example").Open(t.Context())
		if err == nil {
			_, err = opened.Read(make([]byte, len(large)))
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// spoil does something to the file of a message's content.
func spoil(t *testing.T, s *Spool, key string, do func(file string) error) {
	t.Helper()
	var id ID
	err := s.db.QueryRow(t.Context(), "SELECT id FROM spool_messages WHERE key = $1", key).Scan(&id)
	if err == nil {
		err = do(s.files.path(id))
	}
	if err != nil {
		t.Fatal(err)
	}
}
