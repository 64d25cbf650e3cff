//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
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
		for _, key := range []string{"whole", "missing", "short", "long", "small"} {
			content := large
			if key == "small" {
				content = "text"
			}
			accept(t, s, to(key, "a@"+key+".example"), content)
		}
		for _, key := range []string{"headed", "headless", "negative"} {
			acceptHeaded(t, s, to(key, "a@"+key+".example"), large, "Received: here\r\n", 16)
		}
		claim(t, s, "small.example", 1) // in flight
		spoil(t, s, "missing", os.Remove)
		spoil(t, s, "short", func(file string) error { return os.Truncate(file, 5) })
		spoil(t, s, "long", func(file string) error { return os.Truncate(file, int64(len(large))+1) })
		spoil(t, s, "headless", func(file string) error { return overwrite(file, 0, "x") })
		spoil(t, s, "negative", func(file string) error { return overwrite(file, 8, "\xff") })
	})
	if t.Failed() {
		return
	}
	var told int
	_, err := state.Move(t.Context(), state.Moving{
		From: from, To: database, Tell: func(string) {},
		Contents: func(ctx context.Context, from, to *state.DB) error {
			return MoveContents(ctx, folder, from, to, func(n int) { told = n })
		},
	})
	if err != nil || told != 7 {
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
	for _, key := range []string{"missing", "short", "long", "headless", "negative"} {
		isDamaged(t, one(t, s, key+".example"))
	}
}

// TestMovePassing: contents that are in partitions are in a file after a move, and one that is damaged still is.
func TestMovePassing(t *testing.T) {
	t.Parallel()
	from, file := shared(t), state.Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	t.Run("before", func(t *testing.T) {
		s := start(t, from)
		acceptSizes(t, s)
		for _, key := range []string{"lost", "short"} {
			accept(t, s, to(key, "a@"+key+".example"), key)
		}
		change(t, s, "DELETE FROM spool_contents WHERE content = 'lost'")
		change(t, s, "UPDATE spool_contents SET content = 'shor' WHERE content = 'short'")
	})
	if t.Failed() {
		return
	}
	told := 0
	_, err := state.Move(t.Context(), state.Moving{
		From: from, To: file, Tell: func(string) {},
		Contents: func(ctx context.Context, from, to *state.DB) error {
			return MoveContents(ctx, "", from, to, func(n int) { told = n })
		},
	})
	if err != nil || told == 0 {
		t.Fatalf("%d contents, %v", told, err)
	}
	s := start(t, file)
	for _, key := range []string{"lost", "short"} {
		d := one(t, s, key+".example")
		isDamaged(t, d)
		settle(t, s, all(d, Outcome{State: Failed}))
	}
	deliverSizes(t, s)
}

func isDamaged(t *testing.T, d *Delivery) {
	t.Helper()
	opened, err := d.Open(t.Context())
	if err == nil {
		_, err = io.Copy(io.Discard, opened)
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: %v", d.Key, err)
	}
}

// copied is a spool on a copy of another one, as a gateway has it that starts on the copy; meanwhile is done after the
// rows are copied, and before contents are.
func copied(t *testing.T, o state.Options, folder string, meanwhile func()) *Spool {
	t.Helper()
	to := t.TempDir()
	err := state.Backup(t.Context(), o, filepath.Join(to, state.FileName), func(ctx context.Context, from, to *state.DB) error {
		meanwhile()
		return CopyContents(ctx, folder, from, to)
	})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, state.Options{Log: zerolog.Nop(), Folder: to})
}

// TestCopyContents: large contents are in a copy, also of mail that leaves while they are copied. What has left before
// its content was copied has left the copy, and what is damaged is damaged there.
func TestCopyContents(t *testing.T) {
	t.Parallel()
	o := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}
	large := strings.Repeat("0123456789abcdef", (chunkSize+4)/16*2)
	folder := t.TempDir()
	s := start(t, o, func(o *Options) { o.Folder = folder })
	for _, key := range []string{"whole", "damaged", "left", "small"} {
		accept(t, s, to(key, "a@"+key+".example", "b@"+key+".example"), map[bool]string{true: "text", false: large}[key == "small"])
	}
	spoil(t, s, "damaged", os.Remove)
	c := copied(t, o, folder, func() {
		settle(t, s, all(one(t, s, "left.example"), Outcome{State: Delivered}))
	})
	settle(t, s, all(one(t, s, "whole.example"), Outcome{State: Delivered})) // the copy has its own
	for key, want := range map[string]string{"whole": large, "small": "text"} {
		d := one(t, c, key+".example")
		if textOf(t, d) != want || d.Key != key || len(d.Recipients) != 2 {
			t.Errorf("%s is not there as a whole", key)
		}
		settle(t, c, all(d, Outcome{State: Delivered}))
	}
	if n := count(t, c, "spool_chunks"); n != 0 {
		t.Errorf("%d parts are left of what was delivered", n)
	}
	isDamaged(t, one(t, c, "damaged.example"))
	if left := claim(t, c, "left.example", 9); len(left) != 0 || count(t, c, "spool_messages") != 1 || count(t, c, "spool_recipients") != 2 {
		t.Errorf("what has left meanwhile is there: %d", len(left))
	}
}

// TestCopyWhileMailArrives: whenever a copy is made, each message in it has its content, whatever comes and leaves
// meanwhile; what was there before and stays is in it.
func TestCopyWhileMailArrives(t *testing.T) {
	t.Parallel()
	o := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}
	folder := t.TempDir()
	s := start(t, o, func(o *Options) { o.Folder, o.InRow = folder, 1 })
	accept(t, s, to("stays", "a@dead.example"), "content of stays")
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	delivered := make(chan bool)
	for sender := range 4 {
		working.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprint(sender, "-", n)
				if err := passOn(t.Context(), s, key, fmt.Sprint(sender, ".example"), "content of "+key); err != nil {
					t.Error(err)
					cancel()
				}
				select {
				case delivered <- true:
				default: // nobody waits for it
				}
			}
		})
	}
	some := func() {
		for range 10 {
			select {
			case <-delivered:
			case <-ctx.Done():
			}
		}
	}
	for range 4 {
		some()
		c := copied(t, o, folder, some)
		messages, err := c.List(t.Context(), Filter{}, 0, 1000)
		if err != nil || len(messages) == 0 || messages[0].Key != "stays" {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		for _, m := range messages {
			opened, err := m.Open(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", m.Key, err)
			}
			if text, err := io.ReadAll(opened); err != nil || string(text) != "content of "+m.Key {
				t.Errorf("%s has %q, %v", m.Key, text, err)
			}
		}
	}
}

// TestMovedMeanwhile: who has opened a database before it was moved takes nothing in there.
func TestMovedMeanwhile(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		err := db.Write(t.Context(), func(tx *state.Tx) error {
			_, err := tx.Exec("INSERT INTO state_moves VALUES ('id', 'left', 'elsewhere')")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{Log: zerolog.Nop(), DB: db, Folder: t.TempDir()})
		if err == nil {
			_ = s.Close()
		}
		if _, is := errors.AsType[*state.Unusable](err); !is || !strings.Contains(err.Error(), "has been moved into elsewhere") {
			t.Errorf("%v", err)
		}
		var nodes int
		if err := db.QueryRow(t.Context(), "SELECT count(*) FROM spool_nodes").Scan(&nodes); err != nil || nodes != 0 {
			t.Errorf("%d gateways seem to run, %v", nodes, err)
		}
	})
}

// passOn has a message come and go.
func passOn(ctx context.Context, s *Spool, key, destination, content string) error {
	body, err := buffer.Fill(buffer.Options{}, strings.NewReader(content))
	if err == nil {
		err = s.Accept(ctx, to(key, "a@"+destination), body)
	}
	if err != nil {
		return err
	}
	deliveries, err := s.Claim(ctx, destination, 1)
	if err != nil || len(deliveries) != 1 {
		return fmt.Errorf("%d deliveries of %s, %w", len(deliveries), key, err)
	}
	return s.Settle(ctx, all(deliveries[0], Outcome{State: Delivered}))
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
