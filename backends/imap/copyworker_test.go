//go:build linux

package imap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// sendFrom sends a message from a mailbox.
func (w *sentWorld) sendFrom(s *imap.Store, mailbox, key, content string) []backends.Verdict {
	w.t.Helper()
	verdicts, err := s.Send(w.t.Context(), actingFor(mailbox), backends.Delivery{
		Key: key, Envelope: backends.Envelope{From: mailbox}, Recipients: backends.To("far@far.example"), Size: int64(len(content)),
	}, strings.NewReader(content))
	if err != nil {
		w.t.Fatal(err)
	}
	return verdicts
}

func numbered(n int) string {
	return fmt.Sprintf("Message-ID: <n%d@peer.example>\r\nSubject: number %d\r\n\r\nhello\r\n", n, n)
}

// TestCopiesBesideEachOther: a server that hangs with a mailbox holds up none but its copies, who sends waits for none, and what hung is made
// once it goes on.
func TestCopiesBesideEachOther(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	hold := make(chan struct{})
	w.imap.Set(append(w.provider.IMAP(nil),
		fakeimap.Rule{Command: `^APPEND .*from ada`, Hold: hold},
		fakeimap.Rule{Command: `^APPEND `, Make: w.append})...)
	s := w.store(0)
	for n := range 3 {
		w.sendFrom(s, delegate, fmt.Sprint("ada", n), fmt.Sprintf("Message-ID: <ada%d@peer.example>\r\nSubject: from ada\r\n\r\nhello\r\n", n))
	}
	w.imap.Until(t, "an APPEND that hangs", func() bool { return len(w.imap.Heard("APPEND")) > 0 })
	for n := range 5 {
		w.sendFrom(s, fmt.Sprintf("u%d@peer.example", n), fmt.Sprint("u", n), numbered(n))
	}
	harness.Eventually(t, time.Minute, "the copies of others", func() bool { return w.copies() == 5 && len(w.left()) == 3 })
	close(hold)
	harness.Eventually(t, time.Minute, "all copies are made", func() bool { return len(w.left()) == 0 })
}

// TestCopiesOfOneMailbox: they go over one connection, which is kept for some time.
func TestCopiesOfOneMailbox(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	s := w.store(0)
	for n := range 20 {
		w.sendFrom(s, shared, fmt.Sprint("k", n), numbered(n))
		if n%5 == 0 {
			harness.Eventually(t, time.Minute, "nothing is to be copied", func() bool { return len(w.left()) == 0 })
		}
	}
	harness.Eventually(t, time.Minute, "all copies are made", func() bool { return len(w.left()) == 0 })
	if n := len(w.imap.Appended()); n != 20 {
		t.Errorf("%d copies", n)
	}
	if n := w.imap.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestCopyRefusedAlone: a message that the server does not take holds up no other of its mailbox.
func TestCopyRefusedAlone(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	w.imap.Set(append(w.provider.IMAP(nil),
		fakeimap.Rule{Command: `^APPEND .*number 0`, Answer: "TAG NO [CANNOT] Message contains NUL characters\n"},
		fakeimap.Rule{Command: `^APPEND `, Make: w.append})...)
	s := w.store(0)
	for n := range 4 {
		w.sendFrom(s, shared, fmt.Sprint("k", n), numbered(n))
	}
	harness.Eventually(t, time.Minute, "the other copies are made", func() bool { return w.copies() == 3 && len(w.left()) == 1 })
}

// TestCopyWithoutMessageID: a copy of a message without one is known again by the delivery's key, which stands in front of it, also when its
// APPEND had an unknown end and its record is gone.
func TestCopyWithoutMessageID(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	lost := sync.OnceFunc(w.imap.DropAll)
	w.imap.Set(append(w.provider.IMAP(nil), fakeimap.Rule{Command: "^APPEND ", Make: func(_, command, right string) string {
		w.imap.Change(func(f *fakeimap.Server) {
			content := strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(command[strings.Index(command, "Dipylon"):])
			f.Messages = append(f.Messages, fakeimap.Message{UID: len(f.Messages) + 1, Content: content})
		})
		lost()
		return right
	}})...)
	const plain = "Subject: without\r\n\r\nhello\r\n"
	s := w.store(0)
	w.sendFrom(s, shared, "the-key", plain)
	harness.Eventually(t, time.Minute, "nothing is to be copied any more", func() bool { return len(w.left()) == 0 })
	records, err := filepath.Glob(filepath.Join(w.dir, "sent-copies", "*.sent"))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	_ = s.Close()
	if err := os.Remove(records[0]); err != nil {
		t.Fatal(err)
	}
	s = w.store(0)
	w.sendFrom(s, shared, "the-key", plain) // to others, hours later
	harness.Eventually(t, time.Minute, "nothing is to be copied any more", func() bool { return len(w.left()) == 0 })
	_ = s.Close()
	if heard := w.imap.Heard("APPEND"); len(heard) != 1 || !strings.Contains(heard[0], "Dipylon-Delivery-Key: the-key") {
		t.Errorf("APPENDs: %q", heard)
	}
}

// TestSentForOthersLater: a message that others are still to be sent is copied once, though its copy has gone from the folder.
func TestSentForOthersLater(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	var served atomic.Bool
	w.smtp.Rcpt = func(_ fakesmtp.Transaction, path string) string {
		if strings.HasPrefix(path, "other@") && !served.Load() {
			return "450 4.2.0 later"
		}
		return ""
	}
	s := w.store(0)
	if v := w.send(s, false, "far@far.example", "other@far.example"); v[0].Failure != nil || v[1].Failure == nil {
		t.Fatal(v)
	}
	harness.Eventually(t, time.Minute, "nothing is to be copied any more", func() bool { return len(w.left()) == 0 })
	w.imap.Change(func(f *fakeimap.Server) { f.Messages = nil })
	records, err := filepath.Glob(filepath.Join(w.dir, "sent-copies", "*.sent"))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	if text, err := os.ReadFile(records[0]); err != nil || !strings.Contains(string(text), `"others":true`) { // so it is remembered for long
		t.Errorf("the record is %s, %v", text, err)
	}
	served.Store(true)
	if v := w.send(s, false, "other@far.example"); v[0].Failure != nil {
		t.Fatal(v)
	}
	_ = s.Close()
	if n := len(w.imap.Appended()); n != 1 || len(w.left()) != 0 {
		t.Errorf("%d APPENDs, and %v is kept", n, w.left())
	}
	if text, err := os.ReadFile(records[0]); err != nil || !strings.Contains(string(text), `"others":false`) {
		t.Errorf("the record is %s, %v", text, err)
	}
}

// TestUnknownSending: a message of which nobody knows whether it was sent is kept, with a word in the log of where it is, and is not copied
// before it turns out that it was sent.
func TestUnknownSending(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	var whole atomic.Bool
	w.smtp.End = func(fakesmtp.Transaction, string) string {
		if !whole.Load() {
			return fakesmtp.Close
		}
		return ""
	}
	s := w.store(0)
	v, err := s.Send(t.Context(), actingFor(shared), backends.Delivery{
		Key: "k", Envelope: backends.Envelope{From: shared}, Recipients: backends.To("far@far.example"), Size: int64(len(sentMail)),
	}, strings.NewReader(sentMail))
	if backends.KindOf(err) != backends.Uncertain && (len(v) == 0 || v[0].Failure == nil || v[0].Failure.Kind != backends.Uncertain) {
		t.Fatal(v, err)
	}
	_ = s.Close()
	s = w.store(0)
	w.metric(s, "sent_copies_waiting", 1)
	if left := w.left(); len(left) != 1 || !regexp.MustCompile(`\.eml$`).MatchString(left[0]) || w.copies() != 0 {
		t.Errorf("%v is kept, and %d copies are there", left, w.copies())
	}
	whole.Store(true)
	if v := w.send(s, true, "far@far.example"); v[0].Failure != nil {
		t.Fatal(v)
	}
	harness.Eventually(t, time.Minute, "the copy is made", func() bool { return len(w.left()) == 0 && w.copies() == 1 })
	w.metric(s, "sent_copies_waiting", 0)
}

// metric waits for a store's metric.
func (w *sentWorld) metric(s *imap.Store, name string, want float64) {
	w.t.Helper()
	harness.Eventually(w.t, time.Minute, fmt.Sprintf("%s is %v", name, want), func() bool {
		for _, m := range s.Metrics() {
			if m.Name == name {
				return m.Value == want
			}
		}
		return false
	})
}

// TestSentWithoutRoom: what there is no room for is sent all the same, without a copy, which is counted.
func TestSentWithoutRoom(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", map[string]any{"copies": map[string]any{"messages": 4}})
	w.refused.Store(true)
	s := w.store(0)
	for n := range 5 {
		if v := w.sendFrom(s, shared, fmt.Sprint("k", n), numbered(n)); v[0].Failure != nil {
			t.Fatal(v)
		}
	}
	if left := w.left(); len(left) != 2 {
		t.Errorf("%v are kept", left)
	}
	w.metric(s, "sent_without_copy", 3)
	if got := len(w.smtp.Received()); got != 5 {
		t.Errorf("%d were sent", got)
	}
	w.refused.Store(false)
	harness.Eventually(t, time.Minute, "the copies are made", func() bool { return len(w.left()) == 0 })
	w.sendFrom(s, shared, "k9", numbered(9))
	w.metric(s, "sent_copies", 3)
}

// TestPauseByOtherCommands: a pause that the server asks for with any command of a mailbox's is kept to.
func TestPauseByOtherCommands(t *testing.T) {
	t.Parallel()
	const paused = "TAG NO Request is throttled. Suggested Backoff Time: 299609 milliseconds\n"
	for _, command := range []string{"AUTHENTICATE", "EXAMINE", "UID SEARCH"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newSentWorld(t, "", nil)
			w.settings["delivery"] = map[string]any{"append": true}
			s := w.store(0)
			w.imap.Set(append([]fakeimap.Rule{{Command: "^" + command, Answer: paused, Times: 1}}, w.provider.IMAP(nil)...)...)
			for n := range 2 {
				w.sendFrom(s, shared, fmt.Sprint("k", n), numbered(n))
			}
			w.imap.Until(t, "the command", func() bool { return len(w.imap.Heard(command)) > 0 })
			var f *backends.Failure
			harness.Eventually(t, time.Minute, "the pause", func() bool {
				d := backends.Delivery{Key: "d", Recipients: backends.To(shared), Size: int64(len(sentMail))}
				verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(sentMail))
				if err != nil {
					t.Fatal(err)
				}
				f = verdicts[0].Failure
				return f != nil
			})
			if f.Kind != backends.Throttled || f.RetryAfter < 4*time.Minute {
				t.Error(f)
			}
			if n := len(w.imap.Heard(command)); command != "AUTHENTICATE" && n != 1 {
				t.Errorf("%s is heard %d times", command, n)
			}
			w.sendFrom(s, delegate, "other", numbered(5))
			harness.Eventually(t, time.Minute, "another mailbox's copy", func() bool { return len(w.left()) == 2 })
		})
	}
}

// TestPauseByReader: a pause that the server asks for when somebody logs in to read is kept to by what would be put into the mailbox.
func TestPauseByReader(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	w.settings["delivery"] = map[string]any{"append": true}
	s := w.store(0)
	const paused = "TAG NO Request is throttled. Suggested Backoff Time: 299609 milliseconds\n"
	w.imap.Set(append([]fakeimap.Rule{{Command: "^AUTHENTICATE", Answer: paused, Times: 1}}, w.provider.IMAP(nil)...)...)
	if _, err := s.Login(t.Context(), actingFor(shared)); backends.KindOf(err) != backends.Throttled {
		t.Fatal(err)
	}
	d := backends.Delivery{Key: "d", Retry: true, Recipients: backends.To(shared), Size: int64(len(sentMail))}
	verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(sentMail))
	if err != nil {
		t.Fatal(err)
	}
	if f := verdicts[0].Failure; f == nil || f.Kind != backends.Throttled || f.RetryAfter < 4*time.Minute {
		t.Error(f)
	}
	if n := w.imap.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestCopyUnderWay: a copy that is under way when another process takes over, or when the store ends, is made once: it has its answer.
func TestCopyUnderWay(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(*imap.Store){"drain": (*imap.Store).Drain, "close": func(s *imap.Store) { _ = s.Close() }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSentWorld(t, "", nil)
			hold := make(chan struct{})
			w.imap.Set(append(w.provider.IMAP(nil), fakeimap.Rule{Command: "^APPEND ", Hold: hold, Times: 1}, fakeimap.Rule{Command: "^APPEND ", Make: w.append})...)
			s := w.store(0)
			w.sendFrom(s, shared, "k", sentMail)
			w.imap.Until(t, "an APPEND that takes its time", func() bool { return len(w.imap.Heard("APPEND")) > 0 })
			other := w.store(0)
			var over sync.WaitGroup
			over.Go(func() { ends(s) })
			time.AfterFunc(20*time.Millisecond, func() { close(hold) })
			over.Wait()
			harness.Eventually(t, time.Minute, "the copy is made", func() bool { return len(w.left()) == 0 })
			_ = other.Close()
			if n := len(w.imap.Heard("APPEND")); n != 1 {
				t.Errorf("%d APPENDs", n)
			}
		})
	}
}
