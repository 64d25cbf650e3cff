package imap

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// TestRecordCannotBeRead: a message whose record the disk does not give now is kept. With one that says nothing at all it is one of which nobody
// knows whether it was sent.
func TestRecordCannotBeRead(t *testing.T) {
	t.Parallel()
	s, c := copyingFor(t, defaults().Sending.Copies)
	message, record := c.folder.path("a", messageEnd), c.folder.path("a", recordEnd)
	if err := errors.Join(os.WriteFile(message, []byte("Subject: a\r\n\r\n"), 0o600), os.Mkdir(record, 0o700)); err != nil { // reading it fails, for root as well
		t.Fatal(err)
	}
	s.look(t.Context())
	if _, there := c.folder.isThere("a"); !there || len(c.queue.known) != 0 {
		t.Fatalf("the message is gone, or taken for something: %v", c.queue.known)
	}
	if err := errors.Join(os.Remove(record), os.WriteFile(record, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.look(t.Context())
	if m := c.queue.known["a"]; m == nil || m.state != unknown {
		t.Errorf("a message with a damaged record is %+v", m)
	}
	if err := os.Remove(message); err != nil {
		t.Fatal(err)
	}
	s.look(t.Context())
	if _, err := os.Stat(record); err == nil || len(c.queue.known) != 0 {
		t.Error("a damaged record stays without its message")
	}
}

// TestRecord: a record grows by lines, and one that was cut off says nothing and harms none behind it.
func TestRecord(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, defaults().Sending.Copies)
	at, yes, no := time.Unix(1_000_000, 0).UTC(), true, false
	if r, err := c.folder.read("a"); r != nil || err != nil {
		t.Fatalf("of none: %v, %v", r, err)
	}
	for _, line := range []record{
		{Mailbox: "ada@peer.example", Key: "k", Kept: at},
		{Mailbox: "other@peer.example", Key: "other", Sent: at.Add(1), Due: at.Add(2), Recipients: []string{"one", "two"}, Others: &yes},
		{Sent: at.Add(3), Recipients: []string{"two", "three"}, Others: &no},
		{Copied: at.Add(4)},
	} {
		if err := c.folder.note("a", line); err != nil {
			t.Fatal(err)
		}
		cut, err := os.OpenFile(c.folder.path("a", recordEnd), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cut.WriteString("\n{\"mailbox\":\"cut o"); err != nil {
			t.Fatal(err)
		}
		_ = cut.Close()
	}
	want := &record{
		Mailbox: "ada@peer.example", Key: "k", Kept: at, Sent: at.Add(1), Due: at.Add(2), Recipients: []string{"one", "two", "three"}, Others: &no, Copied: at.Add(4),
	}
	if got, err := c.folder.read("a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzRecord: a record of any octets is read or damaged, and what was noted behind them is known.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"mailbox":"ada","key":"k","recipients":["one"],"others":true,"copied":"2026-12-01T00:00:00Z"}` + "\n"))
	f.Add([]byte("\n\x00\x00{\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := readRecord(text); (r == nil) != errors.Is(err, errDamaged) {
			t.Errorf("%v, %v", r, err)
		}
		line, _ := json.Marshal(record{Recipients: []string{"last"}})
		r, err := readRecord(bytes.Join([][]byte{text, line, nil}, []byte("\n")))
		if err != nil || len(r.Recipients) == 0 || !strings.Contains(strings.Join(r.Recipients, " "), "last") {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// TestNotKept: a message whose names cannot be put on the disk is not sent, and nothing of it is left.
func TestNotKept(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, defaults().Sending.Copies)
	c.folder.shared = failingDisk{}
	if k, err := c.folder.keep("a", record{Key: "k"}, strings.NewReader("Subject: a\r\n\r\n")); err == nil {
		k.close()
		t.Error("it is kept")
	}
	if left, err := os.ReadDir(c.folder.dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

type failingDisk struct{}

func (failingDisk) Mark() durable.Mark { return 0 }

func (failingDisk) Sync(durable.Mark) error { return errors.New("the disk has failed") }

// TestGivenUp: what nobody knows the sending of, and a copy that cannot be made, are told by name and go after a week, and a record that is as
// old without its message goes, too.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	s, c := copyingFor(t, defaults().Sending.Copies)
	var log bytes.Buffer
	s.log = zerolog.New(&log)
	long, lately := time.Now().Add(-giveUpAfter-time.Minute), time.Now().Add(-giveUpAfter+time.Minute)
	put := func(name string, r record) {
		t.Helper()
		k, err := c.folder.keep(name, r, strings.NewReader("Subject: a\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		k.close()
	}
	put("sent", record{Mailbox: "ada", Key: "key-of-sent", Kept: long, Sent: long})
	put("unknown", record{Mailbox: "ada", Key: "key-of-unknown", Kept: long})
	put("still", record{Mailbox: "ada", Key: "key-of-still", Kept: lately})
	put("alone", record{Kept: long})
	if err := os.Remove(c.folder.path("alone", recordEnd)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(c.folder.path("alone", messageEnd), long, long); err != nil {
		t.Fatal(err)
	}
	s.look(t.Context())
	if m := c.queue.known["sent"]; m == nil || m.state != owed { // no process may have run for a week
		t.Errorf("it is given up before this process has tried it: %+v", m)
	}
	c.queue.began = time.Now().Add(-triesFor - time.Minute)
	s.look(t.Context())
	left, err := filepath.Glob(c.folder.path("*", ""))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "still.eml" || filepath.Base(left[1]) != "still.sent" {
		t.Errorf("%v, %v", left, err)
	}
	for _, text := range []string{"key-of-sent", "it is given up", "key-of-unknown", "nobody knew whether it was sent"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not say %q:\n%s", text, log.String())
		}
	}
	if c.queue.without != 3 {
		t.Errorf("%d are counted as without a copy", c.queue.without)
	}
	warnings := c.warnings(time.Now())
	if len(warnings) != 1 || warnings[0].Name != "sent-unknown" || !strings.Contains(warnings[0].Text, c.folder.dir) || !warnings[0].Until.Equal(lately.Add(giveUpAfter)) {
		t.Errorf("warnings: %+v", warnings)
	}
}

// TestNoRoom: the messages that wait are bounded, by number and octets, and one mailbox has half of both at the most; what goes makes room.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, copyLimits{Messages: 6, Octets: 1000})
	enter := func(name, mailbox string, size int64, want bool) {
		t.Helper()
		if got := c.queue.enter(name, name, mailbox, size); got != want {
			t.Errorf("%s of %s: room is %t", name, mailbox, got)
		}
	}
	enter("1", "ada", 10, true)
	enter("2", "ADA", 10, true)
	enter("3", "ada", 500, false)
	enter("4", "ada", 10, true)
	enter("5", "ada", 10, false)
	enter("6", "bob", 500, true)
	enter("7", "eve", 471, false)
	enter("8", "eve", 10, true)
	enter("9", "eve", 10, true)
	enter("10", "mia", 10, false)
	if w := c.warnings(time.Now()); len(w) != 1 || w[0].Name != "sent-without-copy" || !strings.HasPrefix(w[0].Text, "4 messages") {
		t.Errorf("warnings: %+v", w)
	}
	c.queue.leave("1")
	enter("11", "mia", 10, true)
	for name := range c.queue.known {
		c.queue.leave(name)
	}
	if c.queue.octets != 0 || len(c.queue.boxes) != 0 {
		t.Errorf("%d octets and %d mailboxes are left of nothing", c.queue.octets, len(c.queue.boxes))
	}
	if w := c.warnings(time.Now().Add(tellsLong)); len(w) != 0 {
		t.Errorf("a day later: %+v", w)
	}
}

// TestCopyQueue: mailboxes are worked for beside each other, each by one; a message's failure is its own, a mailbox's rests it alone, and a
// server's all.
func TestCopyQueue(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, defaults().Sending.Copies)
	q, now := c.queue, time.Now()
	permanent, temporary := backends.Fail(backends.Permanent, "no"), backends.Fail(backends.Temporary, "not now")
	owe := func(name, mailbox string) *copyBox {
		return q.owe(name, &record{Mailbox: mailbox, Key: name, Sent: now, Due: now}, 1, nil)
	}
	ada := owe("1", "ada")
	owe("2", "ada")
	owe("3", "bob")
	if b, with := q.take(ada, now); b != ada || with.User != "ada" {
		t.Fatalf("%v, %v", b, with)
	}
	if b, _ := q.take(ada, now); b != nil {
		t.Error("two work for one mailbox")
	}
	bob, _ := q.take(nil, now)
	if bob != q.boxes[fold.Lower("bob")] {
		t.Fatalf("%v", bob)
	}
	first := q.next(ada)
	q.failed(first, permanent, true)
	if next := q.next(ada); next == nil || next == first {
		t.Errorf("behind a message that fails comes %v", next)
	}
	q.failed(q.next(bob), temporary, false)
	if next := q.next(bob); next != nil {
		t.Errorf("a mailbox that fails goes on with %v", next)
	}
	if next := q.next(ada); next == nil {
		t.Error("another one rests, too")
	}
	q.failed(q.next(ada), temporary.OfStore(), false)
	if next := q.next(ada); next != nil {
		t.Errorf("a server that fails goes on with %v", next)
	}
	q.finish(ada)
	q.finish(bob)
	if b, _ := q.take(nil, now); b != nil {
		t.Errorf("a server that fails goes on with %v", b)
	}
	if b, _ := q.take(nil, now.Add(copyEvery+time.Second)); b == nil {
		t.Error("it rests for ever")
	}
}
