package imap

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// copyingFor is a store with a folder for copies in which nobody works.
func copyingFor(t *testing.T, most copyLimits) (*Store, *copying) {
	t.Helper()
	folder, err := newCopies(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &copying{folder: folder, queue: newCopyQueue(most, copyEvery, true)}
	return &Store{copying: c}, c
}

// TestMadeCopiesCostNothing: what is known of a message whose copy is made is read once, and goes when its time is over.
func TestMadeCopiesCostNothing(t *testing.T) {
	t.Parallel()
	s, c := copyingFor(t, defaults().Sending.Copies)
	if err := c.folder.note("made", record{Key: "k", Sent: time.Now(), Copied: time.Now()}); err != nil {
		t.Fatal(err)
	}
	record := c.folder.path("made", recordEnd)
	look := func() bool {
		s.look(t.Context())
		_, err := os.Stat(record)
		return err == nil
	}
	if !look() {
		t.Fatal("it is forgotten at once")
	}
	if err := os.WriteFile(record, []byte("damaged"), 0o600); err != nil { // whoever reads this takes it away
		t.Fatal(err)
	}
	for range 2 {
		if !look() {
			t.Error("it is read again")
		}
	}
	c.queue.made["made"] = time.Now().Add(-time.Second)
	if look() || len(c.queue.made) != 0 {
		t.Error("it is kept for ever")
	}
}

// TestRememberedFor: who was sent a message is remembered for an hour in which the store runs, for a week where others are still to be sent
// it, and never for longer than a week.
func TestRememberedFor(t *testing.T) {
	t.Parallel()
	now, others := time.Now(), true
	for name, tt := range map[string]struct {
		copied time.Duration // ago
		began  time.Duration // the process, ago
		others *bool
		left   time.Duration
	}{
		"just copied":                     {0, 3 * time.Hour, nil, keptFor},
		"copied an hour ago":              {time.Hour, 3 * time.Hour, nil, 0},
		"no process ran since":            {5 * time.Hour, 0, nil, keptFor},
		"others are to be sent it":        {2 * time.Hour, 3 * time.Hour, &others, giveUpAfter - 2*time.Hour},
		"no process ran for a week since": {giveUpAfter + time.Hour, 0, nil, -time.Hour},
	} {
		_, c := copyingFor(t, defaults().Sending.Copies)
		c.queue.beginLook(now.Add(-tt.began))
		if got := c.queue.remembers(&record{Copied: now.Add(-tt.copied), Others: tt.others}).Sub(now); got != tt.left {
			t.Errorf("%s: for %s, not for %s", name, got, tt.left)
		}
	}
}

// TestTooManyMade: of more messages than are remembered the first ones go.
func TestTooManyMade(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, defaults().Sending.Copies)
	for i := range madeMost {
		c.queue.made[fmt.Sprint(i)] = time.Now().Add(time.Hour)
	}
	if names := c.queue.tooMany(); len(names) != 0 {
		t.Errorf("%d go", len(names))
	}
	c.queue.made["first"] = time.Now()
	if names := c.queue.tooMany(); len(names) != 1 || names[0] != "first" || len(c.queue.made) != madeMost {
		t.Errorf("%q go, and %d are left", names, len(c.queue.made))
	}
}
