package imap

import (
	"os"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestMadeCopiesCostNothing: what is known of a message whose copy is made is read once, and goes when its time is over.
func TestMadeCopiesCostNothing(t *testing.T) {
	folder, err := newCopies(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &copying{copies: folder, every: copyEvery, owed: make(map[string]waiting), tried: make(map[string]attempt)}
	s := &Store{copying: c}
	if err := c.change("made", func(r *record) { r.Key, r.Sent, r.Copied = "k", time.Now(), time.Now() }); err != nil {
		t.Fatal(err)
	}
	look := func() bool {
		s.copyOwed(t.Context(), func(string) (backends.Credential, bool) { return backends.Credential{}, false })
		_, err := os.Stat(c.path("made", recordEnd))
		return err == nil
	}
	if !look() {
		t.Fatal("it is forgotten at once")
	}
	// Whoever reads this takes it away.
	if err := os.WriteFile(c.path("made", recordEnd), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !look() {
			t.Error("it is read again")
		}
	}
	c.kept["made"] = time.Now().Add(-keptFor - time.Second)
	if look() || len(c.kept) != 0 {
		t.Error("it is kept for ever")
	}
}
