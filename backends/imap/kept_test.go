package imap

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/tempfolder"
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

// TestRememberedFor: who was sent a message is remembered for a day and an hour in which the store runs, for a week where others are still to be sent
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
		"the longest wait of relay.retry": {24 * time.Hour, 48 * time.Hour, nil, time.Hour},
		"copied a day and an hour ago":    {keptFor, 48 * time.Hour, nil, 0},
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

// TestNobodyIsSent: nothing is left of a message that nobody was sent, also where a process before this one was killed while it kept it. One that
// others were sent before stays, and its copy is owed. Neither takes room as one that is being sent.
func TestNobodyIsSent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct {
		before *record
		owed   bool
	}{
		"nothing is known":                      {nil, false},
		"a process was killed while it kept it": {&record{Mailbox: "ada", Key: "k", Kept: now}, false},
		"others were sent it":                   {&record{Mailbox: "ada", Key: "k", Kept: now, Sent: now, Due: now}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := copyingFor(t, defaults().Sending.Copies)
			who := backends.Credential{User: "ada"}
			file := nameOf("ada", "k")
			if tt.before != nil {
				if err := c.folder.note(file, *tt.before); err != nil {
					t.Fatal(err)
				}
			}
			d := backends.Delivery{Key: "k", Retry: true, Recipients: backends.To("far@far.example"), Size: 14}
			_, err := s.sendAndCopy(t.Context(), who, d, strings.NewReader("Subject: a\r\n\r\n"), func(io.Reader) ([]backends.Verdict, error) {
				return nil, backends.Fail(backends.Temporary, "not now")
			})
			if backends.KindOf(err) != backends.Temporary {
				t.Fatal(err)
			}
			s.look(t.Context())
			left, err := os.ReadDir(c.folder.dir)
			if err != nil || (len(left) == 2) != tt.owed || (len(left) == 0) == tt.owed {
				t.Errorf("%v is left, %v", left, err)
			}
			if m := c.queue.known[file]; (m != nil) != tt.owed || m != nil && m.state != owed {
				t.Errorf("the queue has %+v", m)
			}
		})
	}
}

// TestNotKnownWhoWasSent: a message waits while the disk does not say who was sent it, and goes to all of them if its record is damaged.
func TestNotKnownWhoWasSent(t *testing.T) {
	t.Parallel()
	s, c := copyingFor(t, defaults().Sending.Copies)
	record := c.folder.path(nameOf("ada", "k"), recordEnd)
	if err := os.Mkdir(record, 0o700); err != nil { // reading it fails, for root as well
		t.Fatal(err)
	}
	if to, err := c.folder.sentTo("ada", "k"); backends.KindOf(err) != backends.Temporary {
		t.Errorf("%q were sent it, %v", to, err)
	}
	_, err := s.sendAndCopy(t.Context(), backends.Credential{User: "ada"}, backends.Delivery{Key: "k"}, strings.NewReader(""), func(io.Reader) ([]backends.Verdict, error) {
		t.Error("it is sent")
		return nil, nil
	})
	if backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if to, err := c.folder.sentTo("ada", "k"); len(to) != 0 || err != nil {
		t.Errorf("%q were sent it, %v", to, err)
	}
}

// TestOwedToAnotherMailbox: a message whose record was damaged is owed to the mailbox that is noted for it later.
func TestOwedToAnotherMailbox(t *testing.T) {
	t.Parallel()
	_, c := copyingFor(t, defaults().Sending.Copies)
	now := time.Now()
	c.queue.unsure("a", &record{Kept: now}, 7)
	if b := c.queue.owe("a", &record{Mailbox: "ada", Key: "k", Sent: now, Due: now}, 7, nil); b.mailbox != "ada" {
		t.Errorf("it is owed to %q", b.mailbox)
	}
	if b, with := c.queue.take(nil, now); b == nil || with.User != "ada" {
		t.Errorf("what is worked for is %+v, with %q", b, with.User)
	}
	if len(c.queue.boxes) != 1 || c.queue.octets != 7 || c.queue.known["a"].key != "k" {
		t.Errorf("%d mailboxes, %d octets, %+v", len(c.queue.boxes), c.queue.octets, c.queue.known["a"])
	}
}

// TestClockSetBack: a copy that was to be made at a time which the clock has been set back from is made soon.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s, c := copyingFor(t, defaults().Sending.Copies)
	ahead := time.Now().Add(48 * time.Hour)
	k, err := c.folder.keep("a", record{Mailbox: "ada", Key: "k", Kept: ahead, Sent: ahead, Due: ahead}, strings.NewReader("Subject: a\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	k.close()
	s.look(t.Context())
	if b, _ := c.queue.take(nil, time.Now().Add(providersCopy+time.Second)); b == nil {
		t.Errorf("its copy is made at %v", c.queue.known["a"].ready)
	}
}

// TestCopyMay: a large message has the time that it takes over a line of 1 Mbit/s, beside that of the commands.
func TestCopyMay(t *testing.T) {
	t.Parallel()
	const perSecond = 1_000_000 / 8
	for _, size := range []int64{0, 1 << 20, 50 << 20, 150 << 20} {
		if may := copyMay(30*time.Second, size); may < 5*time.Minute+time.Duration(size/perSecond)*time.Second || may > time.Hour {
			t.Errorf("%d octets: %s", size, may)
		}
	}
}

// TestDrain: a process that drains leaves its copies to the next one, which has the folder, and makes those of its own temporary folder itself.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]*tempfolder.Folder{"of the store": nil, "of the process": {}} {
		_, c := copyingFor(t, defaults().Sending.Copies)
		c.temporary = own
		c.drain()
		if c.queue.closed != (own == nil) {
			t.Errorf("a folder %s: the work has ended: %t", name, c.queue.closed)
		}
	}
}
