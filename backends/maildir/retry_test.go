package maildir

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func TestRetry(t *testing.T) {
	t.Parallel()
	again := backends.Delivery{Key: "k", Retry: true, Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(anna, ben)}
	only := func(w *world, when string) {
		t.Helper()
		for _, v := range w.deliver(again, hello) {
			if v.Failure != nil {
				t.Errorf("%s: %v", when, v.Failure)
			}
		}
		for _, user := range []string{anna, ben} {
			if n := len(w.files(user)); n != 1 {
				t.Errorf("%s: %s has %v", when, user, w.files(user))
			}
		}
	}
	w := newWorld(t, nil)
	only(w, "when nothing had been delivered")
	only(w, "in the same process")
	w.take("k", hello, anna, ben)
	only(w, "without saying that it is one")

	// A store that knows nothing but what is on the disk.
	restarted := func() *world { return openWorld(t, w.root, nil) }
	only(restarted(), "after a restart")
	box := filepath.Join(w.root, "sakes.example", "anna")
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Base(w.files(anna)[0])
	move(filepath.Join(box, "new", name), filepath.Join(box, "cur", name+":2,S"))
	only(restarted(), "after it was read")
	move(filepath.Join(box, "cur", name+":2,S"), filepath.Join(box, ".Sub.Folder", "cur", name+":2,S"))
	only(restarted(), "after it was filed")

	// One has it, the other does not.
	if err := os.Remove(filepath.Join(box, ".Sub.Folder", "cur", name+":2,S")); err != nil {
		t.Fatal(err)
	}
	only(restarted(), "when one of two had it")

	// It was taken, read and removed: the process that took it remembers.
	m := w.open(anna, "")
	for _, e := range list(t, m) {
		if _, err := m.Remove(t.Context(), []backends.MessageID{e.ID}, backends.DisposalRemove); err != nil {
			t.Fatal(err)
		}
	}
	if v := w.deliver(again, hello); v[0].Failure != nil || len(w.files(anna)) != 0 {
		t.Errorf("after it was removed: %+v, %v", v, w.files(anna))
	}
	// Content that breaks off is a failure, whether anybody needed it or not.
	if _, err := w.Deliver(t.Context(), again, io.MultiReader(strings.NewReader(hello), iotest.ErrReader(io.ErrUnexpectedEOF))); backends.KindOf(err) != backends.Temporary {
		t.Errorf("content that breaks off: %v", err)
	}
	// Another key is another message.
	w.take("another", hello, anna)
	if len(w.files(anna)) != 1 {
		t.Error("another key finds the first message")
	}
}

// TestRetryWhileTheFirstAttemptRuns: the gateway has given up on a delivery that goes on.
func TestRetryWhileTheFirstAttemptRuns(t *testing.T) {
	w := newWorld(t, nil)
	content, feed := io.Pipe()
	first := make(chan []backends.Verdict, 1)
	d := backends.Delivery{Key: "k", Recipients: backends.To(anna)}
	go func() {
		v, _ := w.Deliver(t.Context(), d, content)
		first <- v
	}()
	if _, err := io.WriteString(feed, "Subject: x\r\n"); err != nil { // it has begun to read
		t.Fatal(err)
	}
	second := make(chan []backends.Verdict, 1)
	go func() {
		again := d
		again.Retry = true
		v, _ := w.Deliver(t.Context(), again, strings.NewReader("Subject: x\r\n\r\n"))
		second <- v
	}()
	select {
	case <-second:
		t.Error("the second attempt did not wait for the first")
	case <-time.After(20 * time.Millisecond): // whatever is wrong would show at once
	}
	_, _ = io.WriteString(feed, "\r\n")
	_ = feed.Close()
	for _, v := range [][]backends.Verdict{<-first, <-second} {
		if len(v) != 1 || v[0].Failure != nil {
			t.Errorf("%+v", v)
		}
	}
	if n := len(w.files(anna)); n != 1 {
		t.Errorf("%d messages", n)
	}
	if len(w.use.keys.held) != 0 {
		t.Error("a key is still held")
	}
}
