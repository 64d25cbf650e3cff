//go:build linux

package imap_test

import (
	"fmt"
	"os"
	"path/filepath"
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
	"github.com/dipylon/dipylon/test/provider"
)

const (
	shared   = "office@peer.example"
	delegate = "ada@peer.example"
	sentMail = "Message-ID: <1@peer.example>\r\nSubject: from the office\r\n\r\nhello\r\n"
)

// sentWorld is a provider's mail servers by fakes, whose IMAP server has what was appended in its mailbox, and a folder of a store's state.
type sentWorld struct {
	t        *testing.T
	provider *provider.Provider
	imap     *fakeimap.Server
	smtp     *fakesmtp.Server
	dir      string
	settings map[string]any
	refused  atomic.Bool // APPEND is
	uid      int
}

// newSentWorld makes one. More are further settings of the store's submission.
func newSentWorld(t *testing.T, of string, more map[string]any) *sentWorld {
	t.Helper()
	w := &sentWorld{t: t, provider: provider.Start(t), dir: t.TempDir()}
	w.smtp = (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}, Auth: w.provider.SMTP(nil)}).Start(t)
	oauth := tokenSettings(w.provider)
	switch of {
	case "google":
		oauth = map[string]any{"provider": "google", "service_account": w.provider.NewServiceAccount("gateway@project.example"), "ca": w.provider.CA}
	case "microsoft":
		oauth["provider"], oauth["endpoint"], oauth["tenant"] = of, w.provider.TokenURL, "peer.example"
	}
	submission := map[string]any{"address": w.smtp.Address, "tls": "none", "sent": `\Sent`}
	for key, value := range more {
		submission[key] = value
	}
	w.settings = map[string]any{"oauth": oauth, "submission": submission}
	w.imap = &fakeimap.Server{Caps: provider.IMAPCaps}
	w.imap.On = append(w.provider.IMAP(nil), fakeimap.Rule{Command: "^APPEND ", Make: w.append})
	fakeimap.Start(t, w.imap)
	return w
}

// append is the answer to APPEND, which has put the message into the mailbox unless it is refused.
func (w *sentWorld) append(tag, _, right string) string {
	if w.refused.Load() {
		return tag + " NO [UNAVAILABLE] Request is throttled. Suggested Backoff Time: 20 milliseconds\r\n"
	}
	w.files()
	return right
}

// files puts a copy into the mailbox, as the provider or somebody else does.
func (w *sentWorld) files() {
	w.imap.Change(func(s *fakeimap.Server) {
		w.uid++
		s.Messages = append(s.Messages, fakeimap.Message{UID: w.uid, Content: sentMail})
	})
}

// copies is how many copies are in the mailbox.
func (w *sentWorld) copies() (n int) {
	w.imap.Change(func(s *fakeimap.Server) { n = len(s.Messages) })
	return n
}

// store is a process of the store.
func (w *sentWorld) store(wait time.Duration) *imap.Store {
	w.t.Helper()
	s := imap.New()
	imap.SetCopyTimes(s, 20*time.Millisecond, wait)
	w.configure(s)
	return s
}

func (w *sentWorld) configure(s *imap.Store) {
	w.t.Helper()
	settings := map[string]any{"address": w.imap.Address, "tls": "none", "timeout": "5s"}
	for key, value := range w.settings {
		settings[key] = value
	}
	g := given(w.t, settings)
	g.StateDir = w.dir
	if err := s.Configure(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
}

// send sends the message.
func (w *sentWorld) send(s *imap.Store, retry bool, to ...string) []backends.Verdict {
	w.t.Helper()
	verdicts, err := s.Send(w.t.Context(), actingFor(shared), backends.Delivery{
		Key: "k", Retry: retry, Envelope: backends.Envelope{From: shared}, Recipients: backends.To(to...), Size: int64(len(sentMail)),
	}, strings.NewReader(sentMail))
	if err != nil {
		w.t.Fatal(err)
	}
	return verdicts
}

// left are the names of the files that are kept of what was sent, without the records.
func (w *sentWorld) left() (names []string) {
	w.t.Helper()
	files, err := os.ReadDir(filepath.Join(w.dir, "sent-copies"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".sent") {
			names = append(names, f.Name())
		}
	}
	return names
}

// TestSentCopies: one copy is in the mailbox that the message is from: the provider's own where it makes one, and the gateway's otherwise.
func TestSentCopies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of       string
		more     map[string]any
		provider bool // puts its own copy into the mailbox, a moment after it has taken the message
		appended int
	}{
		"no provider's":                        {"", nil, false, 1},
		"Google's":                             {"google", nil, true, 0},
		"Microsoft's":                          {"microsoft", nil, true, 0},
		"Microsoft's that saves none":          {"microsoft", map[string]any{"saves": false}, false, 1},
		"by a delegate":                        {"microsoft", map[string]any{"login_as": map[string]string{shared: delegate}}, false, 1},
		"by a delegate, and Microsoft's saves": {"microsoft", map[string]any{"login_as": map[string]string{shared: delegate}}, true, 0},
		"another that saves":                   {"", map[string]any{"saves": true}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSentWorld(t, tt.of, tt.more)
			s := w.store(300 * time.Millisecond)
			w.send(s, false, "far@far.example")
			if tt.provider {
				w.files()
			}
			harness.Eventually(t, time.Minute, "nothing is to be copied any more", func() bool { return len(w.left()) == 0 && w.copies() > 0 })
			_ = s.Close() // what it was doing has ended then
			if n := w.copies(); n != 1 {
				t.Errorf("%d copies", n)
			}
			if n := len(w.imap.Appended()); n != tt.appended {
				t.Errorf("%d APPENDs", n)
			}
		})
	}
}

// TestSentCopyLater: a copy that is refused is made later, by the same process or the next one, once; the message is not sent again.
func TestSentCopyLater(t *testing.T) {
	t.Parallel()
	for name, another := range map[string]bool{"by the same process": false, "by the next process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSentWorld(t, "", nil)
			s := w.store(0)
			w.refused.Store(true)
			if v := w.send(s, false, "far@far.example"); v[0].Failure != nil {
				t.Fatal(v)
			}
			if len(w.left()) != 1 || w.copies() != 0 {
				t.Errorf("%v is kept, and %d copies are there", w.left(), w.copies())
			}
			if another {
				_ = s.Close()
				s = w.store(0)
			}
			w.refused.Store(false)
			harness.Eventually(t, time.Minute, "the copy is made", func() bool { return len(w.left()) == 0 })
			// The gateway had not noted that the message was sent.
			if v := w.send(s, true, "far@far.example", "other@far.example"); v[0].Failure != nil || v[1].Failure != nil {
				t.Error(v)
			}
			if sent := w.smtp.Copies(sentMail); sent["far@far.example"] != 1 || sent["other@far.example"] != 1 {
				t.Errorf("sent: %v", sent)
			}
			if n := w.copies(); n != 1 {
				t.Errorf("%d copies", n)
			}
		})
	}
}

// TestSentCopyOnce: an APPEND whose end is not known is not repeated where the copy is there.
func TestSentCopyOnce(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	lost := sync.OnceFunc(w.imap.DropAll)
	w.imap.Set(append(w.provider.IMAP(nil), fakeimap.Rule{Command: "^APPEND ", Make: func(tag, command, right string) string {
		answer := w.append(tag, command, right)
		lost()
		return answer
	}})...)
	s := w.store(0)
	if v := w.send(s, false, "far@far.example"); v[0].Failure != nil {
		t.Fatal(v)
	}
	harness.Eventually(t, time.Minute, "nothing is to be copied any more", func() bool { return len(w.left()) == 0 })
	if n := w.copies(); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// TestNothingSentNothingKept: what nobody was sent leaves nothing behind.
func TestNothingSentNothingKept(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	w.smtp.Rcpt = func(fakesmtp.Transaction, string) string { return "550 5.1.1 nobody" }
	s := w.store(0)
	if v := w.send(s, false, "nobody@far.example"); v[0].Failure == nil {
		t.Error(v)
	}
	if len(w.left()) != 0 || w.copies() != 0 {
		t.Errorf("%v is kept, and %d copies are there", w.left(), w.copies())
	}
	if records, err := os.ReadDir(filepath.Join(w.dir, "sent-copies")); err != nil || len(records) != 0 {
		t.Errorf("records: %v, %v", records, err)
	}
}

// TestCopyWithPassword: where the gateway acts for nobody, a copy that failed is made when its mailbox is opened the next time.
func TestCopyWithPassword(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	var mu sync.Mutex
	refuse := true
	w.imap.Set(fakeimap.Rule{Command: "^APPEND ", Make: func(tag, command, right string) string {
		mu.Lock()
		defer mu.Unlock()
		w.refused.Store(refuse)
		return w.append(tag, command, right)
	}})
	w.imap.Change(func(s *fakeimap.Server) { s.Caps = fakeimap.Caps })
	upstream := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
	w.settings = map[string]any{"submission": map[string]any{"address": upstream.Address, "tls": "none", "sent": `\Sent`}}
	s := w.store(0)
	verdicts, err := s.Send(t.Context(), password, backends.Delivery{
		Key: "k", Envelope: backends.Envelope{From: password.User}, Recipients: backends.To("far@far.example"), Size: int64(len(sentMail)),
	}, strings.NewReader(sentMail))
	if err != nil || verdicts[0].Failure != nil {
		t.Fatal(verdicts, err)
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	harness.Eventually(t, time.Minute, "the copy is made by a login", func() bool {
		if _, err := s.Login(t.Context(), password); err != nil {
			t.Fatal(err)
		}
		return len(w.left()) == 0
	})
	if n := w.copies(); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// TestPaces: APPENDs to one mailbox are spaced, whoever makes them; another mailbox's go on, and what would wait for long comes later.
func TestPaces(t *testing.T) {
	t.Parallel()
	turn, at := imap.NewPaces(4), time.Unix(1_000_000, 0)
	for i := range 41 {
		if got, want := turn("ada", at), time.Duration(i)*250*time.Millisecond; got != want {
			t.Fatalf("APPEND %d waits for %s, not %s", i, got, want)
		}
	}
	for range 2 {
		if got := turn("ada", at); got != 10250*time.Millisecond {
			t.Errorf("one more waits for %s: it must not take the turn", got)
		}
	}
	if got := turn("bob", at); got != 0 {
		t.Errorf("another mailbox waits for %s", got)
	}
	if got := turn("ada", at.Add(time.Hour)); got != 0 {
		t.Errorf("after an hour one waits for %s", got)
	}
	for i := range 10_000 {
		turn(fmt.Sprint("u", i), at)
	}
}

// TestAppendsPerSecond: Microsoft gets some four a second, unless the settings say otherwise.
func TestAppendsPerSecond(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of     string
		more   map[string]any
		atMost int // in half a second
	}{
		"Microsoft": {"microsoft", nil, 3}, "others": {"", nil, 6}, "as it is set": {"", map[string]any{"appends": 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSentWorld(t, tt.of, nil)
			w.settings["delivery"], w.settings["connections"] = map[string]any{"append": true}, tt.more
			s := w.store(0)
			began := time.Now()
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					d := backends.Delivery{Key: fmt.Sprint("k", i), Recipients: backends.To(delegate), Size: int64(len(sentMail))}
					if verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(sentMail)); err != nil || verdicts[0].Failure != nil {
						t.Error(verdicts, err)
					}
				})
			}
			all.Wait()
			if took, least := time.Since(began), map[int]time.Duration{2: 2500 * time.Millisecond, 3: 1250 * time.Millisecond, 6: 0}[tt.atMost]; took < least {
				t.Errorf("6 APPENDs took %s, and %s is the least", took, least)
			}
			if n := len(w.imap.Appended()); n != 6 {
				t.Errorf("%d APPENDs", n)
			}
		})
	}
}

// TestAppendsRest: a server that wants to be left alone for a time gets no other APPEND for the mailbox until then, whichever message it is, and
// others' mailboxes get theirs.
func TestAppendsRest(t *testing.T) {
	t.Parallel()
	w := newSentWorld(t, "", nil)
	w.settings["delivery"] = map[string]any{"append": true}
	s := w.store(0)
	deliver := func(key, to string) *backends.Failure {
		t.Helper()
		verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: key, Recipients: backends.To(to), Size: int64(len(sentMail))}, strings.NewReader(sentMail))
		if err != nil {
			t.Fatal(err)
		}
		return verdicts[0].Failure
	}
	w.imap.Set(append(w.provider.IMAP(nil), fakeimap.Rule{Command: "^APPEND ", Answer: "TAG BAD Request is throttled. Suggested Backoff Time: 299609 milliseconds\n", Times: 1})...)
	for _, key := range []string{"one", "two"} {
		if f := deliver(key, delegate); f == nil || f.Kind != backends.Throttled || f.RetryAfter < 4*time.Minute || f.RetryAfter > 5*time.Minute {
			t.Errorf("%s: %v", key, f)
		}
	}
	if f := deliver("three", shared); f != nil {
		t.Error(f)
	}
	if n := len(w.imap.Heard("APPEND")); n != 2 {
		t.Errorf("the server has heard %d APPENDs", n)
	}
}
