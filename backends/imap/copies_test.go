package imap

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestRecordCannotBeRead: a message whose record the disk does not give now is kept; it goes with a record that says nothing at all.
func TestRecordCannotBeRead(t *testing.T) {
	c, err := newCopies(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{copying: &copying{copies: c, every: time.Second, owed: make(map[string]waiting), tried: make(map[string]attempt)}}
	look := func() bool {
		s.copyOwed(t.Context(), func(string) (backends.Credential, bool) { return backends.Credential{}, false })
		return c.isThere("a")
	}
	if err := c.write("a", strings.NewReader("Subject: a\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	record := c.path("a", recordEnd)
	if err := os.Mkdir(record, 0o700); err != nil { // reading it fails, for root as well
		t.Fatal(err)
	}
	if !look() {
		t.Fatal("the message is gone")
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if look() {
		t.Error("a message that nobody can know the mailbox of stays")
	}
}
